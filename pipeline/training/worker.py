"""What a Ray Train worker does: it takes the steps of each phase, keeps checkpoints, and hands T_k to the store from rank 0.

The same function runs in Ray Train's local mode. A job holds one or several consecutive phases.
"""

import contextlib
import logging
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import ray
import torch
from ray.train import get_preemption_info
from ray.train.collective import broadcast_from_rank_zero
from ray.train.torch import get_device

from components import state as states
from components.jko import Losses
from components.table import divergence
from pipeline.data.endpoints import load_endpoints
from pipeline.errors import Diverged, Unusable
from pipeline.phase import Phase
from pipeline.provenance import SLOW, processor
from pipeline.store.phases import Store
from pipeline.training.build import Setting
from pipeline.training.checkpoints import Checkpoints, OfFiles, OfRay
from pipeline.training.compiled_code import keep_code, use_checked_code
from pipeline.training.loop import Parent, Underway, train_flow
from pipeline.training.precision import slow_bfloat16
from pipeline.training.publisher import Publisher
from pipeline.training.ranks import Ranks, Share
from pipeline.training.recorder import Recorder

logger = logging.getLogger(__name__)
NUM_WINDOWS = 100
"""Step losses are averaged over a hundredth of a phase: what the curves show, and how late a divergence is noticed at most."""


@dataclass(frozen=True)
class Job:
    """The work of one Ray Train job, as it is sent to the workers.

    Attributes:
        runs: consecutive phases of a flow in order, each with the MLflow run that it is trained in.
        storage: folder or URL of checkpoints where Ray Train keeps none: in its local mode, in the driver's own process, where
            inside a Ray Tune trial its context may not be asked for; None: Ray Train has workers and keeps its own.
        data: where prepared image sets are, as `load_endpoints` takes it.
        node_id: Ray's node that workers must be on, as where the store is a file on its disk; None: any.
    """

    runs: Mapping[Phase, str]
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


def train_loop(config: Mapping[str, Job]) -> dict[str, Any]:
    """Train the phases of `job` in order.

    Returns:
        {} when all are published; {"diverged": arguments of Diverged} otherwise. A divergence is returned and not raised, since
        Ray Train would train the phase again, to the same end.
    """
    job = config["job"]
    ranks = ranks_of(local=job.local)
    if job.node_id and job.node_id != ray.get_runtime_context().get_node_id():
        raise Unusable(
            "store.tracking_uri must be http(s)://... : this worker is on another node than the driver, "
            "whose sqlite file it cannot see"
        )
    threads_before = torch.get_num_threads()
    torch.set_num_threads(job.num_threads)
    try:
        store = Store(job.tracking_uri)
        with Publisher(store, trained_on(ranks, job)) if ranks.is_first else contextlib.nullcontext() as publisher:
            train_job(job, ranks, store, publisher)
    except Diverged as error:
        return {"diverged": error.arguments}
    finally:
        torch.set_num_threads(threads_before)
    return {}


def ranks_of(*, local: bool) -> Ranks:
    """This worker's place; `local`: in Ray Train's local mode, whose context may not be asked inside a Ray Tune trial."""
    if local:
        return Ranks(device=get_device())
    context = ray.train.get_context()
    return Ranks(context.get_world_rank(), context.get_world_size(), get_device())


