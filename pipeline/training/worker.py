"""What a Ray Train worker does: it takes the steps of each phase, keeps checkpoints, and hands T_k to the store from rank 0.

The same function runs in Ray Train's local mode. A job holds one or several consecutive phases.
"""

import contextlib
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ray
import torch
from ray.train.collective import broadcast_from_rank_zero
from ray.train.torch import get_device

from pipeline.data.endpoints import load_endpoints
from pipeline.errors import Diverged, Unusable
from pipeline.parts import travel
from pipeline.parts.pinning import own_parts
from pipeline.phase import Phase
from pipeline.provenance import SLOW, processor
from pipeline.store.phases import Store
from pipeline.training.checkpoints import Checkpoints, OfFiles, OfRay, checkpointed
from pipeline.training.compiled_code import keep_code, use_checked_code
from pipeline.training.loop import train_flow
from pipeline.training.precision import slow_bfloat16
from pipeline.training.publisher import Publisher, published_parent
from pipeline.training.ranks import Ranks
from pipeline.training.solving.setting import Setting
from pipeline.training.windows import windows

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """The work of one Ray Train job, as it is sent to the workers.

    Attributes:
        runs: consecutive phases of a flow in order, each with the MLflow run that it is trained in.
        storage: folder or URL of checkpoints where Ray Train keeps none: in its local mode, in the driver's own process, where
            inside a Ray Tune trial its context may not be asked for; None: Ray Train has workers and keeps its own.
        data: folder or URL of the prepared image sets, as `load_endpoints` takes it.
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
        """Say whether the job runs in the driver's own process, where Ray Train has no workers."""
        return self.storage is not None


def train_loop(config: Mapping[str, Job]) -> dict[str, Any]:
    """Train the phases of a job in order: what Ray Train calls on each worker.

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
    if not job.local:
        travel.require(own_parts(next(iter(job.runs))).items())
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
    """Find this worker's place; `local`: in Ray Train's local mode, whose context may not be asked inside a Ray Tune trial."""
    if local:
        return Ranks(device=get_device())
    context = ray.train.get_context()
    return Ranks(context.get_world_rank(), context.get_world_size(), get_device())


def train_job(job: Job, ranks: Ranks, store: Store, publisher: Publisher | None) -> None:
    """Make what the phases of a job need, once, and train those of them that are not in the store.

    Args:
        publisher: of the first worker; None on all others.
    """
    phases = missing(job, ranks, store)
    checkpoints: Checkpoints = OfRay(publisher)
    if job.storage is not None:
        assert publisher is not None
        checkpoints = OfFiles(job.storage, publisher)
    for phase in job.runs.keys() - set(phases):
        checkpoints.forget(phase)
    if not phases:
        return
    setting = Setting.of(
        phases[0],
        load_endpoints(phases[0].data, job.data),
        ranks,
        num_microbatches=job.num_microbatches,
        compiled=job.compile,
        channels_last=job.channels_last,
    )
    if publisher and (sentence := slow_bfloat16(phases[0], setting)) is not None:
        store.tag(job.runs[phases[0]], SLOW, sentence)  # for the user's screen
        if not job.local:  # else the log is the screen
            logger.warning(sentence)
    train_phases(phases, setting, job, ranks=ranks, store=store, checkpoints=checkpoints, publisher=publisher)


def train_phases(
    phases: Sequence[Phase],
    setting: Setting,
    job: Job,
    *,
    ranks: Ranks,
    store: Store,
    checkpoints: Checkpoints,
    publisher: Publisher | None,
) -> None:
    """Train phases of a job in order, each from the one before, and publish each while the next is trained.

    Raises:
        Diverged: a loss, or the map in the end, is not finite.
    """
    code = use_checked_code() if job.compile else None
    for underway in train_flow(phases, setting, lambda phase: published_parent(phase, store)):
        phase, state, run_id = underway.phase, underway.state, job.runs[underway.phase]
        losses: dict[str, float] = {}
        of_steps = windows(underway, setting.share, job.checkpoint_every)
        for losses in checkpointed(of_steps, state, phase, checkpoints, job.checkpoint_every):
            if publisher:
                publisher.record(run_id, state.step, losses)
        seconds = time.monotonic() - underway.began
        ranks.synchronise_buffers(list(state.modules().values()))
        if code:
            keep_code(code)
        if publisher:
            publisher.record(run_id, state.step, {**losses, **underway.solved, "train_seconds": seconds})
            publisher.publish(run_id, phase, state, checkpoints.forget)


def missing(job: Job, ranks: Ranks, store: Store) -> list[Phase]:
    """List the phases of the job but for those that it published before it lost a worker; all workers hear the same."""
    refs = [store.find(phase, runs=[store.run(run_id)]) for phase, run_id in job.runs.items()] if ranks.is_first else []
    published = broadcast_from_rank_zero([ref is not None for ref in refs])
    return [phase for phase, is_published in zip(job.runs, published, strict=True) if not is_published]


def trained_on(ranks: Ranks, job: Job) -> str:
    """Name the processor that trains, for who compares seconds: `AMD EPYC, 1 thread`."""
    if ranks.device.type == "cuda":
        return f"{torch.cuda.get_device_name(ranks.device)}, {ranks.size} of them"
    workers = f", {ranks.size} workers each" if ranks.size > 1 else ""
    return f"{processor()}, {job.num_threads} thread{'s' * (job.num_threads > 1)}{workers}"
