"""What can happen to a flow. Each message says what, where and what to do."""

from typing import Any

from components.parts.naming import PartError


class FlowError(Exception):
    """The base of the errors that a command reports in one line, without a traceback.

    Example:
        >>> issubclass(MapNotFound, FlowError), MapNotFound.exit_code
        (True, 2)

    Attributes:
        exit_code: what the command then ends with.
        may_pass: the same attempt, a little later, can end well.
    """

    exit_code = 1
    may_pass = False


class MapNotFound(FlowError):
    """A reference names nothing that is published in the store."""

    exit_code = 2


class StoreNotFound(FlowError):
    """There is no store where a command was to read one."""

    exit_code = 2


class AmbiguousReference(FlowError):
    """A reference names more than one thing."""

    exit_code = 2


class IndivisibleBatch(FlowError):
    """A batch cannot be shared by the workers and microbatches that a cluster is asked for."""

    exit_code = 2


class SearchNotFound(FlowError):
    """The store has no search of a name."""

    exit_code = 2


class SearchExists(FlowError):
    """The store has a search of a name that was to be given to a new one."""

    exit_code = 2


class SearchAtWork(FlowError):
    """Another driver is at work on a search that was to be gone on with."""

    exit_code = 2


class NoResult(FlowError):
    """No trial of a search has a result yet."""

    exit_code = 2


class VersionNotFound(FlowError):
    """The registry has no such version or alias of a model."""

    exit_code = 2


class ForeignVersion(FlowError):
    """A version in the registry was made by another program."""

    exit_code = 2


class Incomparable(FlowError):
    """Two versions were trained on different data, so that their metrics say nothing about each other."""

    exit_code = 2


class FolderTaken(FlowError):
    """A folder that samples are written to holds other samples."""

    exit_code = 2


class SubmissionNotFound(FlowError):
    """A cluster has no submission of a name."""

    exit_code = 2


class SubmissionFailed(FlowError):
    """A flow that was sent to a cluster has failed there."""


class Unusable(FlowError, ValueError):
    """What a command was given cannot be used: files that are not there, or are not what they should be."""

    exit_code = 2


class PartFailed(FlowError, PartError):
    """A part of one's own failed in the middle of a flow; the error that it raised is the cause of this one."""

    exit_code = 2


class Corrupt(FlowError):
    """A published artifact, a checkpoint or a prepared data set does not match its manifest."""

    def __init__(self, file: str, reason: str) -> None:
        super().__init__(f"{file} is corrupt: {reason}")
        self.file, self.reason = file, reason

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return type(self), (self.file, self.reason)


class Diverged(FlowError):
    """A loss became infinite or NaN."""

    def __init__(self, k: int, step: int, loss: str, last_finite: dict[str, float], parts: str = "") -> None:
        last = ", ".join(f"{name} {value:.6g}" for name, value in last_finite.items()) or "none since this job began"
        super().__init__(
            f"phase {k} diverged at step {step}: {loss} is not finite (last finite values: {last}). Lower training.map_lr and "
            f"training.potential_lr, raise training.r1 and training.r2, or try another jko.divergence.{parts}"
        )
        self.k, self.arguments = k, (k, step, loss, last_finite, parts)

    def __reduce__(self) -> tuple[type, tuple[Any, ...]]:
        return type(self), self.arguments


class StoreUnavailable(FlowError):
    """MLflow does not answer, or what it keeps cannot be used as it is."""

    may_pass = True


class Unreachable(FlowError):
    """The storage of prepared images does not answer."""

    may_pass = True


class Unschedulable(FlowError):
    """The cluster cannot give what a job asks for."""


class TrainingFailed(FlowError):
    """A Ray Train job failed more often than allowed."""
