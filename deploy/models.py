"""The generators that a replica holds: the version that an alias points at, followed as it moves; earlier phases on demand."""

import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from components.jko import push_through
from components.streams import normal, stream
from deploy import bundle
from deploy.bundle import Lineage
from deploy.registry import Registry, Version
from pipeline.data import Samples
from pipeline.evaluate import Generator, load_generator
from pipeline.store import Store

logger = logging.getLogger(__name__)
LEAST_ROWS = 16
"""Smallest batch of a forward pass: below it BLAS takes other kernels, whose last digits differ."""


@dataclass(frozen=True)
class Order:
    """What one request asks for; its samples are a function of it and of the version alone."""

    num_samples: int
    seed: int
    phase: int | None


@dataclass
class Loaded:
    """One version in memory.

    Attributes:
        by_phase: generators of the phases asked for so far; the last phase is there from the beginning.
    """

    version: Version
    lineage: Lineage
    last: Generator
    card: str
    by_phase: dict[int, Generator] = field(default_factory=dict)

    @property
    def num_phases(self) -> int:
        return len(self.lineage.phase_run_ids)


def draw(generator: Generator, orders: Sequence[Order]) -> list[Samples]:
    """The samples of several orders in one forward pass, the same as those of each alone.

    x and z of an order come from its own seed; equal seeds give equal first rows, whatever `num_samples` is, and those that
    `python -m deploy generate` writes first.
    """
    xs = [generator.endpoints.source(order.num_samples, stream(order.seed, "generation_source")) for order in orders]
    z_dim = generator.phase.network.z_dim
    zs = [normal(stream(order.seed, "generation_z"), order.num_samples, z_dim) for order in orders]
    rows = sum(map(len, xs))
    padding = max(0, LEAST_ROWS - rows)
    x = np.concatenate([*xs, np.zeros((padding, *xs[0].shape[1:]), dtype=np.float32)])
    z = torch.from_numpy(np.concatenate([*zs, np.zeros((padding, z_dim), dtype=np.float32)])) if z_dim else None
    samples = generator.endpoints.to_units(push_through(generator.maps, torch.from_numpy(x), z).numpy())
    return np.split(samples[:rows], np.cumsum([len(each) for each in xs])[:-1])


class Models:
    """Follows NAME@ALIAS. What is served changes only when the new version has been loaded and has drawn finite samples."""

    def __init__(self, tracking_uri: str, name: str, which: str) -> None:
        self._store = Store(tracking_uri, create=False)
        self._registry = Registry(self._store)
        self.name, self.which = name, which
        self._lock = threading.Lock()
        self.failed: tuple[int, str] | None = None
        self.current = self._load(self._registry.require(name, which))

    def _load(self, version: Version) -> Loaded:
        with self._registry.folder(version) as folder:
            card, generator, lineage = (folder / "README.md").read_text(), bundle.read(folder), bundle.read_lineage(folder)
        draw(generator, [Order(LEAST_ROWS, 0, None)])  # the first forward pass is slow
        return Loaded(version, lineage, generator, card, {len(lineage.phase_run_ids) - 1: generator})

    def follow(self) -> bool:
        """Look where the alias points, and load that version if it is another one; whether it was.

        A version that cannot be loaded leaves the old one in place and is not tried again until the alias moves.
        """
        version = self._registry.find(self.name, self.which)
        if version is None or version.number == self.current.version.number:
            self.failed = None if version is not None else self.failed
            return False
        if self.failed is not None and self.failed[0] == version.number:
            return False
        try:
            loaded = self._load(version)
        except Exception as error:  # whatever is wrong with the new one, the old one goes on
            self.failed = version.number, str(error).partition("\n")[0]
            logger.warning("%s cannot be served, %s goes on: %s", version, self.current.version, self.failed[1])
            return False
        self.current, self.failed = loaded, None
        return True

    def generator(self, loaded: Loaded, phase: int | None) -> Generator:
        """The generator of a phase of a version, loaded from its own run when first asked for.

        Raises:
            IndexError: there is no such phase.
        """
        k = loaded.num_phases - 1 if phase is None else phase
        if not 0 <= k < loaded.num_phases:
            raise IndexError(f"phase must be below {loaded.num_phases}, not {k}")
        with self._lock:
            if k not in loaded.by_phase:
                ref = self._store.resolve(loaded.lineage.phase_run_ids[k])
                loaded.by_phase[k] = load_generator(self._store, ref, loaded.last.endpoints)
        return loaded.by_phase[k]

    def description(self) -> Mapping[str, Any]:
        """What /v1/model says."""
        loaded = self.current
        metrics = {k.removeprefix("metric."): float(v) for k, v in loaded.version.tags.items() if k.startswith("metric.")}
        return {
            "name": self.name,
            "alias": self.which,
            "version": loaded.version.number,
            "fingerprint": loaded.last.phase.fingerprint,
            "target": loaded.last.phase.data.target,
            "shape": list(loaded.last.endpoints.shape),
            "num_phases": loaded.num_phases,
            "metrics": metrics,
            "card": loaded.card,
        }
