"""What requests are answered with: they are admitted or refused at once, then drawn in a thread beside the event loop.

All of an answer is one call in that one thread: a hop between threads takes as long as a small network, and draws side by side
would take turns on the one core of a replica.
"""

import asyncio
import secrets
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import numpy as np
from fastapi import Request, Response

from deploy.models import Draw, Loaded, Models, noise_of
from deploy.web import wire
from deploy.web.bodies import MOST_SEED, SampleRequest
from deploy.web.points import BODY, Points, TransportRequest, points_in, require_rows
from deploy.web.refusals import RETRY_AFTER, Rejected
from pipeline.data.given.coordinates import require_mapped
from pipeline.data.given.ways import Where, way_of
from pipeline.data.source import Samples
from pipeline.errors import VersionNotFound
from pipeline.generator import Generator, Noise, push_in_blocks
from pipeline.places import Place, Tracking

MOST_VALUES = 100_000_000
"""Coordinates of samples that a replica has in hand, 400 MB in each form they take on their way; one request may exceed it."""


@dataclass(frozen=True)
class Settings:
    """The settings that a service is started with: its model, its token, its limits, its replicas.

    >>> Settings("sqlite:///mlflow.db", "two_circles", "champion").max_replicas
    1

    Attributes:
        tracking_uri: of the MLflow whose registry has the model.
        name: of the registered model.
        which: alias or number of the version; an alias is followed as it moves.
        data: folder or URL of prepared image sets, which only a source of images needs.
        token: bearer token that every request must carry; None for none.
        hosts: names beside this machine's own that a request's Host header may have.
        max_samples: most samples of one request.
        max_waiting: most requests that one replica has in hand; more are refused with 429.
        allow_code: versions may run the code of own parts that they carry or name.
        time_limit_seconds: after which a request is given up with 503.
    """

    tracking_uri: Tracking
    name: str
    which: str
    data: Place | None = None
    token: str | None = None
    hosts: tuple[str, ...] = ()
    max_samples: int = 100_000
    max_waiting: int = 256
    time_limit_seconds: float = 30.0
    min_replicas: int = 1
    max_replicas: int = 1
    allow_code: bool = False


