"""What is made of the trials: the best, how sure, the front, what was spared."""

import math
from dataclasses import replace

import pytest

from pipeline.recipe import Recipe
from tune import summary
from tune.definition import Search, Trial
from tune.space import axis
from tune.summary import Finalist

AXES = (axis("h", ["0.1", "10"]), axis("divergence", ["kl", "jsd"]))


def search(**changes: object) -> Search:
    return Search(**{"name": "s", "recipe": Recipe(), "axes": AXES, "num_trials": 4, **changes})


def trial(h: float, *values: float, status: str = "FINISHED", error: str = "") -> Trial:
    seconds = tuple(float(k + 1) for k in range(len(values)))
    return Trial(f"run{h}", int(h), {"jko.h": h, "jko.divergence": "kl"}, values, seconds, status, error)


def test_the_best_phase_counts_not_the_last() -> None:
    one = trial(1.0, 3.0, 1.0, 2.0)
    assert (one.best_k(search()), one.best(search())) == (1, 1.0)
    assert (one.best_k(search(mode="max")), one.best(search(mode="max"))) == (0, 3.0)
    assert trial(1.0).best(search()) == math.inf
    recipe = summary.best_recipe(search(), one)
    assert (recipe.jko.num_phases, recipe.jko.h, recipe.jko.divergence) == (2, 1.0, "kl")


def test_ranking_leaves_out_what_has_no_result_and_repetitions() -> None:
    trials = [trial(1.0, 2.0), trial(2.0), trial(3.0, 1.0), trial(3.0, 1.5), trial(4.0, 5.0, error="diverged")]
    assert [each.point["jko.h"] for each in summary.ranked(search(), trials)] == [3.0, 1.0, 4.0]
    assert summary.ranked(search(), trials)[0].best(search()) == 1.0
    assert [each.point["jko.h"] for each in summary.ranked(search(mode="max"), trials)] == [4.0, 1.0, 3.0]


def test_the_finalists_are_ordered_by_their_seeds_and_failures_are_left_out() -> None:
    trials = [trial(1.0, 1.0), trial(2.0, 1.1), trial(3.0, 1.2)]
    todo = summary.confirmations(search(), trials)
    assert [(job["point"]["jko.h"], job["seed"], job["num_phases"]) for job in todo[:4]] == [
        (1.0, 0, 1),
        (1.0, 1, 1),
        (1.0, 2, 1),
        (2.0, 0, 1),
    ]
    gave = [(3.0, 3.0, 3.0), (1.0, None, 2.0), (2.0, 2.0, 2.0)]
    trials = [replace(each, confirmed=values) for each, values in zip(trials, gave, strict=True)]
    found = summary.finalists(search(), trials)
    assert [each.trial.point["jko.h"] for each in found] == [3.0, 1.0, 2.0], "a seed that failed counts against it"
    assert found[-1].values == (1.0, 2.0)
    better = summary.finalists(search(), [trial(4.0, 0.5), *trials])
    assert {each.trial.point["jko.h"]: each.values for each in better} == {4.0: (), 1.0: (3.0, 3.0, 3.0), 2.0: (1.0, 2.0)}


@pytest.mark.parametrize(
    ("rival", "part"),
    [((1.4, 1.6), "within the seeds' range not better than h 2, divergence kl."), ((1.9, 2.0), "better than the others with")],
)
def test_the_verdict_says_how_sure(rival: tuple[float, ...], part: str) -> None:
    found = [Finalist(trial(1.0, 1.0), (1.0, 1.5)), Finalist(trial(2.0, 1.0), rival)]
    sentence = summary.verdict(search(), found)
    assert sentence.startswith("h 1, divergence kl, K 1: w2 1.25 on fresh samples, mean of 2 seeds (1 to 1.5)")
    assert part in sentence
    assert "of one seed" in summary.verdict(search(), [Finalist(trial(1.0, 1.0), ())])


def test_the_front_holds_what_nothing_beats_in_both() -> None:
    front = summary.pareto(search(), [trial(1.0, 5.0, 2.0, 2.5), trial(2.0, 4.0, 3.0, 1.0)])
    assert [(seconds, value, k) for seconds, value, _, k in front] == [(1.0, 4.0, 0), (2.0, 2.0, 1), (3.0, 1.0, 2)]


def test_what_was_spared_is_counted() -> None:
    trials = [trial(1.0, *[1.0] * 6), trial(2.0, 1.0), trial(3.0), trial(4.0, status="KILLED")]
    counts = summary.spared(search(), trials, 6)
    assert counts == {"asked": 18, "reached": 7, "trained": 6, "spared": pytest.approx(2 / 3)}
    assert summary.spared_sentence(counts).startswith(
        "6 of 18 phases trained: 67 % spared, 11 phases by stopping and 1 by sharing"
    )
