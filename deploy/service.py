"""The service: FastAPI on Ray Serve around `deploy.models`.

Requests are admitted or refused at once, batched, and drawn in a thread beside the event loop. The alias is followed by every
replica itself: a promotion touches nothing but the registry.
"""

import asyncio
import logging
import secrets
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from functools import cache
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Header, Response
from ray import serve
from ray.util import metrics

from deploy import wire
from deploy.models import Loaded, Models, Noise, Order, noise_of, push_together
from deploy.serving import QUIET, token_of
from deploy.web import RETRY_AFTER, SAMPLES_PATH, Refused, SampleRequest, Which, web_app
from pipeline.data import Samples
from pipeline.errors import MapNotFound
from pipeline.evaluate import Generator

logger = logging.getLogger(__name__)
FOLLOW_EVERY_SECONDS = 1.0
MOST_PHASES = 8
"""Earlier phases that a replica keeps in memory."""
MOST_VALUES = 100_000_000
"""Coordinates of samples that a replica has in hand, 400 MB in each form they take on their way; one request may exceed it."""
MOST_IN_BATCH = 64
RESPONSES: dict[int | str, dict[str, Any]] = {200: {"content": {media: {} for media in wire.MEDIA_TYPES.values()}}}


@dataclass(frozen=True)
class Settings:
    """What a service is started with.

    Attributes:
        which: alias or number of the version; an alias is followed as it moves.
        where: prepared image sets are, which only a source of images needs.
        token: bearer token that every request must carry; None for none.
        max_samples: most samples of one request.
        max_waiting: most requests that one replica has in hand; more are refused with 429.
        time_limit_seconds: after which a request is given up with 503.
    """

    tracking_uri: str
    name: str
    which: str
    where: str | None = None
    token: str | None = None
    max_samples: int = 100_000
    max_waiting: int = 256
    time_limit_seconds: float = 30.0
    min_replicas: int = 1
    max_replicas: int = 1


class Numbers:
    """What Prometheus reads, on every node's metrics port of Ray."""

    def __init__(self) -> None:
        self.requests = metrics.Counter("sjko_requests", "Requests for samples by status.", ("status",))
        self.samples = metrics.Counter("sjko_samples", "Samples drawn.")
        self.refused = metrics.Counter("sjko_refused", "Requests refused by reason.", ("reason",))
        self.batch = metrics.Histogram("sjko_batch_size", "Requests per forward pass.", boundaries=[1, 2, 4, 8, 16, 32, 64])
        self.version = metrics.Gauge("sjko_model_version", "Version that is served.")
        self.broken = metrics.Gauge("sjko_broken_version", "Version that the alias points at and that cannot be served; 0: none.")


@cache
def numbers() -> Numbers:
    """One per process."""
    return Numbers()


def count(status: int) -> None:
    """One more request for samples."""
    numbers().requests.inc(tags={"status": str(status)})
    if status >= HTTPStatus.BAD_REQUEST:
        numbers().refused.inc(tags={"reason": HTTPStatus(status).phrase})


