"""Optuna's study of a search, in which the sampler keeps what it has proposed: opened, gone on with, deleted."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.study import StudyDirection
from optuna.trial import TrialState

from pipeline import places
from pipeline.errors import StoreUnavailable, Unusable
from pipeline.provenance import redacted
from pipeline.recipes.values import Value
from tune.definition import Search
from tune.space import Axis

AGAIN = "again"
"""Name of the user attribute of a trial in Optuna: number of the trial whose point it tries again."""


@contextlib.contextmanager
def study_of(search: Search, storage: str, *, create: bool, again: bool = False) -> Iterator[optuna.Study]:
    """Open the Optuna study of a search for the time of the context.

    Args:
        storage: address of Optuna's database.
        create: whether the study is made.
        again: whether it may then exist already.

    Raises:
        StoreUnavailable: the database does not answer, or the study is not there.
        Unusable: the file of the database cannot be written to.
    """
    file = places.sqlite_file(storage)
    if not create and file is not None and not file.is_file():  # Optuna would make it
        raise StoreUnavailable(f"the study {search.name} is not at {redacted(storage)}: give its --store.optuna")
    if file is not None:
        require_writable(file)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    first = StudyDirection.MINIMIZE if search.mode == "min" else StudyDirection.MAXIMIZE
    directions = [first, StudyDirection.MINIMIZE] if search.against_cost else [first]
    try:
        backend = optuna.storages.RDBStorage(storage.replace("{", "{{").replace("}", "}}"))  # Optuna takes it for a template
        if create:
            study = optuna.create_study(storage=backend, study_name=search.name, directions=directions, load_if_exists=again)
        else:
            study = optuna.load_study(storage=backend, study_name=search.name)
    except KeyError:
        raise StoreUnavailable(f"the study {search.name} is not at {redacted(storage)}: give its --store.optuna") from None
    except optuna.exceptions.DuplicatedStudyError:
        raise StoreUnavailable(
            f"there is a study {search.name} at {redacted(storage)} already and no such search in this MLflow: choose another "
            f"--name, or see what python -m tune show {search.name} says"
        ) from None
    except Exception as error:  # SQLAlchemy's own, and Optuna's about them
        reason = str(error).strip().splitlines()[0]
        raise StoreUnavailable(f"Optuna's database at {redacted(storage)} cannot be opened: {reason}") from error
    try:
        yield study
    finally:
        backend.remove_session()
        backend.engine.dispose()


def require_writable(database: Path) -> None:
    """Refuse a file of a database that cannot be written to, or that cannot be made.

    Raises:
        Unusable: says why.
    """
    try:
        with database.open("ab"):
            pass
    except OSError as error:
        raise Unusable(f"Optuna's database {database} cannot be written to: {error.strerror}") from error


def forget(study: optuna.Study) -> None:
    """Delete the Optuna study of a search that gave no result."""
    optuna.delete_study(study_name=study.study_name, storage=study._storage)


def distribution(axis: Axis) -> BaseDistribution:
    """Describe an axis as Optuna's distribution of its values.

    >>> distribution(Axis("jko.h", low=0.1, high=10.0, log=True))
    FloatDistribution(high=10.0, log=True, low=0.1, step=None)
    """
    if axis.choices:
        return CategoricalDistribution(axis.choices)
    if axis.integer:
        return IntDistribution(int(axis.low), int(axis.high), log=axis.log)
    return FloatDistribution(axis.low, axis.high, log=axis.log)


def last_number(study: optuna.Study, num_trials: int) -> int:
    """Compute the number of the last of `num_trials` more trials; points that wait in the study come first, numbered."""
    return len(study.trials) - len(study.get_trials(states=(TrialState.WAITING,))) + num_trials


def own_point(search: Search) -> dict[str, Value] | None:
    """Return the recipe's own values as a point of the space; None where the space does not contain them."""
    values = {}
    for axis in search.axes:
        group, _, field = axis.name.partition(".")
        values[axis.name] = getattr(getattr(search.recipe, group), field)
    return values if all(axis.contains(values[axis.name]) for axis in search.axes) else None


def propose_again(study: optuna.Study) -> int:
    """Propose points again that were under way when a driver died, or failed; return how many trials are done."""
    proposed = {trial.user_attrs.get(AGAIN) for trial in study.trials}
    for old in study.get_trials(states=(TrialState.RUNNING, TrialState.FAIL)):
        if old.number not in proposed:
            study.enqueue_trial(old.params, user_attrs={AGAIN: old.number})
        if old.state == TrialState.RUNNING:
            study.tell(old.number, state=TrialState.FAIL)
    return len(study.get_trials(states=(TrialState.COMPLETE,)))


def sampler(search: Search, salt: int) -> optuna.samplers.BaseSampler:
    """Make Optuna's sampler, which proposes points; a `salt` keeps a resumed search from repeating its first proposals."""
    seed = (search.seed + 1000 * salt) % 2**32  # numpy's bound
    if search.sampler == "random":
        return optuna.samplers.RandomSampler(seed)
    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=max(4, search.num_trials // 4), constant_liar=True)
