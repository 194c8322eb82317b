"""How a run of MLflow ends: every flow, phase, trial and search is told by this one context what became of it."""

import contextlib
from collections.abc import Iterator, Sequence

from pipeline.errors import FlowError, StoreUnavailable
from pipeline.store.runs import Runs


@contextlib.contextmanager
def ending(store: Runs, run_ids: Sequence[str], *, stopped: str = "KILLED") -> Iterator[None]:
    """Give runs their status when the work on them ends: FINISHED, FAILED after an error, or what `stopped` says.

    A run that has ended meanwhile keeps its status, unless it is finished now: two drivers may share a flow. Where the store is
    away there is nobody to tell, and whoever comes next misses the heartbeat.

    Args:
        stopped: status after Ctrl-C, or whatever else is no error of the work; "" leaves the run as it is.
    """
    status = stopped
    try:
        yield
        status = "FINISHED"
    except StoreUnavailable:
        status = "FAILED" if store.is_there() else ""
        raise
    except Exception:
        status = "FAILED"
        raise
    finally:
        with contextlib.suppress(FlowError):
            for run_id in run_ids if status else []:
                before = store.run(run_id).info.status
                if before == "RUNNING" or (status == "FINISHED" != before):
                    store.set_status(run_id, status)
