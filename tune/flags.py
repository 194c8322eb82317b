"""The commands of `python -m tune` and their flags: plain values, nothing heavy is imported."""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from pipeline import places
from pipeline.cluster import Mlflow
from pipeline.command.flags import Command, FlowFlags
from pipeline.evaluation.size import EvaluationSize
from pipeline.places import Database
from tune.space import Axis

Name = Annotated[tyro.conf.Positional[str], tyro.conf.arg(help="name of the search")]
OPTUNA = tyro.conf.arg(name="store.optuna", prefix_name=False)


@dataclass(frozen=True)
class SearchStores(Mlflow):
    """The places where a search is kept: results in MLflow, proposals in Optuna's database."""

    optuna: Annotated[Database | None, OPTUNA] = None
    """Optuna's database, sqlite:///FILE or postgresql://...; None: $SJKO_OPTUNA_STORAGE, or else a sqlite database under
    $SJKO_HOME"""


@dataclass(frozen=True)
class Run(FlowFlags):
    """Search for the best recipe: --space.FIELD LOW HIGH [log] or --space.FIELD CHOICE CHOICE ... for each field to search.

    Without --space: h from 0.1 to 10 (log) and divergence in kl, jsd, softplus. Every phase of a trial is judged, so the best K
    up to jko.num_phases is found as well. With --space.kind, kinds of network that are not the recipe's have their own defaults.
    """

    name: str | None = None
    """name of the search; None: that of the recipe"""
    num_trials: int = 24
    """points of the space to try; the recipe's own values are the first where the space has them"""
    metric: str = "w2"
    """what `pipeline evaluate` measures: w2, sliced_w2, on_support, ..."""
    mode: Literal["min", "max"] | None = None
    """whether small or large values of the metric are good; None: what is known of it"""
    against_cost: bool = False
    """two objectives, the metric and the seconds of training: no trial is stopped early, the Pareto front is shown"""
    sampler: Literal["tpe", "random"] = "tpe"
    """who proposes points"""
    search_seed: int = 0
    """seed of the proposals"""
    num_confirmed: int = 3
    """trials that are trained again with two more seeds in the end; 0 for none"""
    max_concurrent: int | None = None
    """trials side by side; None: as many as the cluster has room for"""
    evaluation: EvaluationSize = field(default_factory=EvaluationSize)
    optuna: Annotated[Database | None, OPTUNA] = None
    """Optuna's database, sqlite:///FILE or postgresql://...; None: $SJKO_OPTUNA_STORAGE, or else a sqlite database under
    $SJKO_HOME"""
    axes: tyro.conf.Suppress[tuple[Axis, ...]] = ()
    """what is searched, from the flags --space.FIELD; no flag of its own"""

    @property
    def search_name(self) -> str:
        """Give the name of the search: that of `--name`, or else the recipe's or the table's, without what no name may have."""
        return self.name or re.sub(r"[^A-Za-z0-9_.-]+", "-", self.stem).strip("-._")[:100] or "search"


@dataclass(frozen=True)
class Resume(Command):
    """Go on with a search that was interrupted; no finished phase is trained again."""

    name: Name
    store: SearchStores = field(default_factory=SearchStores)


@dataclass(frozen=True)
class Show(Command):
    """Show the trials of a search."""

    name: Name
    store: Mlflow = field(default_factory=Mlflow)


@dataclass(frozen=True)
class Best(Command):
    """Write the best recipe of a search as YAML, for `python -m pipeline run`."""

    name: Name
    to: Path
    """the file"""
    store: Mlflow = field(default_factory=Mlflow)


def optuna_url(url: str | None) -> str:
    """Find the address of Optuna's database: that of a flag, else $SJKO_OPTUNA_STORAGE, else a file under $SJKO_HOME.

    >>> optuna_url("sqlite:///optuna.db")
    'sqlite:///optuna.db'
    """
    if url is None and (variable := os.environ.get("SJKO_OPTUNA_STORAGE")) is not None:
        return places.database("$SJKO_OPTUNA_STORAGE", variable)
    return url or places.sqlite_url(places.home() / "optuna.db")