class Answers:
    """The answers of one replica: requests are admitted or refused at once, then drawn from the models that it holds.

    Args:
        models: the versions that the replica holds.
        tally: is told how many samples were drawn.
        push: maps a generator and its noise to samples.
    """

    def __init__(
        self,
        models: Models,
        settings: Settings,
        tally: Callable[[int], object],
        push: Callable[[Generator, Noise], Samples] = push_in_blocks,
    ) -> None:
        self.models, self.settings, self.tally, self.push = models, settings, tally, push
        self.waiting, self.values = 0, 0
        self._thread = ThreadPoolExecutor(1, "draw")

    def state(self) -> dict[str, Any]:
        """Say which version is served, and which one the alias points at but could not be loaded, for /readyz."""
        failed = self.models.failed
        return {
            "ready": True,
            "version": self.models.current.version.number,
            "failed": None if failed is None else {"version": failed[0], "reason": failed[1]},
        }

    async def description(self, which: str | None) -> Mapping[str, Any]:
        """Describe the served version, or another by alias or number, with its metrics and card, for /v1/model."""
        loaded = await self.version(which)
        return await asyncio.to_thread(self.models.description, loaded)

    async def samples(self, body: SampleRequest, accept: str) -> Response:
        """Draw the samples that a request asks for, in the format of its body or else of its Accept header.

        Raises:
            Rejected: the request is not admitted, asks for too much or for what there is not, or takes too long.
        """
        name = body.format or wire.format_of(accept)
        if name is None:
            raise Rejected(HTTPStatus.NOT_ACCEPTABLE, f"Accept must name one of {', '.join(wire.MEDIA_TYPES.values())}")
        limit = self.settings.max_samples
        if body.num_samples > limit:
            raise Rejected(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"num_samples must be at most {limit}, not {body.num_samples}")
        seed = secrets.randbelow(MOST_SEED + 1) if body.seed is None else body.seed
        draw = Draw(body.num_samples, seed, body.condition)
        return await self.in_time(body.num_samples, body, lambda generator, identity: self.drawn(generator, draw, name, identity))

    async def transported(self, request: Request, accept: str) -> Response:
        """Transport the points that a request brings, in the format that it asks for or else that they came in.

        Raises:
            Rejected: the request is not admitted, cannot be read, brings too many points or bad ones, or takes too long.
        """
        given = await asyncio.to_thread(points_in, request, await request.body(), self.settings.max_samples)
        require_rows(given.table.num_rows, self.settings.max_samples)
        name = given.asked.format or wire.format_of(accept, wire.POINT_TYPES, given.came_as)
        if name is None:
            raise Rejected(HTTPStatus.NOT_ACCEPTABLE, f"Accept must name one of {', '.join(wire.POINT_TYPES.values())}")
        num_rows = given.table.num_rows
        return await self.in_time(num_rows, given.asked, lambda generator, identity: self.moved(generator, given, name, identity))

    async def in_time(
        self,
        num_rows: int,
        asked: SampleRequest | TransportRequest,
        answer: Callable[[Generator, dict[str, object]], Response],
    ) -> Response:
        """Admit a request of so many rows, and give its answer within the time limit.

        Args:
            answer: makes it in the thread, from the generator of the phase that is asked for and their version and phase.

        Raises:
            Rejected: it is not admitted, asks for what there is not, or is not done in time.
        """
        seconds = self.settings.time_limit_seconds
        with self.admitted(num_rows * self.models.current.last.dim):
            try:
                async with asyncio.timeout(seconds):
                    loaded, k, generator = await self.generator(asked.version, asked.phase)
                    identity: dict[str, object] = {"version": loaded.version.number, "phase": k}
                    return await asyncio.get_running_loop().run_in_executor(self._thread, answer, generator, identity)
            except TimeoutError:
                sentence = f"not done within {seconds:g} seconds; ask for fewer samples or try again"
                raise Rejected(HTTPStatus.SERVICE_UNAVAILABLE, sentence, RETRY_AFTER) from None

    @contextmanager
    def admitted(self, values: int) -> Iterator[None]:
        """Hold the place of one request among those that the replica has in hand, for the time of the context.

        Args:
            values: coordinates of all samples of the request.

        Raises:
            Rejected: no place is left; status 429.
        """
        if self.waiting >= self.settings.max_waiting or (self.values and self.values + values > MOST_VALUES):
            raise Rejected(HTTPStatus.TOO_MANY_REQUESTS, "too many requests are waiting; try again", RETRY_AFTER)
        self.waiting, self.values = self.waiting + 1, self.values + values
        try:
            yield
        finally:
            self.waiting, self.values = self.waiting - 1, self.values - values

    def drawn(self, generator: Generator, draw: Draw, name: str, identity: dict[str, object]) -> Response:
        """Draw an admitted request's samples, and write them in the named format of `wire.MEDIA_TYPES`."""
        try:
            noise = noise_of(generator, draw)
        except ValueError as error:
            raise Rejected(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from None
        samples = self.pushed(generator, noise)
        if not np.isfinite(samples).all():
            sentence = (
                f"version {identity['version']} draws numbers that are not finite from seed {draw.seed}; ask for another version"
            )
            raise Rejected(HTTPStatus.INTERNAL_SERVER_ERROR, sentence)
        table = None if generator.endpoints.coding is None else generator.table(samples, noise.condition)
        identity = {**identity, "seed": draw.seed}
        content = wire.encode(samples, name, identity, generator.endpoints.data.picture, table)
        return _response(content, wire.MEDIA_TYPES[name], identity)

    def moved(self, generator: Generator, given: Points, name: str, identity: dict[str, object]) -> Response:
        """Transport an admitted request's points, and write them in the named format of `wire.POINT_TYPES`."""
        asked, table = given.asked, given.table
        seed = secrets.randbelow(MOST_SEED + 1) if asked.seed is None else asked.seed
        try:
            drawn = "condition" if asked.condition is None and generator.endpoints.law is not None else None
            way = way_of(generator.endpoints, table.schema, BODY, asked.coordinates or (), "coordinates", condition=drawn)
            points, row_conditions = way.samples(table, Where(BODY, seed=seed)), way.conditions(table)
            noise = list(generator.given_noise(points, seed, asked.condition, row_conditions=row_conditions))
            moved = np.concatenate([self.pushed(generator, each) for each in noise])
            require_mapped(moved)
            conditions = [each.condition for each in noise if each.condition is not None and drawn is not None]
            back, _ = way.back(table, moved, np.concatenate(conditions) if conditions else None)
        except ValueError as error:
            raise Rejected(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from None
        identity = {**identity, "seed": seed, "far": generator.num_far(points)}
        is_array = given.is_array and generator.endpoints.coding is None
        content = wire.encode_points(back, moved, name, identity, is_array=is_array)
        return _response(content, wire.POINT_TYPES[name], identity)

    def pushed(self, generator: Generator, noise: Noise) -> Samples:
        """Map noise to samples, and tell how many."""
        self.tally(len(noise.x))
        return self.push(generator, noise)

    async def generator(self, which: str | None, phase: int | None) -> tuple[Loaded, int, Generator]:
        """Find the generator of a version's phase, its last one where none is asked for.

        Raises:
            Rejected: there is no such version or phase.
        """
        loaded = await self.version(which)
        k = loaded.num_phases - 1 if phase is None else phase
        if k >= loaded.num_phases:
            raise Rejected(HTTPStatus.UNPROCESSABLE_ENTITY, f"phase must be below {loaded.num_phases}, not {k}")
        return loaded, k, loaded.last if phase is None else await asyncio.to_thread(self.models.phase, loaded, k)

    async def version(self, which: str | None) -> Loaded:
        """Find the version that is served, or another by alias or number.

        Raises:
            Rejected: there is no such version; status 404.
        """
        if which is None:
            return self.models.current
        try:
            return await asyncio.to_thread(self.models.find, which)
        except VersionNotFound:
            sentence = f"{self.models.name} has no version {which}; GET /v1/model tells its aliases"
            raise Rejected(HTTPStatus.NOT_FOUND, sentence) from None


def _response(content: bytes, media_type: str, identity: Mapping[str, object]) -> Response:
    headers = {f"X-{key.capitalize()}": str(value) for key, value in identity.items()}
    return Response(content, media_type=media_type, headers=headers)
