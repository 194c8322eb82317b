"""The service: FastAPI on Ray Serve around `deploy.models`.

Requests are admitted or refused at once, batched, and drawn in a thread beside the event loop. The alias is followed by every
replica itself: a promotion touches nothing but the registry.
"""

import asyncio
import hmac
import secrets
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, fields
from http import HTTPStatus
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Header, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, StrictInt
from ray import serve
from ray.util import metrics

from deploy import wire
from deploy.models import Models, Order, draw
from deploy.serving import token_of
from pipeline.data import Samples
from pipeline.errors import FlowError
from pipeline.evaluate import Generator

OPEN_PATHS = ("/healthz", "/readyz")
MOST_BODY_BYTES = 65_536
FOLLOW_EVERY_SECONDS = 1.0
MOST_IN_BATCH, BATCH_WAIT_SECONDS = 64, 0.002
RETRY_AFTER = {"Retry-After": "1"}
RESPONSES: dict[int | str, dict[str, Any]] = {200: {"content": {media: {} for media in wire.MEDIA_TYPES.values()}}}


@dataclass(frozen=True)
class Settings:
    """What a service is started with.

    Attributes:
        which: alias or number of the version; an alias is followed as it moves.
        token: bearer token that every request must carry; None for none.
        max_samples: most samples of one request.
        max_waiting: most requests that one replica has in hand; more are refused with 429.
        time_limit_seconds: after which a request is given up with 503.
    """

    tracking_uri: str
    name: str
    which: str
    token: str | None = None
    max_samples: int = 100_000
    max_waiting: int = 256
    time_limit_seconds: float = 30.0
    min_replicas: int = 1
    max_replicas: int = 1


class SampleRequest(BaseModel):
    """Body of POST /v1/samples."""

    model_config = ConfigDict(extra="forbid")

    num_samples: Annotated[StrictInt, Field(ge=1, le=10**9)] = 1
    seed: Annotated[StrictInt, Field(ge=0, lt=2**63)] | None = None
    """equal seeds give equal samples of a version; None draws one, which the response tells"""
    phase: Annotated[StrictInt, Field(ge=0)] | None = None
    """draw from mu_{k+1} = T_k of this phase k; None: the last"""
    format: Literal["json", "npy", "arrow", "png"] | None = None
    """None: what the Accept header asks for"""


