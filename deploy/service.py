"""The service on Ray Serve: replicas that follow an alias and push requests together.

The alias is followed by every replica itself: a promotion touches nothing but the registry.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, fields
from functools import cache
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from ray import serve
from ray.util import metrics

from deploy.access import check_hosts, token_of
from deploy.answers import Answers, Settings
from deploy.models import Models, Noise, push_in_blocks
from deploy.web.app import web_app
from deploy.web.door import Access
from pipeline.data.endpoints import Samples
from pipeline.generator import Generator
from pipeline.places import resolved

logger = logging.getLogger(__name__)
FOLLOW_EVERY_SECONDS = 1.0
MOST_PHASES = 8
"""Earlier phases that a replica keeps in memory."""
MOST_IN_BATCH = 64
QUIET = {"log_level": "WARNING", "enable_access_log": False}
"""A line per request is a tenth of a small request's time."""


class Numbers:
    """What Prometheus reads, on every node's metrics port of Ray."""

    def __init__(self) -> None:
        self.requests = metrics.Counter("sjko_requests", "Requests for samples by status.", ("status",))
        self.samples = metrics.Counter("sjko_samples", "Samples drawn.")
        self.refused = metrics.Counter("sjko_refused", "Requests refused by reason.", ("reason",))
        self.batch = metrics.Histogram("sjko_batch_size", "Requests that one call draws.", boundaries=[1, 2, 4, 8, 16, 32, 64])
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


class Replica:
    """One replica: the models, a thread that keeps to the alias, and the application, which Serve asks for."""

    def __init__(self, **values: Any) -> None:
        import torch

        torch.set_num_threads(1)
        self.settings = Settings(**values)
        self.models = Models(self.settings.tracking_uri, self.settings.name, self.settings.which, self.settings.where)
        threading.Thread(target=self.follow, name="follow", daemon=True).start()

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Make this replica's application."""
        answers = Answers(self.models, self.settings, self.together, lambda number, k: self.phase(f"{number}/{k}"))
        return web_app(answers, Access(self.settings.token, tuple(self.settings.hosts)), count)

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

    # Ray ships no types for its decorators and for what they make of a class.
    @serve.multiplexed(max_num_models_per_replica=MOST_PHASES)  # type: ignore[untyped-decorator]
    async def phase(self, model_id: str) -> Generator:
        """The generator of NUMBER/K, kept with the few that were last asked for."""
        number, _, k = model_id.partition("/")
        return await asyncio.to_thread(lambda: self.models.phase(self.models.find(number), int(k)))

    @serve.batch(max_batch_size=MOST_IN_BATCH, batch_wait_timeout_s=0)  # type: ignore[untyped-decorator]
    async def together(self, wanted: Sequence[tuple[Generator, Noise]]) -> list[Samples]:
        """Draw for all that wait in one call, one draw after the other."""
        numbers().batch.observe(len(wanted))
        numbers().samples.inc(sum(len(x) for _, (x, _) in wanted))
        return await asyncio.to_thread(draw_all, wanted)


def build(settings: Settings) -> serve.Application:
    """The Serve application."""
    deployment = serve.deployment(
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
    return deployment(serve.ingress()(Replica)).bind(**asdict(settings))


def configured(arguments: dict[str, Any]) -> serve.Application:
    """The application of a Serve configuration file, whose `args` are fields of `Settings`; the token is $SJKO_TOKEN.

    Raises:
        ValueError: an argument is not a field, one is missing, or there is no token.
    """
    given, known = set(arguments), {field.name for field in fields(Settings)} - {"token"}
    required = {"tracking_uri", "name", "which"}
    if not given <= known or not required <= given:
        raise ValueError(f"args must hold {', '.join(sorted(required))} and may hold {', '.join(sorted(known - required))}")
    check_hosts("args.hosts", arguments.get("hosts", ()))
    open_to_all = "0.0.0.0"  # nosec B104
    return build(resolved(Settings(**arguments, token=token_of(open_to_all, None)), "args."))


def draw_all(wanted: Sequence[tuple[Generator, Noise]]) -> list[Samples]:
    """Draw the samples of several draws, one after the other."""
    return [push_in_blocks(generator, noise) for generator, noise in wanted]
