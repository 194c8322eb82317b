"""Ray Train jobs: run one TorchTrainer, turn its failures into sentences."""

import contextlib
import logging
import shutil
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, wait
from pathlib import Path

import pyarrow.fs
import ray
import ray.train
from ray.train.torch import TorchTrainer

from components.parts.loading import describe_error
from pipeline import cluster as clusters
from pipeline import files
from pipeline.cluster import Cluster
from pipeline.errors import Diverged, FlowError, TrainingFailed, Unschedulable
from pipeline.phase import Phase
from pipeline.ray_session import knock
from pipeline.training.worker import Job, train_loop

logger = logging.getLogger(__name__)
SECONDS_BETWEEN_LOOKS, SECONDS_WITHOUT_HEAD = 5.0, 20.0
"""Ray itself would end this process, without a word to its user, after 60 seconds without a head."""
SECONDS_BETWEEN_RESIZES = 60.0
"""An elastic job that finds more nodes begins again from its last checkpoint, with more workers."""
START_ATTEMPTS = 10
"""Attempts of a minute each to place a job's workers on a cluster that may still be growing."""


def check_resources(cluster: Cluster) -> None:
    """Refuse at once what a cluster of this machine alone can never give.

    Raises:
        Unschedulable: says what is asked and what there is.
    """
    if cluster.num_workers and not cluster.address:
        have = ray.cluster_resources()
        for resource, per_worker in resources_per_worker(cluster).items():
            if have.get(resource, 0) < per_worker * fewest(cluster):
                raise _unschedulable(cluster)


def fewest(cluster: Cluster) -> int:
    """Count the workers without which a job does not begin."""
    return cluster.num_workers if cluster.min_workers is None else cluster.min_workers


def resources_per_worker(cluster: Cluster) -> dict[str, float]:
    """Name the resources that Ray reserves for one worker."""
    return {"CPU": cluster.cpus_per_worker, **({"GPU": 1} if cluster.use_gpu else {})}


def _unschedulable(cluster: Cluster) -> Unschedulable:
    have = {name: amount for name, amount in sorted(ray.cluster_resources().items()) if name in ("CPU", "GPU")}
    return Unschedulable(
        f"{fewest(cluster)} workers of {resources_per_worker(cluster)} were asked for and the cluster has {have}: lower "
        "cluster.num_workers, cluster.min_workers, cluster.cpus_per_worker or cluster.use_gpu, or add nodes"
    )


def filesystem(url: str) -> tuple[pyarrow.fs.FileSystem | None, str]:
    """Give Ray Train's pair of file system and path for any fsspec URL, or a plain path, for which it needs no file system."""
    if "://" not in url:
        return None, url
    remote, path = files.at(url)
    return pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(remote)), path


def job_name(group: Sequence[Phase]) -> str:
    """Name a job after what it computes, so that one started again finds its own checkpoints and never another's."""
    first, last = group[0].fingerprint, group[-1].fingerprint
    return first if len(group) == 1 else f"{first}-{last}"


def run_job(runs: Mapping[Phase, str], *, name: str, cluster: Cluster) -> None:
    """Train phases of one flow in one Ray Train job, each in its MLflow run; the worker publishes them.

    Args:
        name: name of the job; with equal names a job goes on from the checkpoints of the one before.

    Raises:
        Diverged, Corrupt, StoreUnavailable: what the worker met.
        Unschedulable: the workers could not be placed.
        TrainingFailed: workers were lost more than `cluster.max_failures` times.
    """
    (k, *_) = (phase.k for phase in runs)
    local, uri = cluster.num_workers == 0, clusters.tracking_uri(cluster)
    job = Job(
        runs=dict(runs),
        tracking_uri=uri,
        checkpoint_every=cluster.checkpoint_every,
        num_threads=cluster.cpus_per_worker,
        storage=clusters.checkpoints(cluster) if local else None,
        data=clusters.data(cluster),
        node_id=None if local or not uri.startswith("sqlite:///") else ray.get_runtime_context().get_node_id(),
        num_microbatches=cluster.num_microbatches,
        channels_last=cluster.channels_last,
        compile=cluster.compile,
    )
    storage_filesystem, storage_path = filesystem(clusters.checkpoints(cluster))
    trainer = TorchTrainer(
        train_loop,
        train_loop_config={"job": job},
        scaling_config=ray.train.ScalingConfig(
            num_workers=cluster.num_workers if cluster.min_workers is None else (cluster.min_workers, cluster.num_workers),
            use_gpu=cluster.use_gpu,
            resources_per_worker=resources_per_worker(cluster),
            elastic_resize_monitor_interval_s=SECONDS_BETWEEN_RESIZES,
        ),
        run_config=ray.train.RunConfig(
            name=name,
            storage_path=storage_path,
            storage_filesystem=storage_filesystem,
            failure_config=ray.train.FailureConfig(
                max_failures=cluster.max_failures, controller_failure_limit=START_ATTEMPTS, max_preemption_failures=100
            ),
            callbacks=[NoRetry()],
            checkpoint_config=ray.train.CheckpointConfig(num_to_keep=2),
        ),
    )
    try:
        result = trainer.fit() if local else _fit_workers(trainer, cluster)
    except _CheckpointsDamaged:
        logger.warning("phase %d begins again from its first step: Ray Train's record of the job's checkpoints is damaged", k)
        forget_checkpoints(name, cluster)
        result = _fit_workers(trainer, cluster)
    if result.return_value and "diverged" in result.return_value:
        raise Diverged(*result.return_value["diverged"])
    if not local:
        forget_checkpoints(name, cluster)


