"""What a search is, and what a trial of it is: plain values."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from components.parts.naming import PartName, is_own
from pipeline import cluster as clusters
from pipeline.cluster import Cluster
from pipeline.data import rows
from pipeline.data.resolution import resolve
from pipeline.data.tables.naming import is_location
from pipeline.evaluation.size import EvaluationSize
from pipeline.parts.pinning import own_parts, pin, pin_field
from pipeline.recipe import PARTS, Recipe
from pipeline.recipes.values import Value
from tune import space
from tune.space import Axis

RENAMED = {"storage": "checkpoints"}
"""Fields of a cluster as searches of earlier versions have them in MLflow, and what they are called now."""


@dataclass(frozen=True)
class Search:
    """A search: the recipe that it varies, the space, the metric, and how trials are proposed; the same for all trials.

    >>> search = Search("h", Recipe(), (space.axis("h", ["0.1", "10", "log"]),), num_trials=24)
    >>> search.better(0.1, 0.2)
    True

    Attributes:
        recipe: that the axes vary; its num_phases is the largest K.
        axes: of the space that is searched.
        metric: that judges every phase; `mode` says whether `min` or `max` is good.
        against_cost: two objectives, `metric` and the seconds of training.
        num_confirmed: trials that are trained again with more seeds in the end.
        evaluation: on how many samples every phase of every trial is judged.
    """

    name: str
    recipe: Recipe
    axes: tuple[Axis, ...]
    num_trials: int
    metric: str = "w2"
    mode: str = "min"
    against_cost: bool = False
    sampler: str = "tpe"
    seed: int = 0
    num_confirmed: int = 3
    max_concurrent: int | None = None
    cluster: Cluster = field(default_factory=Cluster)
    evaluation: EvaluationSize = field(default_factory=EvaluationSize)

    def better(self, a: float, b: float) -> bool:
        """Say whether a is a better value of the metric than b."""
        return a < b if self.mode == "min" else a > b

    def parts(self) -> list[tuple[str, str]]:
        """List the own parts of the recipe, the axes and the evaluation, each with the field that it stands in."""
        choices = [(axis.name, str(value)) for axis in self.axes if axis.name in PARTS for value in axis.choices]
        metrics = [("evaluation.metrics", name) for name in self.evaluation.metrics if is_own(name)]
        return [*own_parts(self.recipe).items(), *(each for each in choices if is_own(each[1])), *metrics]

    def pinned(self) -> "Search":
        """Give the search in which every own part means the code that is found now, and a table its rows of now.

        So all trials have the same, wherever they run, also after a resume.

        Raises:
            UnfitPart: there is no such part, or its code is another than the one that its name means.
            ValueError: two choices of an axis are the same part.
        """
        axes = []
        for axis in self.axes:
            choices = tuple(pin_field(axis.name, str(value)) for value in axis.choices) if axis.name in PARTS else axis.choices
            if len(set(choices)) < len(choices):
                names = ", ".join(map(str, axis.choices))
                raise ValueError(f"--space.{axis.name.partition('.')[2]} must name each value once, not {names}")
            axes.append(replace(axis, choices=choices))
        metrics = tuple(PartName(pin_field("evaluation.metrics", name)) for name in self.evaluation.metrics)
        recipe = pin(self.recipe)
        if is_location(recipe.data.target) or is_location(recipe.data.source):
            recipe = resolve(recipe, self.cluster)
            rows.keep((recipe.data.source, recipe.data.target), clusters.data(self.cluster))
        return replace(self, recipe=recipe, axes=tuple(axes), evaluation=replace(self.evaluation, metrics=metrics))

    def to_json(self) -> str:
        """Write the search as JSON, without the address of MLflow, which may hold a password."""
        return json.dumps(asdict(replace(self, cluster=replace(self.cluster, tracking_uri=None))))

    @classmethod
    def from_json(cls, document: str, tracking_uri: str | None) -> "Search":
        """Read a search from what `to_json` wrote, and give it the address of the MLflow that it was read from."""
        values = json.loads(document)
        values["recipe"] = space.rebuilt(values["recipe"])
        values["axes"] = tuple(Axis(**{**axis, "choices": tuple(axis["choices"])}) for axis in values["axes"])
        evaluation = values.get("evaluation", {})
        values["evaluation"] = EvaluationSize(**{**evaluation, "metrics": tuple(evaluation.get("metrics", ()))})
        cluster = {RENAMED.get(name, name): value for name, value in values["cluster"].items()}
        values["cluster"] = Cluster(**{**cluster, "tracking_uri": tracking_uri})
        return cls(**values)


@dataclass(frozen=True)
class Trial:
    """One trial of a search: a point of the space, and how far its flow came.

    Example:
        >>> trial = Trial("2f1e", 1, {"jko.h": 0.5}, (0.8, 0.6), (4.0, 8.0), "FINISHED", error="")
        >>> min(trial.values)
        0.6

    Attributes:
        number: from 1, in the order in which they were proposed; the same wherever the trial is named.
        point: what it has of the space, as its recipe has it.
        values: metric after each phase, in order.
        seconds: of training, after each phase, cached ones included: what the recipe costs.
        status: of its MLflow run; INTERRUPTED where that says RUNNING and nobody works on the search.
        error: why it failed; empty where it did not.
        diverged: in which phase; None where it did not.
        confirmed: metric by seed when its best phase was trained again, None where a seed gave none; empty where it was not.
    """

    run_id: str
    number: int
    point: Mapping[str, Value]
    values: tuple[float, ...]
    seconds: tuple[float, ...]
    status: str
    error: str
    diverged: int | None = None
    confirmed: tuple[float | None, ...] = ()

    def state(self, search: Search) -> str:
        """Say in a word or two what became of the trial: done, stopped, runs, interrupted, failed, diverged."""
        if self.diverged is not None:
            return f"diverged in phase {self.diverged}"
        done = "done" if len(self.values) == search.recipe.jko.num_phases else "stopped"
        return {"FINISHED": done, "RUNNING": "runs", "KILLED": "interrupted"}.get(self.status, self.status.lower())

    def best_k(self, search: Search) -> int:
        """Find the phase, counted from 0, after which the trial's metric is best."""
        pick = min if search.mode == "min" else max
        return pick(range(len(self.values)), key=lambda k: self.values[k])

    def best(self, search: Search) -> float:
        """Return the metric after the trial's best phase; infinitely bad where no phase was judged."""
        if not self.values:
            return math.inf if search.mode == "min" else -math.inf
        return self.values[self.best_k(search)]


def text_of(point: Mapping[str, Any]) -> str:
    """Write a point of the space in short: fields without their group, numbers with two digits.

    >>> text_of({"jko.h": 0.4321, "jko.divergence": "kl"})
    'h 0.43, divergence kl'
    """
    return ", ".join(
        f"{name.partition('.')[2]} {value:.2g}" if isinstance(value, float) else f"{name.partition('.')[2]} {value}"
        for name, value in point.items()
    )
