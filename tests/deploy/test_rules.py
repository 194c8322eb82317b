"""Promotion rules: what parses, what is compared with what."""

import math

import pytest

from deploy.rules import Rule

CANDIDATE = {"w2": 1.0, "w2_floor": 0.8, "modes_covered": 25.0}
CHAMPION = {"w2": 1.1, "w2_floor": 0.8, "modes_covered": 24.0}


@pytest.mark.parametrize(
    ("text", "bound", "holds"),
    [
        ("w2 <= 1.0 * champion", 1.1, True),
        ("w2<=0.5*champion", 0.55, False),
        ("w2 <= 1.25 * floor", 1.0, True),
        ("w2 < 1.25 * floor", 1.0, False),
        ("w2 > 1e-1", 0.1, True),
        ("w2 <= -0.5", -0.5, False),
        ("modes_covered >= 25", 25.0, True),
        ("modes_covered > 1 * champion", 24.0, True),
    ],
)
def test_a_rule_compares_with_a_number_the_floor_or_the_champion(text: str, bound: float, holds: bool) -> None:
    rule = Rule.parse(text)
    found = rule.bound(CANDIDATE, CHAMPION)
    assert found == pytest.approx(bound)
    assert rule.holds(CANDIDATE[rule.metric], found) is holds


def test_without_a_champion_there_is_no_bound() -> None:
    assert Rule.parse("w2 <= 1 * champion").bound(CANDIDATE, None) is None
    assert Rule.parse("w2 <= 1 * floor").bound(CANDIDATE, None) == 0.8


def test_nan_never_passes() -> None:
    for text in ("w2 <= 1", "w2 >= 1"):
        assert not Rule.parse(text).holds(math.nan, 1.0)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "w2",
        "w2 = 1",
        "w2 <= ",
        "w2 <= x",
        "w2 <= 1 * other",
        "w2 <= 1.0.0",
        "w2 <= 1e999",
        "w2 >= -1e999",
        "w2 <= inf",
        "w2 <= --1",
        "__import__('os')",
    ],
)
def test_what_is_no_rule_is_a_mistake(text: str) -> None:
    with pytest.raises(ValueError, match="--require must be like"):
        Rule.parse(text)


def test_a_metric_that_is_not_measured_is_a_mistake_that_names_those_that_are() -> None:
    with pytest.raises(ValueError, match="modes_covered, w2, w2_floor, not fid"):
        Rule.parse("fid <= 3").bound(CANDIDATE, None)
    with pytest.raises(ValueError, match="one of w2, not modes_covered"):
        Rule.parse("modes_covered <= 1 * floor").bound(CANDIDATE, None)
