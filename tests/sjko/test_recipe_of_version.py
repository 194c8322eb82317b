"""The recipe of a version: found from its phases alone, and again the one whose flow has them."""

from typing import Any

import pytest
from flows import tiny

from pipeline.phase import phases_of
from sjko.versions import recipe_of


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"num_phases": 1},
        {"h": 0.3, "growth": 2.9},
        {"num_phases": 6, "h": 0.5, "growth": 2.9, "max_h": 100.0},
        {"num_phases": 4, "first_h": 7.0, "h": 0.3, "growth": 3.3, "max_h": 2.5},
        {"num_phases": 3, "first_h": 1.0, "first_num_steps": 5},
        {"num_phases": 3, "h": float("inf"), "first_h": 1.0},
        {"num_phases": 3, "divergence": "linear", "point_phases": 2, "num_points": 50, "regression": "l2"},
        {"num_phases": 2, "divergence": "kl", "point_phases": 2, "growth": 2.0, "lr_schedule": "cosine"},
    ],
)
def test_phases_say_the_recipe_that_they_are_of(changes: dict[str, Any]) -> None:
    phases = phases_of(tiny(**{"num_phases": 3} | changes))
    assert phases_of(recipe_of(phases)) == phases
