"""What a search has found: its best recipe, how sure that is, what was spared."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pipeline.recipe import Recipe
from pipeline.recipes.reading import as_yaml as yaml_of
from tune import space
from tune.definition import Search, Trial, text_of

NUM_SEEDS = 3
UNFINISHED = ("KILLED", "INTERRUPTED")
"""Statuses of trials that were tried again, or will be."""


@dataclass(frozen=True)
class Finalist:
    """One of the best trials, with what it gave when it was trained again with more seeds, on fresh samples.

    Attributes:
        values: metric by seed; empty where the search does not confirm.
        num_failed: number of seeds that gave no metric.
    """

    trial: Trial
    values: tuple[float, ...]
    num_failed: int = 0

    def score(self, search: Search) -> float:
        """Average the metric over the seeds; without confirmation it is the trial's own figure."""
        return float(np.mean(self.values)) if self.values else self.trial.best(search)


def ranked(search: Search, trials: Sequence[Trial]) -> list[Trial]:
    """Order the trials that have a result, best first, each point once."""
    sign = 1 if search.mode == "min" else -1
    judged = sorted((trial for trial in trials if trial.values), key=lambda trial: sign * trial.best(search))
    once = {json.dumps(trial.point, sort_keys=True): trial for trial in reversed(judged)}
    return [trial for trial in judged if once[json.dumps(trial.point, sort_keys=True)] is trial]


def confirmations(search: Search, trials: Sequence[Trial]) -> list[dict[str, Any]]:
    """List what is to be trained again: the best trials up to their best phase, with the search's seed and two more."""
    return [
        {"point": dict(trial.point), "seed": (search.recipe.seed + shift) % 2**63, "num_phases": trial.best_k(search) + 1}
        for trial in ranked(search, trials)[: search.num_confirmed]
        for shift in range(NUM_SEEDS)
    ]


def finalists(search: Search, trials: Sequence[Trial]) -> list[Finalist]:
    """Order the best trials by what their confirmation gave, where they have been confirmed; the best comes first."""
    best = [
        Finalist(trial, tuple(value for value in trial.confirmed if value is not None), trial.confirmed.count(None))
        for trial in ranked(search, trials)[: max(1, search.num_confirmed)]
    ]
    sign = 1 if search.mode == "min" else -1
    return sorted(best, key=lambda each: (each.num_failed, sign * each.score(search)))


def pareto(search: Search, trials: Sequence[Trial]) -> list[tuple[float, float, Trial, int]]:
    """Compute the Pareto front: (seconds, metric, trial, k) of each phase that no other beats in both, cheapest first."""
    points = [
        (seconds, value, trial, k)
        for trial in trials
        for k, (seconds, value) in enumerate(zip(trial.seconds, trial.values, strict=True))
    ]
    front: list[tuple[float, float, Trial, int]] = []
    for point in sorted(points, key=lambda each: (each[0], each[1] if search.mode == "min" else -each[1])):
        if not front or search.better(point[1], front[-1][1]):
            front.append(point)
    return front


def best_recipe(search: Search, trial: Trial) -> Recipe:
    """Build the recipe of a trial, with the trial's best phase as its last."""
    recipe = space.applied(search.recipe, search.axes, trial.point)
    return replace(recipe, jko=replace(recipe.jko, num_phases=trial.best_k(search) + 1))


def as_yaml(search: Search, first: Finalist) -> str:
    """Write the best trial's recipe as YAML for `python -m pipeline run`, under a comment that says where it comes from."""
    heading = f"# best of search {search.name}: {verdict(search, [first])}\n"
    return heading + yaml_of(best_recipe(search, first.trial))


def verdict(search: Search, finalists: Sequence[Finalist]) -> str:
    """Say in one sentence which point and which K are best, and how sure that is."""
    first = finalists[0]
    sentence = f"{text_of(first.trial.point)}, K {first.trial.best_k(search) + 1}: {search.metric} {first.score(search):.4g}"
    if not first.values:
        return f"{sentence}, of one seed, on the samples it was chosen by."
    sentence += f" on fresh samples, mean of {len(first.values)} seeds ({min(first.values):.4g} to {max(first.values):.4g})"
    if first.num_failed:
        sentence += f", {first.num_failed} more failed"
    rivals = [other for other in finalists[1:] if other.values and overlaps(first.values, other.values)]
    if rivals:
        points = "; ".join(text_of(rival.trial.point) for rival in rivals)
        return f"{sentence}; within the seeds' range not better than {points}."
    return f"{sentence}{'; better than the others with every seed' if len(finalists) > 1 else ''}."


def overlaps(a: Sequence[float], b: Sequence[float]) -> bool:
    """Say whether the ranges of two samples meet.

    >>> overlaps([0.1, 0.3], [0.2, 0.5]), overlaps([0.1, 0.2], [0.3])
    (True, False)
    """
    return min(a) <= max(b) and min(b) <= max(a)


def spared(search: Search, trials: Sequence[Trial], trained: int) -> dict[str, float]:
    """Count the phases that trials would have had, reached and trained, and the share spared; killed ones were repeated."""
    counted = [trial for trial in trials if trial.status not in UNFINISHED]
    asked, reached = len(counted) * search.recipe.jko.num_phases, sum(len(trial.values) for trial in counted)
    return {"asked": asked, "reached": reached, "trained": trained, "spared": 1 - trained / max(1, asked)}


def spared_sentence(counts: Mapping[str, float]) -> str:
    """Say in one sentence how many phases a search trained, and how many stopping and sharing spared, from `spared`'s counts."""
    stopped, shared = counts["asked"] - counts["reached"], counts["reached"] - counts["trained"]
    return (
        f"{counts['trained']:.0f} of {counts['asked']:.0f} phases trained: {100 * counts['spared']:.0f} % spared, "
        f"{stopped:.0f} phases by stopping and {shared:.0f} by sharing"
    )


def rows(search: Search, trials: Sequence[Trial]) -> list[list[object]]:
    """Lay out the trials of a search as rows of a table: number, point, phases, best metric, K, seconds, state."""
    table: list[list[object]] = []
    for trial in trials:
        k: object = trial.best_k(search) + 1 if trial.values else ""
        best = trial.best(search)
        seconds = trial.seconds[-1] if trial.seconds else 0.0
        shown = "" if math.isinf(best) else best
        table.append([trial.number, text_of(trial.point), len(trial.values), shown, k, seconds, trial.state(search)])
    return table
