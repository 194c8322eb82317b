"""The generators that a replica holds: the version that an alias points at, followed as it moves; earlier phases on demand."""

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from deploy.versions import bundle, code
from deploy.versions.bundle import Lineage
from deploy.versions.registered import Version
from deploy.versions.registry import Registry
from pipeline.data.source import Samples
from pipeline.errors import Corrupt, StoreUnavailable, VersionNotFound
from pipeline.generator import LEAST_ROWS, Generator, Noise, load_generator, push_in_blocks
from pipeline.store.phases import Store

logger = logging.getLogger(__name__)
MOST_BESIDE = 2
"""Versions kept in memory beside the one that is served."""
MOST_PHASES = 8
"""Earlier phases kept in memory, beside the last one of each version: those that were last asked for."""


@dataclass(frozen=True)
class Draw:
    """The number of samples, the seed and the condition that one request asks for; together they decide its samples.

    >>> Draw(num_samples=5, seed=0)
    Draw(num_samples=5, seed=0, condition=None)

    Attributes:
        condition: of all samples, as a person writes it; None: drawn for each, where the map is given any.
    """

    num_samples: int
    seed: int
    condition: object = None


@dataclass(frozen=True)
class Loaded:
    """One version in memory: its record, its lineage, its card, and the generator of its last phase."""

    version: Version
    lineage: Lineage
    last: Generator
    card: str

    @property
    def num_phases(self) -> int:
        """Count the phases of the version's flow."""
        return len(self.lineage.phase_run_ids)


def noise_of(generator: Generator, request: Draw) -> Noise:
    """Draw the noise x and z of a request, and the conditions, from its own seed.

    Equal seeds give equal first rows, whatever `num_samples` is, and those that `python -m deploy generate` writes first.

    Raises:
        ValueError: there is no such condition, or the map is given none.
    """
    return generator.noise_at(request.num_samples, request.seed, 0, request.condition)


def draw(generator: Generator, request: Draw) -> Samples:
    """Draw the samples of one request, in the data's own units."""
    return push_in_blocks(generator, noise_of(generator, request))


class Models:
    """The versions of one registered model that a replica holds, of which one is served: that which NAME@ALIAS points at.

    What is served changes only when the new version has been loaded and has drawn finite samples.

    Args:
        which: alias, which is followed as it moves, or number of a version.
        data_uri: folder or URL of prepared image sets, which only a source of images needs.
        allow_code: versions may run the code of own parts that they carry or name.
    """

    def __init__(
        self, tracking_uri: str, name: str, which: str, data_uri: str | None = None, *, allow_code: bool = False
    ) -> None:
        self._store = Store(tracking_uri, create=False)
        self._registry = Registry(self._store, data_uri, allow_code=allow_code)
        self.name, self.which = name, which
        self.failed: tuple[int, str] | None = None
        self._lock, self._phase_lock = threading.Lock(), threading.Lock()
        self.current = self._first(self._registry.require(name, which))
        self._beside = lru_cache(maxsize=MOST_BESIDE)(lambda number: self._load(self._registry.require(name, str(number))))
        self._earlier = lru_cache(maxsize=MOST_PHASES)(self._load_phase)

    def _first(self, version: Version) -> Loaded:
        """Load the version to begin with; where it is broken, the one that the alias pointed at before, as older replicas do."""
        try:
            return self._load(version)
        except Corrupt as error:
            try:
                previous = self._registry.before(version, self.which)
            except VersionNotFound:
                raise error from None
            self.failed = version.number, str(error).partition("\n")[0]
            logger.warning("%s cannot be served, %s goes on: %s", version, previous, self.failed[1])
            return self._load(previous)

    def _load(self, version: Version) -> Loaded:
        with self._registry.folder(version) as folder:
            card, lineage = (folder / "README.md").read_text(), bundle.read_lineage(folder)
            generator = self._registry.read(folder, version)
        draw(generator, Draw(LEAST_ROWS, 0))  # the first forward pass is slow
        return Loaded(version, lineage, generator, card)

    def follow(self) -> bool:
        """Look where the alias points, and load and serve that version if it is another one; return whether it was.

        A version that cannot be loaded leaves the old one in place and is not tried again until the alias moves.

        Raises:
            StoreUnavailable: the registry or the files cannot be read now; the next look tries again.
        """
        version = self._registry.find(self.name, self.which)
        if version is None or version.number == self.current.version.number:
            self.failed = None if version is not None else self.failed
            return False
        if self.failed is not None and self.failed[0] == version.number:
            return False
        try:
            loaded = self._load(version)
        except StoreUnavailable:
            raise
        except Exception as error:  # whatever is wrong with the new one, the old one goes on
            self.failed = version.number, str(error).partition("\n")[0]
            logger.warning("%s cannot be served, %s goes on: %s", version, self.current.version, self.failed[1])
            return False
        self.current, self.failed = loaded, None
        return True

    def find(self, which: str | None) -> Loaded:
        """Find the version that is served, or another one by alias or number, loaded when first asked for.

        Raises:
            VersionNotFound: the registry has no such version.
        """
        if which is None:
            return self.current
        number = int(which) if which.isdigit() else self._registry.require(self.name, which).number
        return self.current if number == self.current.version.number else self._other(number)

    def _other(self, number: int) -> Loaded:
        with self._lock:  # requests that come together load it once
            return self._beside(number)

    def phase(self, loaded: Loaded, k: int) -> Generator:
        """Load the generator of phase k of a version from that phase's own run; phase -1 is the identity, which draws x."""
        if k == loaded.num_phases - 1:
            return loaded.last
        if k == -1:
            return replace(loaded.last, maps=[])
        with self._phase_lock:  # requests that come together load it once
            return self._earlier(loaded.version.number, k)

    def _load_phase(self, number: int, k: int) -> Generator:
        loaded = self.find(str(number))
        ref = self._store.resolve(loaded.lineage.phase_run_ids[k])
        code.require_no_other(self._store.phase_of(ref), loaded.last.phase, str(loaded.version))
        return load_generator(self._store, ref, loaded.last.endpoints)

    def description(self, loaded: Loaded) -> Mapping[str, Any]:
        """Describe a version in memory, as /v1/model answers: its name, aliases, fingerprint, shape, metrics and card."""
        metrics = {k.removeprefix("metric."): float(v) for k, v in loaded.version.tags.items() if k.startswith("metric.")}
        condition, coding = loaded.last.endpoints.condition, loaded.last.endpoints.coding
        return {
            "name": self.name,
            "version": loaded.version.number,
            "aliases": self._registry.aliases(self.name),
            "fingerprint": loaded.last.phase.fingerprint,
            "target": loaded.last.phase.data.target,
            "shape": list(loaded.last.endpoints.shape),
            "columns": None if coding is None else coding.names,
            "condition": None if condition is None else {"name": condition.name, "classes": condition.classes},
            "num_phases": loaded.num_phases,
            "metrics": metrics,
            "card": loaded.card,
        }
