"""A flow that is trained in this process, without a store: the loop of `pipeline.training.loop`, and what it leaves behind."""

import shutil
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from typing import Any

import torch

from components import state as states
from components.state import State, Tensors
from pipeline.cluster import Cluster
from pipeline.data.endpoints import Endpoints
from pipeline.phase import Phase
from pipeline.provenance import TRAINED_ON, processor
from pipeline.store import claims, manifest
from pipeline.store.ending import ending
from pipeline.store.maps import MapRef
from pipeline.store.phases import Store
from pipeline.training.loop import train_flow
from pipeline.training.ranks import CPU, Ranks
from pipeline.training.solving.setting import Setting
from pipeline.training.solving.start import Parent
from pipeline.training.windows import windows

Curve = tuple[tuple[int, dict[str, float]], ...]
"""Mean losses by step of a phase."""


class Kept:
    """The phases that this process has trained: their tensors in a folder that goes with this object, their curves in memory.

    Weights, averages and moments of all phases of a large network would not fit into memory.
    """

    def __init__(self) -> None:
        self.curves: dict[Phase, Curve] = {}

    @cached_property
    def _root(self) -> Path:
        root = Path(tempfile.mkdtemp(prefix="sjko-"))
        weakref.finalize(self, shutil.rmtree, root, ignore_errors=True)
        return root

    def folder(self, fingerprint: str) -> Path:
        """Name the folder of a phase."""
        return self._root / fingerprint

    def keep(self, phase: Phase, state: State, curve: Curve) -> None:
        """Keep a phase that is finished."""
        manifest.write(self.folder(phase.fingerprint), states.to_tensors(state), {"phase": phase.to_json()})
        self.curves[phase] = curve

    def read(self, fingerprint: str, name: str) -> Tensors:
        """Read the tensors of a phase of one name, such as `averaged_map`."""
        return manifest.read_tensors(self.folder(fingerprint), name)

    def parent(self, phase: Phase) -> Parent:
        """Read what a phase goes on from."""
        before = [each for each in self.curves if each.k < phase.k]
        files = {name: self.read(before[-1].fingerprint, name) for name in states.FILES}
        return Parent(files, [self.read(each.fingerprint, "map") for each in before[:-1]] if phase.composed else [])

    def maps(self, phase: Phase) -> list[Tensors]:
        """Read the averaged weights of T_k, or of all increments up to it."""
        links = [each for each in self.curves if each.k < phase.k] if phase.composed else []
        return [self.read(each.fingerprint, "averaged_map") for each in [*links, phase]]

    def forget_all_but(self, phases: Sequence[Phase]) -> None:
        """Keep only the phases that a flow begins with, in order."""
        common = takewhile(lambda pair: pair[0] == pair[1], zip(phases, self.curves, strict=False))
        self.curves = {phase: self.curves[phase] for phase, _ in common}


def train(
    phases: Sequence[Phase], endpoints: Endpoints, cluster: Cluster, kept: Kept, show: Callable[[int], None]
) -> Iterator[Phase]:
    """Train the phases of a flow that are not kept yet, and yield each when it is.

    The numbers are those of `python -m pipeline run` without workers.

    Args:
        show: told how many steps of the flow are done.

    Raises:
        Diverged: a loss, or the map in the end, is not finite.
    """
    device = torch.device("cuda") if cluster.use_gpu else CPU
    done = sum(phase.num_steps for phase in kept.curves)
    show(done)
    with as_the_commands_have_it(cluster.cpus_per_worker):
        setting = Setting.of(
            phases[0],
            endpoints,
            Ranks(device=device),
            num_microbatches=cluster.num_microbatches,
            compiled=cluster.compile,
            channels_last=cluster.channels_last,
        )
        for underway in train_flow(phases[len(kept.curves) :], setting, kept.parent):
            curve = []
            for losses in windows(underway, setting.share):
                curve.append((underway.state.step, losses))
                show(done + underway.state.step)
            done += underway.phase.num_steps
            kept.keep(underway.phase, underway.state, tuple(curve))
            yield underway.phase


_threads = threading.Lock()
_num_training = 0
_threads_before = 1
_num_in_float32 = 0
_dtype_before = torch.float32


@contextmanager
def as_the_commands_have_it(num_threads: int) -> Iterator[None]:
    """Set what torch has for a whole process or thread as training needs it, until the last flow of this process has ended."""
    global _num_training, _threads_before  # noqa: PLW0603  # torch's number of threads is one for the process
    with _threads:
        if _num_training == 0:
            _threads_before = torch.get_num_threads()
            torch.set_num_threads(num_threads)
        _num_training += 1
    try:
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        with _threads:
            _num_training -= 1
            if _num_training == 0:
                torch.set_num_threads(_threads_before)


@contextmanager
def in_float32() -> Iterator[None]:
    """Make torch's default type float32, which networks are built in, whatever a person has set, until the last such context."""
    global _num_in_float32, _dtype_before  # noqa: PLW0603  # torch's default type is one for the process
    with _threads:
        if _num_in_float32 == 0:
            _dtype_before = torch.get_default_dtype()
            torch.set_default_dtype(torch.float32)
        _num_in_float32 += 1
    try:
        yield
    finally:
        with _threads:
            _num_in_float32 -= 1
            if _num_in_float32 == 0:
                torch.set_default_dtype(_dtype_before)


def publish(kept: Kept, store: Store, name: str, recipe: dict[str, Any]) -> list[MapRef]:
    """Publish the phases that this process has trained: as the flow's own command would, so that it finds them.

    Args:
        name: that lists of flows show.
        recipe: the flow's, as nested dictionaries.
    """
    refs: list[MapRef] = []
    phases = list(kept.curves)
    with ExitStack() as stack:
        flow_run_id = store.open_flow(name, phases[-1].fingerprint, recipe)
        stack.enter_context(ending(store, [flow_run_id]))
        for phase in phases:
            ref = store.find(phase)
            if ref is None:
                run_id = store.create_phase_run(phase, flow_run_id, claims.this_process())
                with ending(store, [run_id]), tempfile.TemporaryDirectory(prefix="sjko-") as folder:
                    tensors = {each: kept.read(phase.fingerprint, each) for each in states.FILES}
                    store.write(Path(folder), phase, tensors)
                    store.log_metrics(run_id, {step: {**losses, "step": step} for step, losses in kept.curves[phase]})
                    store.tag(run_id, TRAINED_ON, processor())
                    store.publish(run_id, Path(folder))
                ref = MapRef(run_id, phase.fingerprint, phase.k)
            refs.append(ref)
    return refs