def train_job(job: Job, ranks: Ranks, store: Store, publisher: Publisher | None) -> None:
    """Every phase of the job that is not in the store, each from the one before.

    Args:
        publisher: of the first worker; None on all others.
    """
    checkpoints: Checkpoints = OfRay(publisher)
    if job.storage is not None:
        assert publisher is not None
        checkpoints = OfFiles(job.storage, publisher)
    first = next(iter(job.runs))
    setting = Setting.of(
        first,
        load_endpoints(first.data, job.data),
        ranks,
        num_microbatches=job.num_microbatches,
        compiled=job.compile,
        channels_last=job.channels_last,
    )
    if publisher:
        say_if_slow(first, setting, store, job)
    code = use_checked_code() if job.compile else None
    for underway in train_flow(missing(job, ranks, store, checkpoints), setting, lambda phase: kept_parent(phase, store)):
        phase, state = underway.phase, underway.state
        recorder = Recorder(store, job.runs[phase]) if publisher else None
        checkpoints.resume(state, phase)
        try:
            train(underway, setting.share, recorder, checkpoints, job)
        except Diverged:
            checkpoints.forget(phase)  # it would lead to the same end
            raise
        ranks.synchronise_buffers(list(state.modules().values()))
        if code:
            keep_code(code)
        if publisher and recorder:
            publisher.publish(job.runs[phase], phase, state, recorder, checkpoints.forget)


def missing(job: Job, ranks: Ranks, store: Store, checkpoints: Checkpoints) -> Iterator[Phase]:
    """The phases of the job but for those that it has published before it lost a worker; all workers hear the same."""
    for phase, run_id in job.runs.items():
        published = store.find(phase, runs=[store.run(run_id)]) is not None if ranks.is_first else None
        if broadcast_from_rank_zero(published):
            checkpoints.forget(phase)
        else:
            yield phase


def kept_parent(phase: Phase, store: Store) -> Parent:
    """The phase before, as it was published."""
    ref = store.published(str(phase.parent))
    increments = store.ancestors(ref)[:-1] if phase.composed else []
    return Parent(store.load(ref, states.FILES), [store.load(each, ["map"])["map"] for each in increments])


def trained_on(ranks: Ranks, job: Job) -> str:
    """The processor that trains, for who compares seconds: `AMD EPYC, 1 thread`."""
    if ranks.device.type == "cuda":
        return f"{torch.cuda.get_device_name(ranks.device)}, {ranks.size} of them"
    workers = f", {ranks.size} workers each" if ranks.size > 1 else ""
    return f"{processor()}, {job.num_threads} thread{'s' * (job.num_threads > 1)}{workers}"


def say_if_slow(phase: Phase, setting: Setting, store: Store, job: Job) -> None:
    """Warn where this machine would be faster at another precision: in the worker's log, and by a tag on the user's screen."""
    if setting.device.type != "cpu" or not phase.training.bfloat16:
        return
    if (sentence := slow_bfloat16(setting.spec, setting.share.num_rows)) is not None:
        store.tag(job.runs[phase], SLOW, sentence)
        if not job.local:  # else the log is the screen
            logger.warning(sentence)


def train(underway: Underway, share: Share, recorder: Recorder | None, checkpoints: Checkpoints, job: Job) -> None:
    """Take the steps of a phase, with its curves and checkpoints.

    Raises:
        Diverged: a loss, or the map in the end, is not finite.
    """
    phase, state = underway.phase, underway.state
    window_size = math.ceil(phase.num_steps / NUM_WINDOWS)
    window: list[Losses] = []
    last_finite: dict[str, float] = {}
    warned = False
    for losses in underway.losses:
        window.append(losses)
        checkpoint = job.checkpoint_every > 0 and state.step % job.checkpoint_every == 0
        looks = len(window) == window_size
        if looks and not warned and not job.local and get_preemption_info() is not None:  # all workers hear the same
            warned = checkpoint = True
        if looks or checkpoint or state.step == phase.num_steps:
            last_finite = summarise(window, phase, state.step, last_finite, share)
            window.clear()
            if recorder:
                recorder.add(state.step, last_finite)
        if checkpoint:
            checkpoints.save(state, phase)
    if not all(bool(parameter.isfinite().all()) for parameter in state.transport_map.parameters()):
        raise Diverged(phase.k, state.step, "the map's last update", last_finite)
    if recorder:
        recorder.add(state.step, {**last_finite, "train_seconds": time.monotonic() - underway.began})


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
    source_fixed = divergence(phase.jko.source_divergence).fixes_marginal  # otherwise L_v contains the cost
    return {**means, "divergence": -means["potential_loss"]} if source_fixed else means