def _fit_workers(trainer: TorchTrainer, cluster: Cluster) -> ray.train.Result:
    """Run fit() in a thread, so that Ctrl-C reaches this one: in the main thread Ray Train takes SIGINT for itself."""
    check_resources(cluster)
    outcome: Future[ray.train.Result] = Future()

    def work() -> None:
        try:
            outcome.set_result(trainer.fit())
        except BaseException as error:
            outcome.set_exception(error)

    threading.Thread(target=work, name="ray-train", daemon=True).start()
    head = ray.get_runtime_context().gcs_address
    last_seen = time.monotonic()
    try:
        while not wait([outcome], SECONDS_BETWEEN_LOOKS).done:
            if answers(head):
                last_seen = time.monotonic()
            elif time.monotonic() - last_seen > SECONDS_WITHOUT_HEAD:
                raise _lost(f"the head of the Ray cluster at {head} is gone")
        return outcome.result()
    except ray.exceptions.RayError as error:  # the controller of the job went down, with the head or alone
        if "CheckpointManagerInitializationError" in str(error):
            raise _CheckpointsDamaged from error
        what = "the job's controller was lost" if answers(head) else f"the head of the Ray cluster at {head} is gone"
        raise _lost(what) from error
    except ray.train.WorkerGroupError as error:
        for cause in causes(error.worker_failures):
            if isinstance(cause, FlowError):
                raise cause from error
        raise TrainingFailed(
            f"workers failed more than cluster.max_failures = {cluster.max_failures} times; the last failure was "
            f"{str(error).strip().splitlines()[-1]}. The same command goes on from the last checkpoint."
        ) from error
    except ray.train.ControllerError as error:
        if is_final(error.controller_failure):  # of a worker, see NoRetry
            raise ended_by(error.controller_failure) from error
        if "timed out" in str(error).lower() or "timeout" in str(error).lower():
            raise _unschedulable(cluster) from error
        raise TrainingFailed(f"Ray Train could not run the job: {error}") from error


class _CheckpointsDamaged(Exception):
    """Ray Train cannot read its record of a job's checkpoints, or does not find them."""


class NoRetry(ray.train.UserCallback):  # type: ignore[misc]  # Ray ships no types for it
    """A callback that ends a job at an error that would come again: Ray Train itself starts workers anew, `max_failures`
    times.

    The controller calls it as soon as one worker has failed, and takes what it raises as the job's end.
    """

    def after_exception(self, run_context: object, worker_exceptions: Mapping[int, Exception]) -> None:
        """Raise the error that no other attempt can mend, if there is one."""
        for cause in causes(worker_exceptions):
            if is_final(cause):
                raise cause


MISTAKES = (ValueError, TypeError, AttributeError, NameError, ImportError, AssertionError, LookupError, ArithmeticError)
"""What other errors of Python mean the same again at the next attempt; a lost connection, a full disk or memory need not."""


def is_final(error: BaseException) -> bool:
    """Say whether another attempt would end with this error again."""
    return not error.may_pass if isinstance(error, FlowError) else isinstance(error, MISTAKES)


def causes(failures: Mapping[int, Exception]) -> list[BaseException]:
    """List the errors that the code of failed workers has raised, without Ray's wrapping."""
    return [failure.cause if isinstance(failure, ray.exceptions.RayTaskError) else failure for failure in failures.values()]


def ended_by(error: BaseException) -> BaseException:
    """Make an error of a worker one for the user: what we raise has its sentence, of all others the type is said as well."""
    return error if isinstance(error, FlowError) else TrainingFailed(f"a worker ended with {describe_error(error)}")


def _lost(what: str) -> TrainingFailed:
    return TrainingFailed(f"{what}. Finished phases are in the store, and the same command goes on from the last checkpoint.")


def answers(address: str) -> bool:
    """Say whether someone listens at host:port."""
    try:
        knock(address)
    except OSError:
        return False
    return True


def forget_checkpoints(name: str, cluster: Cluster) -> None:
    """Remove the checkpoints of a job whose phases are all published."""
    storage_filesystem, path = filesystem(clusters.checkpoints(cluster))
    if storage_filesystem is None:
        shutil.rmtree(Path(path) / name, ignore_errors=True)
    else:
        with contextlib.suppress(FileNotFoundError):
            storage_filesystem.delete_dir(f"{path}/{name}")
