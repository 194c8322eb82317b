"""What a Ray Train worker does: read T_{k-1} from the store, train, write T_k there from rank 0.

The same function runs in Ray Train's local mode. A job holds one or several consecutive phases; each is published before the
next begins.
"""

import logging
import math
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import ray.train
import torch
import torch.distributed as dist
from ray.train import get_preemption_info
from ray.train.collective import barrier, broadcast_from_rank_zero
from ray.train.torch import get_device
from torch import Tensor, nn

from components import state as states
from components.jko import Losses, train_phase
from components.small_networks import SmallLift
from components.state import State
from pipeline import manifest
from pipeline.build import batches_of, indivisible, new_state, problem_of, rows_of, shape_of
from pipeline.data import Endpoints, load_endpoints
from pipeline.errors import Corrupt, Diverged, Unusable
from pipeline.phase import Phase
from pipeline.recorder import Recorder
from pipeline.store import MapRef, Store

logger = logging.getLogger(__name__)
NUM_WINDOWS = 100
"""Step losses are averaged over a hundredth of a phase: what the curves show, and how late a divergence is noticed at most."""


@dataclass(frozen=True)
class Job:
    """The work of one Ray Train job, as plain values.

    Attributes:
        local: in the driver's own process, where Ray Train keeps no checkpoints and where, inside a Ray Tune trial, its context
            may not be asked for.
        data: where prepared image sets are, as `load_endpoints` takes it.
        node_id: Ray's node that workers must be on, as where the store is a file on its disk; None: any.
    """

    phases: list[str]
    run_ids: list[str]
    tracking_uri: str
    checkpoint_every: int
    num_threads: int
    local: bool
    data: str | None = None
    node_id: str | None = None
    num_microbatches: int = 1
    channels_last: bool = False
    compile: bool = False


@dataclass(frozen=True)
class Ranks:
    """This worker's place among the others."""

    rank: int
    size: int
    device: torch.device