def build(settings: Settings) -> serve.Application:
    """The Serve application. A FastAPI object belongs to one application, so all of it is made here."""
    app = web_app(settings.name, settings.token, count)

    @serve.deployment(
        name="generator",
        max_ongoing_requests=2 * settings.max_waiting,
        max_queued_requests=2 * settings.max_waiting,
        autoscaling_config={
            "min_replicas": settings.min_replicas,
            "max_replicas": settings.max_replicas,
            "target_ongoing_requests": 16,
        },
        ray_actor_options={"num_cpus": 1},
        logging_config=QUIET,
    )
    @serve.ingress(app)
    class GeneratorService:
        def __init__(self, **values: Any) -> None:
            import torch

            torch.set_num_threads(1)
            self.settings = Settings(**values)
            self.models = Models(self.settings.tracking_uri, self.settings.name, self.settings.which, self.settings.where)
            self.waiting, self.values = 0, 0
            threading.Thread(target=self.follow, name="follow", daemon=True).start()

        def follow(self) -> None:
            """Keep to the alias for ever; a registry that does not answer changes nothing."""
            while True:
                numbers().version.set(self.models.current.version.number)
                numbers().broken.set(self.models.failed[0] if self.models.failed else 0)
                time.sleep(FOLLOW_EVERY_SECONDS)
                try:
                    self.models.follow()
                except Exception as error:  # an error that ended this thread would end the following for ever
                    logger.warning("%s is not looked up now: %s", self.models.name, str(error).partition("\n")[0])

        @app.get("/healthz")
        async def healthz(self) -> dict[str, str]:
            """The replica answers."""
            return {"status": "ok"}

        @app.get("/readyz")
        async def readyz(self) -> dict[str, Any]:
            """Which version is served, and which one could not be."""
            failed = self.models.failed
            return {
                "ready": True,
                "version": self.models.current.version.number,
                "failed": None if failed is None else {"version": failed[0], "reason": failed[1]},
            }

        @app.get("/v1/model")
        async def model(self, version: Which | None = None) -> dict[str, Any]:
            """A version with its metrics and card: the one that is served, or another by alias or number."""
            loaded = await self.version(version)
            return dict(await asyncio.to_thread(self.models.description, loaded))

        @app.post(SAMPLES_PATH, responses=RESPONSES)
        async def samples(self, body: SampleRequest, accept: Annotated[str, Header()] = "*/*") -> Response:
            """Draw samples in one network evaluation."""
            name = body.format or wire.format_of(accept)
            if name is None:
                raise Refused(HTTPStatus.NOT_ACCEPTABLE, f"Accept must name one of {', '.join(wire.MEDIA_TYPES.values())}")
            if body.num_samples > self.settings.max_samples:
                most = self.settings.max_samples
                raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"num_samples must be at most {most}, not {body.num_samples}")
            values = body.num_samples * self.models.current.last.dim
            if self.waiting >= self.settings.max_waiting or (self.values and self.values + values > MOST_VALUES):
                raise Refused(HTTPStatus.TOO_MANY_REQUESTS, "too many requests are waiting; try again", RETRY_AFTER)
            seed = secrets.randbelow(2**53) if body.seed is None else body.seed  # 2^53: exact in every JSON reader
            self.waiting, self.values = self.waiting + 1, self.values + values
            try:
                async with asyncio.timeout(self.settings.time_limit_seconds):
                    return await self.drawn(body, seed, name)
            except TimeoutError:
                sentence = f"not done within {self.settings.time_limit_seconds:g} seconds; ask for fewer samples or try again"
                raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, sentence, RETRY_AFTER) from None
            finally:
                self.waiting, self.values = self.waiting - 1, self.values - values

        async def drawn(self, body: SampleRequest, seed: int, name: str) -> Response:
            loaded = await self.version(body.version)
            k = loaded.num_phases - 1 if body.phase is None else body.phase
            if k >= loaded.num_phases:
                raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, f"phase must be below {loaded.num_phases}, not {k}")
            generator = loaded.last if body.phase is None else await self.phase(f"{loaded.version.number}/{k}")
            noise = await asyncio.to_thread(noise_of, generator, Order(body.num_samples, seed))
            samples = await self.together((generator, noise))
            identity = {"version": loaded.version.number, "phase": k, "seed": seed}
            content = await asyncio.to_thread(wire.encode, samples, name, identity)
            headers = {f"X-{key.capitalize()}": str(value) for key, value in identity.items()}
            return Response(content, media_type=wire.MEDIA_TYPES[name], headers=headers)

        async def version(self, which: str | None) -> Loaded:
            if which is None:
                return self.models.current
            try:
                return await asyncio.to_thread(self.models.find, which)
            except MapNotFound:
                sentence = f"{self.models.name} has no version {which}; GET /v1/model tells its aliases"
                raise Refused(HTTPStatus.NOT_FOUND, sentence) from None

        # Ray ships no types for its decorators and for what they make of a class.
        @serve.multiplexed(max_num_models_per_replica=MOST_PHASES)  # type: ignore[untyped-decorator]
        async def phase(self, model_id: str) -> Generator:
            number, _, k = model_id.partition("/")
            return await asyncio.to_thread(lambda: self.models.phase(self.models.find(number), int(k)))

        @serve.batch(max_batch_size=MOST_IN_BATCH, batch_wait_timeout_s=0)  # type: ignore[untyped-decorator]
        async def together(self, wanted: Sequence[tuple[Generator, Noise]]) -> list[Samples]:
            numbers().batch.observe(len(wanted))
            numbers().samples.inc(sum(len(x) for _, (x, _) in wanted))
            return await asyncio.to_thread(draw_all, wanted)

    return GeneratorService.bind(**asdict(settings))  # type: ignore[attr-defined]


def configured(arguments: dict[str, Any]) -> serve.Application:
    """The application of a Serve configuration file, whose `args` are fields of `Settings`; the token is $SJKO_TOKEN.

    Raises:
        ValueError: an argument is not a field, one is missing, or there is no token.
    """
    given, known = set(arguments), {field.name for field in fields(Settings)} - {"token"}
    required = {"tracking_uri", "name", "which"}
    if not given <= known or not required <= given:
        raise ValueError(f"args must hold {', '.join(sorted(required))} and may hold {', '.join(sorted(known - required))}")
    open_to_all = "0.0.0.0"  # nosec B104
    return build(Settings(**arguments, token=token_of(open_to_all, None)))


def draw_all(wanted: Sequence[tuple[Generator, Noise]]) -> list[Samples]:
    """One forward pass per generator."""
    results: list[Samples | None] = [None] * len(wanted)
    for generator in {id(generator): generator for generator, _ in wanted}.values():
        places = [place for place, (other, _) in enumerate(wanted) if other is generator]
        for place, samples in zip(places, push_together(generator, [wanted[place][1] for place in places]), strict=True):
            results[place] = samples
    return [samples for samples in results if samples is not None]