class Refused(Exception):
    """A request that is not served: status and one sentence."""

    def __init__(self, status: HTTPStatus, sentence: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(sentence)
        self.status, self.sentence, self.headers = status, sentence, headers


def refusal(status: HTTPStatus, sentence: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """One sentence as JSON."""
    return JSONResponse({"detail": sentence}, status, headers)


def sentence_of(error: RequestValidationError) -> str:
    """The first thing that is wrong with a body: the field, the rule, the value."""
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"] if part != "body") or "the body"
    value = repr(first.get("input"))
    return f"{field}: {first['msg']}, not {value[:80]}"


def web_app(settings: Settings) -> FastAPI:
    """FastAPI with what concerns every request: the token, the size of the body, errors as one sentence."""
    app = FastAPI(title=f"S-JKO generator {settings.name}", version="1", description="Samples in one network evaluation.")

    @app.middleware("http")
    async def guard(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        if settings.token is not None and request.url.path not in OPEN_PATHS:
            given = request.headers.get("authorization", "").encode()
            if not hmac.compare_digest(given, f"Bearer {settings.token}".encode()):
                sentence = "send the token of this service as Authorization: Bearer TOKEN"
                return refusal(HTTPStatus.UNAUTHORIZED, sentence, {"WWW-Authenticate": "Bearer"})
        if request.method == "POST":
            length = request.headers.get("content-length", "")
            if not length.isdigit():
                return refusal(HTTPStatus.LENGTH_REQUIRED, "send the body with a Content-Length")
            if int(length) > MOST_BODY_BYTES:
                return refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body must have at most {MOST_BODY_BYTES} bytes")
        return await call_next(request)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        return refusal(HTTPStatus.UNPROCESSABLE_ENTITY, sentence_of(error))

    @app.exception_handler(Refused)
    async def refused(_: Request, error: Refused) -> Response:
        return refusal(error.status, error.sentence, error.headers)

    return app


class Numbers:
    """What Prometheus reads, on every node's metrics port of Ray."""

    def __init__(self) -> None:
        self.requests = metrics.Counter("sjko_requests", "Requests for samples by status.", ("status",))
        self.samples = metrics.Counter("sjko_samples", "Samples drawn.")
        self.refused = metrics.Counter("sjko_refused", "Requests refused by reason.", ("reason",))
        self.batch = metrics.Histogram("sjko_batch_size", "Requests per forward pass.", boundaries=[1, 2, 4, 8, 16, 32, 64])
        self.version = metrics.Gauge("sjko_model_version", "Version that is served.")
        self.broken = metrics.Gauge("sjko_broken_version", "Version that the alias points at and that cannot be served; 0: none.")


def build(settings: Settings) -> serve.Application:
    """The Serve application. A FastAPI object belongs to one application, so all of it is made here."""
    app = web_app(settings)

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
    )
    @serve.ingress(app)
    class GeneratorService:
        def __init__(self, **values: Any) -> None:
            import torch

            torch.set_num_threads(1)
            self.settings = Settings(**values)
            self.models = Models(self.settings.tracking_uri, self.settings.name, self.settings.which)
            self.numbers, self.waiting = Numbers(), 0
            threading.Thread(target=self.follow, name="follow", daemon=True).start()

        def follow(self) -> None:
            """Keep to the alias for ever; a registry that does not answer changes nothing."""
            while True:
                self.numbers.version.set(self.models.current.version.number)
                self.numbers.broken.set(self.models.failed[0] if self.models.failed else 0)
                time.sleep(FOLLOW_EVERY_SECONDS)
                try:
                    self.models.follow()
                except Exception:
                    continue

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
        async def model(self) -> dict[str, Any]:
            """The served version with its metrics and card."""
            return dict(self.models.description())

        @app.post("/v1/samples", responses=RESPONSES)
        async def samples(self, body: SampleRequest, accept: Annotated[str, Header()] = "*/*") -> Response:
            """Draw samples in one network evaluation."""
            try:
                response = await self.answer(body, accept)
            except Refused as error:
                self.numbers.refused.inc(tags={"reason": error.status.phrase})
                self.numbers.requests.inc(tags={"status": str(int(error.status))})
                raise
            self.numbers.requests.inc(tags={"status": "200"})
            return response

        async def answer(self, body: SampleRequest, accept: str) -> Response:
            name = body.format or wire.format_of(accept)
            if name is None:
                raise Refused(HTTPStatus.NOT_ACCEPTABLE, f"Accept must name one of {', '.join(wire.MEDIA_TYPES.values())}")
            if body.num_samples > self.settings.max_samples:
                most = self.settings.max_samples
                raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"num_samples must be at most {most}, not {body.num_samples}")
            if self.waiting >= self.settings.max_waiting:
                raise Refused(HTTPStatus.TOO_MANY_REQUESTS, "too many requests are waiting; try again", RETRY_AFTER)
            seed = secrets.randbelow(2**53) if body.seed is None else body.seed  # 2^53: exact in every JSON reader
            self.waiting += 1
            try:
                async with asyncio.timeout(self.settings.time_limit_seconds):
                    return await self.drawn(Order(body.num_samples, seed, body.phase), name)
            except TimeoutError:
                sentence = f"not done within {self.settings.time_limit_seconds:g} seconds; ask for fewer samples or try again"
                raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, sentence, RETRY_AFTER) from None
            finally:
                self.waiting -= 1

        async def drawn(self, order: Order, name: str) -> Response:
            loaded = self.models.current
            try:
                generator = await asyncio.to_thread(self.models.generator, loaded, order.phase)
            except IndexError as error:
                raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from None
            except FlowError as error:
                raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, str(error), RETRY_AFTER) from None
            samples = await self.together((generator, order))
            identity = {"version": loaded.version.number, "phase": generator.phase.k, "seed": order.seed}
            content = await asyncio.to_thread(wire.encode, samples, name, identity)
            headers = {f"X-{key.capitalize()}": str(value) for key, value in identity.items()}
            return Response(content, media_type=wire.MEDIA_TYPES[name], headers=headers)

        @serve.batch(max_batch_size=MOST_IN_BATCH, batch_wait_timeout_s=BATCH_WAIT_SECONDS)  # type: ignore[untyped-decorator]
        async def together(self, wanted: Sequence[tuple[Generator, Order]]) -> list[Samples]:
            self.numbers.batch.observe(len(wanted))
            self.numbers.samples.inc(sum(order.num_samples for _, order in wanted))
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
    return build(Settings(**arguments, token=token_of("0.0.0.0", None)))


def draw_all(wanted: Sequence[tuple[Generator, Order]]) -> list[Samples]:
    """One forward pass per generator."""
    results: list[Samples | None] = [None] * len(wanted)
    for generator in {id(generator): generator for generator, _ in wanted}.values():
        places = [place for place, (other, _) in enumerate(wanted) if other is generator]
        for place, samples in zip(places, draw(generator, [wanted[place][1] for place in places]), strict=True):
            results[place] = samples
    return [samples for samples in results if samples is not None]
