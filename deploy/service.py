"""The service on Ray Serve: replicas that follow an alias.

The alias is followed by every replica itself: a promotion touches nothing but the registry.
"""

import logging
import threading
import time
from dataclasses import asdict, fields
from functools import cache
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from ray import serve
from ray.util import get_node_ip_address, metrics

from deploy.access import check_hosts, is_loopback, token_of
from deploy.answers import Answers, Settings
from deploy.models import Models
from deploy.web.app import web_app
from deploy.web.door import Access
from pipeline.places import resolved

logger = logging.getLogger(__name__)
FOLLOW_EVERY_SECONDS = 1.0
"""How often a replica looks where the alias points: who promotes needs no access to Ray, and all replicas agree in a second."""
QUIET = {"log_level": "WARNING", "enable_access_log": False}
"""Logging of Serve without a line per request, which is a tenth of a small request's time."""


class Numbers:
    """The counters and gauges of the service that Prometheus reads, on the metrics port that Ray has on every node."""

    def __init__(self) -> None:
        self.requests = metrics.Counter("sjko_requests", "Requests for samples by status.", ("status",))
        self.samples = metrics.Counter("sjko_samples", "Samples drawn.")
        self.refused = metrics.Counter("sjko_refused", "Requests refused by reason.", ("reason",))
        self.version = metrics.Gauge("sjko_model_version", "Version that is served.")
        self.broken = metrics.Gauge("sjko_broken_version", "Version that the alias points at and that cannot be served; 0: none.")


@cache
def numbers() -> Numbers:
    """Make this process's counters and gauges, once: whatever counts in this process shares them."""
    return Numbers()


def count(status: int) -> None:
    """Count a request for samples that was answered with a status."""
    numbers().requests.inc(tags={"status": str(status)})
    if status >= HTTPStatus.BAD_REQUEST:
        numbers().refused.inc(tags={"reason": HTTPStatus(status).phrase})


class Replica:
    """One replica of the service: the models, a thread that follows the alias, and the application, which Serve asks for."""

    def __init__(self, **values: Any) -> None:
        import torch

        torch.set_num_threads(1)
        listen_on_the_loopback_alone()
        self.settings = Settings(**values)
        version = (self.settings.tracking_uri, self.settings.name, self.settings.which, self.settings.data)
        self.models = Models(*version, allow_code=self.settings.allow_code)
        threading.Thread(target=self.follow, name="follow", daemon=True).start()

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Make this replica's HTTP application; Serve calls this by its name, in the replica, so it never travels."""
        answers = Answers(self.models, self.settings, numbers().samples.inc)
        return web_app(answers, Access(self.settings.token, tuple(self.settings.hosts)), count)

    def follow(self) -> None:
        """Follow the alias for ever, a look per second; a registry that does not answer changes nothing."""
        while True:
            numbers().version.set(self.models.current.version.number)
            numbers().broken.set(self.models.failed[0] if self.models.failed else 0)
            time.sleep(FOLLOW_EVERY_SECONDS)
            try:
                self.models.follow()
            except Exception as error:  # an error that ended this thread would end the following for ever
                logger.warning("%s is not looked up now: %s", self.models.name, str(error).partition("\n")[0])


def listen_on_the_loopback_alone() -> None:
    """Bind this replica's gRPC server, which the proxy asks, to the loopback, where Ray is on this machine alone.

    Serve listens on every interface, and has no setting for it. So the function that binds is replaced in this process.
    """
    from ray.serve._private import replica

    if is_loopback(get_node_ip_address()):
        bind = replica.add_port_to_grpc_server
        replica.add_port_to_grpc_server = lambda server, _: bind(server, "127.0.0.1:0")


def build(settings: Settings) -> serve.Application:
    """Make the Serve application of a service: one deployment, which scales between `min_replicas` and `max_replicas`."""
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
    """Make the application of a Serve configuration file, whose `args` are fields of `Settings`; the token is $SJKO_TOKEN.

    Raises:
        ValueError: an argument is not a field, one is missing, or there is no token.
    """
    names, field_names = set(arguments), {field.name for field in fields(Settings)} - {"token"}
    required = {"tracking_uri", "name", "which"}
    if not names <= field_names or not required <= names:
        raise ValueError(f"args must hold {', '.join(sorted(required))} and may hold {', '.join(sorted(field_names - required))}")
    if not isinstance(allowed := arguments.get("allow_code", False), bool):
        raise ValueError(f"args.allow_code must be true or false, not {allowed!r}")
    check_hosts("args.hosts", arguments.get("hosts", ()))
    open_to_all = "0.0.0.0"  # nosec B104
    return build(resolved(Settings(**arguments, token=token_of(open_to_all, None)), "args."))