@dataclass(frozen=True)
class Share:
    """This worker's rows of the global batch, of n in all; shares differ by a row or so where n is no multiple of the workers."""

    rows: slice
    n: int

    @property
    def weight(self) -> float:
        """Of the whole batch."""
        return len(range(self.n)[self.rows]) / self.n

    def mean_in_place(self, tensors: Sequence[Tensor]) -> None:
        """Average over the global batch what each worker has averaged over its rows, in one collective."""
        if self.weight == 1:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        flat *= self.weight
        dist.all_reduce(flat)
        for tensor, mean in zip(tensors, torch.split(flat, [tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(mean.view_as(tensor))


def train_loop(config: dict[str, Any]) -> dict[str, Any]:
    """Train the job's phases in order.

    Returns:
        {} when all are published; {"diverged": arguments of Diverged} otherwise. A divergence is returned and not raised, since
        Ray Train would train the phase again, to the same end.
    """
    job = Job(**config)
    ranks = ranks_of(job)
    if job.node_id and job.node_id != ray.get_runtime_context().get_node_id():
        raise Unusable(
            "cluster.tracking_uri must be http(s)://... or postgresql://... : this worker is on another node than the driver, "
            "whose sqlite file it cannot see"
        )
    threads_before = torch.get_num_threads()
    torch.set_num_threads(job.num_threads)
    try:
        store = Store(job.tracking_uri)
        for text, run_id in zip(job.phases, job.run_ids, strict=True):
            phase = Phase.from_json(text)
            published = broadcast_from_rank_zero(store.find(phase) is not None if ranks.rank == 0 else None)
            if not published:
                train(phase, run_id, store, ranks, job)
    except Diverged as error:
        return {"diverged": error.arguments}
    finally:
        torch.set_num_threads(threads_before)
    return {}


def ranks_of(job: Job) -> Ranks:
    """This worker's place."""
    if job.local:
        return Ranks(0, 1, get_device())
    context = ray.train.get_context()
    return Ranks(context.get_world_rank(), context.get_world_size(), get_device())


def share_of(phase: Phase, ranks: Ranks, job: Job) -> Share:
    """This worker's rows of the phase's batches."""
    n, unit = phase.problem["training"]["batch_size"], indivisible(phase.network, job.num_microbatches)
    return Share(rows_of(n, unit, rank=ranks.rank, num_workers=ranks.size), n)


def train(phase: Phase, run_id: str, store: Store, ranks: Ranks, job: Job) -> None:
    """Train one phase from its parent, or from the job's last checkpoint of this phase, and publish it."""
    began = time.monotonic()
    endpoints, problem = load_endpoints(phase.data, job.data), problem_of(phase, num_microbatches=job.num_microbatches)
    parent = store.published(phase.parent) if phase.parent else None
    state = initial_state(phase, parent, endpoints, store, ranks.device)
    anchor = load_anchor(phase, parent, endpoints, store, ranks.device)
    arrange(state, anchor, job)
    if not job.local:
        resume(state, phase)
    share = share_of(phase, ranks, job)
    draw = batches_of(phase, endpoints, share.rows, ranks.device)
    recorder = Recorder(store, run_id) if ranks.rank == 0 else None
    window_size = math.ceil(problem.num_steps / NUM_WINDOWS)
    window: list[Losses] = []
    last_finite: dict[str, float] = {}
    warned = False
    for losses in train_phase(state, problem, anchor, draw, share.mean_in_place):
        window.append(losses)
        checkpoint = job.checkpoint_every > 0 and state.step % job.checkpoint_every == 0
        looks = len(window) == window_size
        if looks and not warned and not job.local and get_preemption_info() is not None:  # all workers hear the same
            warned = checkpoint = True
        if looks or checkpoint or state.step == problem.num_steps:
            last_finite = summarise(window, phase, state.step, last_finite, share)
            window.clear()
            if recorder:
                recorder.add(state.step, last_finite)
        if checkpoint:
            save_checkpoint(state, phase, ranks)
    if not all(bool(parameter.isfinite().all()) for parameter in state.transport_map.parameters()):
        raise Diverged(phase.k, state.step, "the map's last update", last_finite)
    if ranks.rank == 0:
        assert recorder is not None
        recorder.add(state.step, {**last_finite, "train_seconds": time.monotonic() - began})
        recorder.flush()
        store.publish(run_id, phase, states.to_tensors(state))
        store.set_status(run_id, "FINISHED")
    barrier()  # the next phase reads what rank 0 has just written


def initial_state(phase: Phase, parent: MapRef | None, endpoints: Endpoints, store: Store, device: torch.device) -> State:
    """The parent's state, which phase k goes on from; new networks for phase 0 and for the map of a composed increment."""
    state = new_state(phase, endpoints, device)
    if parent is not None:
        states.load_tensors(state, store.load(parent, states.FILES), step=0)
        if phase.composed:
            states.fresh_map(state, shape_of(phase, endpoints), seed=phase.problem["seed"])
    return state


def load_anchor(phase: Phase, parent: MapRef | None, endpoints: Endpoints, store: Store, device: torch.device) -> list[nn.Module]:
    """The frozen maps that make T_{k-1}: none for phase 0, live weights of one map, or of all increments so far.

    Where the noise is smaller than the images, T_{-1} enlarges it.
    """
    if parent is None:
        shape = shape_of(phase, endpoints)
        return [SmallLift(shape)] if shape.kind == "small" else []
    maps = []
    for ref in store.ancestors(parent) if phase.composed else [parent]:
        transport_map = states.build_map(shape_of(phase, endpoints))
        transport_map.load_state_dict(store.load(ref, ["map"])["map"])
        maps.append(transport_map.to(device).requires_grad_(False).eval())
    return maps


def arrange(state: State, anchor: Sequence[nn.Module], job: Job) -> None:
    """Memory layout and compilation of the networks, in place: neither changes what they compute."""
    if job.channels_last:
        states.channels_last(state)
        for network in anchor:
            network.to(memory_format=torch.channels_last)
    if job.compile:
        for network in (state.transport_map, state.potential, *anchor):
            network.compile()


def summarise(window: list[Losses], phase: Phase, step: int, last_finite: dict[str, float], share: Share) -> dict[str, float]:
    """Mean losses of the window's steps over all workers.

    Raises:
        Diverged: on every rank alike, at the first step of the window with a loss that is not finite.
    """
    rows = torch.stack([torch.stack(losses) for losses in window])
    share.mean_in_place([rows])
    for row, at in zip(rows.tolist(), range(step - len(window), step), strict=True):
        for name, value in zip(Losses._fields, row, strict=True):
            if not math.isfinite(value):
                raise Diverged(phase.k, at, name, last_finite)
        last_finite = dict(zip(Losses._fields, row, strict=True))
    means = dict(zip(Losses._fields, rows.mean(0).tolist(), strict=True))
    source_fixed = phase.problem["jko"]["source_divergence"] == "linear"  # otherwise L_v contains the cost
    return {**means, "divergence": -means["potential_loss"]} if source_fixed else means


def save_checkpoint(state: State, phase: Phase, ranks: Ranks) -> None:
    """A mid-phase checkpoint through Ray Train: a barrier over the workers, kept where `cluster.storage` says."""
    if ranks.rank != 0:
        ray.train.report({}, checkpoint=None)
        return
    with tempfile.TemporaryDirectory(prefix="sjko-") as folder:
        manifest.write(Path(folder), states.to_tensors(state), {"fingerprint": phase.fingerprint, "step": state.step})
        ray.train.report({"step": state.step}, checkpoint=ray.train.Checkpoint.from_directory(folder))


def resume(state: State, phase: Phase) -> None:
    """Go on from the job's last checkpoint, if it is one of this phase."""
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is None:
        return
    with checkpoint.as_directory() as folder:
        try:
            record = manifest.read_record(Path(folder))
            if record["fingerprint"] == phase.fingerprint:
                files = {name: manifest.read_tensors(Path(folder), name) for name in states.FILES}
                states.load_tensors(state, files, step=int(str(record["step"])))
        except Corrupt as error:
            logger.warning("phase %d begins again from its first step: %s", phase.k, error)
