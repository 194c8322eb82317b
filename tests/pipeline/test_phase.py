"""Identity: a fingerprint holds exactly what a phase's result depends on."""

from dataclasses import fields, replace

import pytest
from flows import tiny

from pipeline.phase import OF_NETWORKS, OF_POINTS, RESOLVED, Phase, phases_of
from pipeline.recipe import Network, Recipe

GROUPS = ("data", "network", "jko", "training")
OTHER = {
    "source": "moons",
    "target": "spiral",
    "standardise": False,
    "kind": "residual",
    "divergence": "kl",
    "source_divergence": "kl",
    "cost": "mean_squared",
    "parametrization": "composed",
    "z": "shared",
    "first_h": 0.5,
    "first_num_steps": 5,
    "max_h": 3.5,
    "lr_schedule": "cosine",
    "regression": "l2",
}
WITHOUT_INFLUENCE_HERE = {"dim", "num_phases", *RESOLVED}


def fingerprints(recipe: Recipe) -> list[str]:
    return [phase.fingerprint for phase in phases_of(recipe)]


def changed(recipe: Recipe, group: str, name: str) -> Recipe:
    value = getattr(getattr(recipe, group), name)
    return replace(recipe, **{group: replace(getattr(recipe, group), **{name: OTHER.get(name, value * 2 if value else 1)})})


@pytest.mark.parametrize(("group", "name"), [(group, f.name) for group in GROUPS for f in fields(type(getattr(Recipe(), group)))])
def test_every_field_with_influence_changes_the_last_phase(group: str, name: str) -> None:
    recipe = tiny(num_phases=2, z_dim=2, growth=2.0, **{"point_phases": 2} if name in OF_POINTS else {})
    other = changed(recipe, group, name)
    if name in WITHOUT_INFLUENCE_HERE:
        assert fingerprints(other)[:2] == fingerprints(recipe)
    else:
        assert fingerprints(other)[1] != fingerprints(recipe)[1]


def test_the_seed_changes_every_phase() -> None:
    assert not set(fingerprints(tiny(seed=0))) & set(fingerprints(tiny(seed=1)))


def test_extending_num_phases_reuses_the_prefix() -> None:
    assert fingerprints(tiny(num_phases=5))[:3] == fingerprints(tiny(num_phases=3))


def test_a_parent_is_part_of_its_childs_fingerprint() -> None:
    recipe = tiny()
    assert Phase.of(recipe, k=1, parent="a").fingerprint != Phase.of(recipe, k=1, parent="b").fingerprint


def test_h_of_later_phases_does_not_change_a_first_phase_with_its_own() -> None:
    one, two = tiny(first_h=1.0, h=0.1), tiny(first_h=1.0, h=0.2)
    assert fingerprints(one)[0] == fingerprints(two)[0]
    assert fingerprints(one)[1] != fingerprints(two)[1]


def test_first_h_equal_to_h_is_no_other_flow() -> None:
    assert fingerprints(tiny(first_h=0.3, h=0.3)) == fingerprints(tiny(h=0.3))


def test_what_has_no_influence_does_not_enter() -> None:
    h_infinite = float("inf")
    assert fingerprints(tiny(h=h_infinite, cost="squared")) == fingerprints(tiny(h=h_infinite, cost="mean_squared"))
    assert fingerprints(tiny(r1=0.0, r2=0.0, penalty_every=2)) == fingerprints(tiny(r1=0.0, r2=0.0, penalty_every=3))
    assert fingerprints(tiny(h=3)) == fingerprints(tiny(h=3.0))
    assert fingerprints(tiny(z="shared")) == fingerprints(tiny(z="independent")), "there is no z"
    assert fingerprints(tiny(parametrization="composed"))[0] == fingerprints(tiny(parametrization="direct"))[0]


def test_constant_rates_do_not_remember_how_long_the_first_phase_was_beyond_its_result() -> None:
    recipe = tiny(lr_decay_steps=float("inf"))
    phase = phases_of(recipe)[1]
    assert phase.values()["training"]["steps_before"] is None
    assert phase.steps_before == 0


def test_a_phase_survives_its_json() -> None:
    for phase in phases_of(tiny(h=float("inf"), lr_decay_steps=float("inf"))):
        back = Phase.from_json(phase.to_json())
        assert (back, back.fingerprint) == (phase, phase.fingerprint)


def test_the_fingerprint_of_the_default_recipe_is_what_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the version it is of, it changes only on purpose, together with a recipe field: stores out there depend on it."""
    monkeypatch.setattr("pipeline.phase.METHOD_VERSION", 2)
    assert fingerprints(Recipe())[0] == "4440e54bb50d80f61237"


def test_the_fingerprint_of_a_second_order_recipe_is_what_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.phase.METHOD_VERSION", 2)
    recipe = replace(tiny(divergence="kl", fit="logistic"), network=Network(second_order=True, num_frequencies=0))
    assert fingerprints(recipe)[0] == "fdea73e0790c647b5cb0"


def test_step_sizes_grow_up_to_the_most_and_each_is_that_of_a_constant_flow() -> None:
    phases = phases_of(tiny(num_phases=5, h=0.5, growth=4.0, max_h=10.0))
    assert [phase.jko.h for phase in phases] == [0.5, 2.0, 8.0, 10.0, 10.0]
    assert fingerprints(tiny(num_phases=3, h=0.5, growth=4.0))[:2] == fingerprints(
        tiny(num_phases=2, h=0.5, growth=4.0, max_h=2.0)
    )
    assert phases[0] == phases_of(tiny(h=0.5))[0], "phase 0 is that of every growth"


def test_phases_of_points_say_nothing_of_networks_and_the_reverse() -> None:
    points = tiny(num_phases=2, divergence="linear", point_phases=1)
    same_points = [changed(points, "jko" if name == "fit" else "training", name) for name in OF_NETWORKS if name != "fit"]
    assert {fingerprints(each)[0] for each in (points, *same_points)} == {fingerprints(points)[0]}
    assert len({fingerprints(each)[1] for each in (points, *same_points)}) == len(same_points) + 1
    networks = tiny(num_phases=2, divergence="linear")
    assert fingerprints(changed(networks, "jko", "num_points")) == fingerprints(networks)
