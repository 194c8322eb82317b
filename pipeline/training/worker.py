"""What a Ray Train worker does: go on from T_{k-1}, train, hand T_k to the store from rank 0.

The same function runs in Ray Train's local mode. A job holds one or several consecutive phases.
"""

import contextlib
import logging
import math
import time
from dataclasses import dataclass
from typing import Any

import ray
import torch
from ray.train import get_preemption_info
from ray.train.collective import broadcast_from_rank_zero

from components import state as states
from components.jko import Losses, train_phase
from components.state import State
from pipeline.data.endpoints import load_endpoints, sample_shape
from pipeline.errors import Diverged, Unusable
from pipeline.phase import Phase
from pipeline.provenance import SLOW, processor
from pipeline.store.phases import Store
from pipeline.training.build import batches_of, problem_of, shape_from
from pipeline.training.checkpoints import Checkpoints, OfFiles, OfRay
from pipeline.training.compiled_code import keep_code, use_checked_code
from pipeline.training.handover import Trained, frozen_maps, initial_state
from pipeline.training.precision import slow_bfloat16
from pipeline.training.publisher import Publisher
from pipeline.training.ranks import Ranks, Share, ranks_of, share_of
from pipeline.training.recorder import Recorder

logger = logging.getLogger(__name__)
NUM_WINDOWS = 100
"""Step losses are averaged over a hundredth of a phase: what the curves show, and how late a divergence is noticed at most."""


@dataclass(frozen=True)
class Job:
    """The work of one Ray Train job, as plain values.

    Attributes:
        storage: folder or URL of checkpoints where Ray Train keeps none: in its local mode, in the driver's own process, where
            inside a Ray Tune trial its context may not be asked for; None: Ray Train has workers and keeps its own.
        data: where prepared image sets are, as `load_endpoints` takes it.
        node_id: Ray's node that workers must be on, as where the store is a file on its disk; None: any.
    """

    phases: list[str]
    run_ids: list[str]
    tracking_uri: str
    checkpoint_every: int
    num_threads: int
    storage: str | None
    data: str | None = None
    node_id: str | None = None
    num_microbatches: int = 1
    channels_last: bool = False
    compile: bool = False

    @property
    def local(self) -> bool:
        """Whether Ray Train has no workers."""
        return self.storage is not None


def train_loop(config: dict[str, Any]) -> dict[str, Any]:
    """Train the job's phases in order.

    Returns:
        {} when all are published; {"diverged": arguments of Diverged} otherwise. A divergence is returned and not raised, since
        Ray Train would train the phase again, to the same end.
    """
    job = Job(**config)
    ranks = ranks_of(local=job.local)
    if job.node_id and job.node_id != ray.get_runtime_context().get_node_id():
        raise Unusable(
            "cluster.tracking_uri must be http(s)://... : this worker is on another node than the driver, "
            "whose sqlite file it cannot see"
        )
    threads_before = torch.get_num_threads()
    torch.set_num_threads(job.num_threads)
    try:
        store = Store(job.tracking_uri)
        with Publisher(store, trained_on(ranks, job)) if ranks.is_first else contextlib.nullcontext() as publisher:
            train_phases(job, ranks, store, publisher)
    except Diverged as error:
        return {"diverged": error.arguments}
    finally:
        torch.set_num_threads(threads_before)
    return {}


def train_phases(job: Job, ranks: Ranks, store: Store, publisher: Publisher | None) -> None:
    """Every phase of the job that is not in the store, each from the one before.

    Args:
        publisher: of the first worker; None on all others.
    """
    before: Trained | None = None
    checkpoints: Checkpoints = OfRay(publisher)
    if job.storage is not None:
        assert publisher is not None
        checkpoints = OfFiles(job.storage, publisher)
    phases = [Phase.from_json(text) for text in job.phases]
    if publisher:
        say_if_slow(phases[0], job.run_ids[0], store, ranks, job)
    for phase, run_id in zip(phases, job.run_ids, strict=True):
        if publisher and phase.composed:
            publisher.wait()  # the increments so far are read from the store
        published = store.find(phase, runs=[store.run(run_id)]) is not None if ranks.is_first else None
        if broadcast_from_rank_zero(published):  # by this job, before it lost a worker
            checkpoints.forget(phase)
            before = None
            continue
        recorder = Recorder(store, run_id) if publisher else None
        try:
            state = train(phase, before, recorder, store=store, ranks=ranks, job=job, checkpoints=checkpoints)
        except Diverged:
            checkpoints.forget(phase)  # it would lead to the same end
            raise
        before = Trained(phase, state)
        if publisher and recorder:
            publisher.publish(run_id, phase, state, recorder, checkpoints.forget)


def trained_on(ranks: Ranks, job: Job) -> str:
    """The processor that trains, for who compares seconds: `AMD EPYC, 1 thread`."""
    if ranks.device.type == "cuda":
        return f"{torch.cuda.get_device_name(ranks.device)}, {ranks.size} of them"
    workers = f", {ranks.size} workers each" if ranks.size > 1 else ""
    return f"{processor()}, {job.num_threads} thread{'s' * (job.num_threads > 1)}{workers}"


def say_if_slow(phase: Phase, run_id: str, store: Store, ranks: Ranks, job: Job) -> None:
    """Warn where this machine would be faster at another precision: in the worker's log, and by a tag on the user's screen."""
    if ranks.device.type == "cpu" and phase.training.bfloat16:
        shape = shape_from(phase.network, sample_shape(phase.data))
        if (sentence := slow_bfloat16(shape, share_of(phase, ranks, job.num_microbatches).num_rows)) is not None:
            store.tag(run_id, SLOW, sentence)
            if not job.local:  # else the log is the screen
                logger.warning(sentence)


def train(
    phase: Phase,
    before: Trained | None,
    recorder: Recorder | None,
    *,
    store: Store,
    ranks: Ranks,
    job: Job,
    checkpoints: Checkpoints,
) -> State:
    """Train one phase from its parent, or from its last checkpoint."""
    began = time.monotonic()
    endpoints = load_endpoints(phase.data, job.data)
    problem = problem_of(phase, num_microbatches=job.num_microbatches, compiled=job.compile)
    code = use_checked_code() if job.compile else None
    state = initial_state(phase, before, endpoints, store, ranks.device)
    anchor = frozen_maps(phase, state, endpoints, store, ranks.device)
    if job.channels_last:
        states.channels_last(state)
        for network in anchor:
            network.to(memory_format=torch.channels_last)
    ranks.synchronise_buffers(list(state.modules().values()))
    checkpoints.resume(state, phase)
    share = share_of(phase, ranks, job.num_microbatches)
    draw = batches_of(phase, endpoints, share.rows, ranks.device)
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
            checkpoints.save(state, phase)
    if code:
        keep_code(code)
    if not all(bool(parameter.isfinite().all()) for parameter in state.transport_map.parameters()):
        raise Diverged(phase.k, state.step, "the map's last update", last_finite)
    if recorder:
        recorder.add(state.step, {**last_finite, "train_seconds": time.monotonic() - began})
    return state


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
    source_fixed = phase.jko.source_divergence == "linear"  # otherwise L_v contains the cost
    return {**means, "divergence": -means["potential_loss"]} if source_fixed else means
