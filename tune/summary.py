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
"""Trials that were tried again, or will be."""


@dataclass(frozen=True)
class Finalist:
    """One of the best trials, trained again with more seeds and measured on fresh samples.

    Attributes:
        values: metric by seed; empty where the search does not confirm.
        num_failed: seeds that gave none.
    """

    trial: Trial
    values: tuple[float, ...]
    num_failed: int = 0

    def score(self, search: Search) -> float:
        """Mean over the seeds, or the trial's own figure."""
        return float(np.mean(self.values)) if self.values else self.trial.best(search)


def ranked(search: Search, trials: Sequence[Trial]) -> list[Trial]:
    """Trials with a result, best first, each point once."""
    sign = 1 if search.mode == "min" else -1
    found = sorted((trial for trial in trials if trial.values), key=lambda trial: sign * trial.best(search))
    once = {json.dumps(trial.point, sort_keys=True): trial for trial in reversed(found)}
    return [trial for trial in found if once[json.dumps(trial.point, sort_keys=True)] is trial]


def confirmations(search: Search, trials: Sequence[Trial]) -> list[dict[str, Any]]:
    """What is to be trained again: the best trials up to their best phase, with the search's seed and two more."""
    return [
        {"point": dict(trial.point), "seed": (search.recipe.seed + shift) % 2**63, "num_phases": trial.best_k(search) + 1}
        for trial in ranked(search, trials)[: search.num_confirmed]
        for shift in range(NUM_SEEDS)
    ]


def finalists(search: Search, trials: Sequence[Trial]) -> list[Finalist]:
    """The best trials, the best of them first, each with what its own confirmation gave, where it has been confirmed."""
    found = [
        Finalist(trial, tuple(value for value in trial.confirmed if value is not None), trial.confirmed.count(None))
        for trial in ranked(search, trials)[: max(1, search.num_confirmed)]
    ]
    sign = 1 if search.mode == "min" else -1
    return sorted(found, key=lambda each: (each.num_failed, sign * each.score(search)))


def pareto(search: Search, trials: Sequence[Trial]) -> list[tuple[float, float, Trial, int]]:
    """(seconds, metric, trial, k) of every phase of every trial that nothing beats in both, cheapest first."""
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
    """The recipe of a trial, ending with its best phase."""
    recipe = space.applied(search.recipe, search.axes, trial.point)
    return replace(recipe, jko=replace(recipe.jko, num_phases=trial.best_k(search) + 1))


def as_yaml(search: Search, first: Finalist) -> str:
    """The recipe of the best trial for `python -m pipeline run`, with where it comes from."""
    heading = f"# best of search {search.name}: {verdict(search, [first])}\n"
    return heading + yaml_of(best_recipe(search, first.trial))


def verdict(search: Search, found: Sequence[Finalist]) -> str:
    """Which point, which K, how sure, in one sentence."""
    first = found[0]
    sentence = f"{text_of(first.trial.point)}, K {first.trial.best_k(search) + 1}: {search.metric} {first.score(search):.4g}"
    if not first.values:
        return f"{sentence}, of one seed, on the samples it was chosen by."
    sentence += f" on fresh samples, mean of {len(first.values)} seeds ({min(first.values):.4g} to {max(first.values):.4g})"
    if first.num_failed:
        sentence += f", {first.num_failed} more failed"
    rivals = [other for other in found[1:] if other.values and overlaps(first.values, other.values)]
    if rivals:
        points = "; ".join(text_of(rival.trial.point) for rival in rivals)
        return f"{sentence}; within the seeds' range not better than {points}."
    return f"{sentence}{'; better than the others with every seed' if len(found) > 1 else ''}."


def overlaps(a: Sequence[float], b: Sequence[float]) -> bool:
    """Whether the ranges of two samples meet."""
    return min(a) <= max(b) and min(b) <= max(a)


def spared(search: Search, trials: Sequence[Trial], trained: int) -> dict[str, float]:
    """Phases that the trials would have had, that they reached, and that were trained; killed trials were tried again."""
    counted = [trial for trial in trials if trial.status not in UNFINISHED]
    asked, reached = len(counted) * search.recipe.jko.num_phases, sum(len(trial.values) for trial in counted)
    return {"asked": asked, "reached": reached, "trained": trained, "spared": 1 - trained / max(1, asked)}


def spared_sentence(counts: Mapping[str, float]) -> str:
    """The same as a sentence."""
    stopped, shared = counts["asked"] - counts["reached"], counts["reached"] - counts["trained"]
    return (
        f"{counts['trained']:.0f} of {counts['asked']:.0f} phases trained: {100 * counts['spared']:.0f} % spared, "
        f"{stopped:.0f} phases by stopping and {shared:.0f} by sharing"
    )


def rows(search: Search, trials: Sequence[Trial]) -> list[list[object]]:
    """One line per trial, for a table."""
    table: list[list[object]] = []
    for trial in trials:
        k: object = trial.best_k(search) + 1 if trial.values else ""
        best = trial.best(search)
        seconds = trial.seconds[-1] if trial.seconds else 0.0
        shown = "" if math.isinf(best) else best
        table.append([trial.number, text_of(trial.point), len(trial.values), shown, k, seconds, trial.state(search)])
    return table
