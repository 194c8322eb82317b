"""Conditions: what a person may write, the law they are drawn from, and flows that are conditional."""

import copy

import numpy as np
import pytest
import torch
from scipy import stats

from components import measures
from components.conditions import Condition, Law
from components.gradients import Batch, outputs_at, push_through, transport
from components.jko import train_phase
from components.networks.pair import NetworkSpec
from components.networks.pairs import Large, Large256, Light, LightFiltered, Perceptron, Residual, Small
from components.state import build_map, build_potential, new_state
from components.streams import normal, stream
from components.table import NETWORK_PAIRS, network_pair
from tests.builders import constant, objective, problem

LABEL = Condition("label", ("shirt", "shoe", "bag"))
ANGLE = Condition("angle", num_values=2)
CENTRES = np.array([[3.0, 0.0], [-3.0, 1.0], [0.0, -4.0]], dtype=np.float32)
SPREADS = np.array([0.5, 1.0, 1.5], dtype=np.float32)
SPECS = {
    "perceptron": NetworkSpec((2,), width=32, depth=2, pair=Perceptron(), num_frequencies=4),
    "residual": NetworkSpec((2,), width=16, depth=1, z_dim=2, pair=Residual()),
    "light": NetworkSpec((1, 8, 8), width=8, depth=1, z_dim=2, pair=Light()),
    "light_filtered": NetworkSpec((1, 8, 8), width=8, depth=1, z_dim=2, pair=LightFiltered()),
    "small": NetworkSpec((1, 8, 8), width=8, depth=1, pair=Small()),
    "large": NetworkSpec((1, 16, 16), width=8, depth=1, z_dim=3, pair=Large()),
    "large_256": NetworkSpec((1, 64, 64), width=4, depth=1, z_dim=3, pair=Large256()),
}


def conditional(spec, condition):
    return NetworkSpec(**{**vars(spec), "condition": condition})


@pytest.mark.parametrize("asked", [1, "1", "shoe", np.int64(1)])
def test_a_class_is_read_by_name_and_by_number(asked):
    assert LABEL.read(asked) == 1


@pytest.mark.parametrize("asked", [3, -1, "3", "-1", "boot", "", 1.0, True, None, [1], "¹"])
def test_what_is_no_class_is_refused_with_the_classes(asked):
    with pytest.raises(ValueError, match=r"condition label must be one of 0 \(shirt\), 1 \(shoe\), 2 \(bag\), not"):
        LABEL.read(asked)


@pytest.mark.parametrize("asked", ["0.5,-1", [0.5, -1], (0.5, -1.0)])
def test_values_are_read_from_text_and_numbers(asked):
    assert ANGLE.read(asked).tolist() == [0.5, -1.0]


@pytest.mark.parametrize("asked", ["0.5", 0.5, "a,b", [1, 2, 3], [float("nan"), 0], "inf,0", None, [[1, 2]], {"a": 1}, "1e99,0"])
def test_other_values_are_refused(asked):
    with pytest.raises(ValueError, match="condition angle must be 2 numbers with commas between them, not"):
        ANGLE.read(asked)


def test_a_law_gives_classes_as_often_as_they_are_and_none_that_is_absent():
    law = Law.of(LABEL, np.array([0, 2, 2, 2]))
    drawn = law.draw(20_000, np.random.default_rng(0))
    counts = np.bincount(drawn, minlength=3)
    assert counts[1] == 0
    assert stats.chisquare(counts[[0, 2]], [5_000, 15_000]).pvalue > 1e-4
    assert law.present() == [0, 2]
    assert (law.at(LABEL.classes[2]).draw(5, np.random.default_rng(0)) == 2).all()
    with pytest.raises(ValueError, match="no sample to train on is of the class 'shoe'"):
        law.at("shoe")


@pytest.mark.parametrize("law", [Law.of(LABEL, np.array([0, 1, 2])), Law.of(ANGLE, np.eye(5, 2, dtype=np.float32))])
def test_first_conditions_are_the_same_however_many_are_drawn(law):
    few, many = (law.draw(n, np.random.default_rng(3)) for n in (4, 400))
    np.testing.assert_array_equal(few, many[:4])


def test_a_law_of_values_draws_the_values_themselves():
    values = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
    drawn = Law.of(ANGLE, values).draw(1000, np.random.default_rng(1))
    assert {tuple(row) for row in drawn.tolist()} == {tuple(row) for row in values.tolist()}
    assert Law.of(ANGLE, values).at([1, 2]).draw(2, np.random.default_rng(0)).tolist() == [[1, 2], [1, 2]]


@pytest.mark.parametrize("name", ["GAUSS8", "GAUSS25", "TWO_CIRCLES", "MOONS", "CHECKERBOARD", "SPIRAL", "SWISS_ROLL"])
def test_every_sample_of_a_measure_has_a_nearest_mode_its_own_where_it_lies_in_one(name):
    measure = getattr(measures, name)
    x = measure.sample(5000, np.random.default_rng(0))
    of, nearest = measure.modes.mode_of(x), measure.modes.nearest(x)
    assert (nearest[of >= 0] == of[of >= 0]).all()
    assert set(nearest) == set(range(len(measure.modes.mode_weights)))
    assert (measure.modes.nearest(x + 100) >= 0).all()


def batch_of(condition, n):
    rng = np.random.default_rng(7)
    if condition.classes:
        return torch.from_numpy(rng.integers(condition.num_classes, size=n))
    return torch.from_numpy(rng.normal(size=(n, condition.num_values)).astype(np.float32))


@pytest.mark.parametrize("condition", [LABEL, ANGLE], ids=lambda each: each.name)
@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=[pytest.mark.slow] if kind == "large_256" else [])
        for kind in NETWORK_PAIRS
        if "condition" in network_pair(kind).takes
    ],
)
def test_both_networks_of_a_pair_depend_on_the_condition_once_they_have_learned(kind, condition):
    """After one step: projections begin at zero. Each sample's output depends on its own condition alone."""
    spec = conditional(SPECS[kind], condition)
    rng = np.random.default_rng(0)
    x, y = (torch.from_numpy(normal(rng, 8, *spec.sample_shape)).tanh() for _ in range(2))
    z = torch.from_numpy(normal(rng, 8, spec.z_dim)) if spec.z_dim else None
    given = batch_of(condition, 8)
    state = new_state(spec, seed=0, betas=(0.0, 0.9), device=torch.device("cpu"))
    anchor = network_pair(kind).first_anchor(spec)
    solved = problem(objective("kl", h=1.0, r1=0.1, r2=0.1), num_steps=2)
    losses = list(train_phase(state, solved, anchor, lambda step: Batch(x, y, z, z, given)))
    assert all(bool(torch.stack(each).isfinite().all()) for each in losses)
    other = (given + 1) % 3 if condition.classes else given + 1
    for module in state.modules().values():
        module.eval()
    with torch.no_grad():
        mapped, remapped = (transport(state.transport_map, x, z, each) for each in (given, other))
        judged, rejudged = (outputs_at(state.potential, x, each) for each in (given, other))
        mixed = transport(state.transport_map, x, z, torch.cat([given[:4], other[4:]]))
    assert ((mapped - remapped).flatten(1).abs().amax(1) > 0).all()
    assert ((judged - rejudged).abs() > 0).all()
    torch.testing.assert_close(mixed, torch.cat([mapped[:4], remapped[4:]]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", sorted(SPECS.keys() - {"perceptron"}))  # whose first layer is wider
def test_a_condition_leaves_the_weights_of_the_other_layers_as_they_are_drawn(kind):
    """Where what is given is added and not put beside the input."""
    for build in (build_map, build_potential):
        plain, given = (dict(build(spec, seed=3).named_parameters()) for spec in (SPECS[kind], conditional(SPECS[kind], LABEL)))
        assert plain.keys() < given.keys() or build is build_potential
        first = next(iter(plain))
        assert torch.equal(plain[first], given[first])


def gaussians(step, label=None, n=128):
    """A batch of three Gaussians, one per class, each at its own place with its own spread."""
    rng = np.random.default_rng([step, 1])
    c = rng.integers(3, size=n) if label is None else np.full(n, label)
    x, y = normal(rng, n, 2), CENTRES[c] + SPREADS[c, None] * normal(rng, n, 2)
    return Batch(torch.from_numpy(x), torch.from_numpy(y), None, None, torch.from_numpy(c))


def trained(draw, condition=LABEL, num_steps=300, num_phases=2, change=lambda state: None):
    state = new_state(conditional(SPECS["perceptron"], condition), seed=0, betas=(0.0, 0.9), device=torch.device("cpu"))
    change(state)
    solved, anchor = (
        problem(
            objective("kl", h=30.0, r1=0.01, r2=0.01), num_steps=num_steps, learning_rates=constant(2e-3, 2e-3), ema_decay=0.99
        ),
        [],
    )
    for _ in range(num_phases):
        state.step = 0
        list(train_phase(state, solved, anchor, draw))
        anchor = [copy.deepcopy(state.transport_map).requires_grad_(False).eval()]
    return state.averaged_map.eval()


def law_of_class(network, label, n=4000):
    x = torch.from_numpy(normal(stream(0, "problem"), n, 2))
    return push_through([network], x, None, torch.full((n,), label)).numpy()


@pytest.mark.slow
def test_a_conditional_flow_finds_the_law_of_each_class():
    network = trained(gaussians)
    for label in range(3):
        samples = law_of_class(network, label)
        np.testing.assert_allclose(samples.mean(0), CENTRES[label], atol=0.25)
        np.testing.assert_allclose(samples.std(0), SPREADS[label], rtol=0.25)


def test_classes_that_change_places_change_the_places_of_what_is_learned():
    """To the last digit, where their embeddings have changed places as well."""
    order = torch.tensor([2, 0, 1])  # class c is called order[c]

    def renamed(step):
        batch = gaussians(step)
        return batch._replace(condition=order[batch.condition])

    def change(state):
        for module in state.modules().values():
            weight = module.embedding.weight.data
            weight[order] = weight.clone()

    first, second = trained(gaussians, num_steps=20), trained(renamed, num_steps=20, change=change)
    for label in range(3):
        np.testing.assert_array_equal(law_of_class(first, label), law_of_class(second, int(order[label])))


@pytest.mark.slow
def test_a_condition_that_is_always_the_same_changes_nothing_in_law():
    """Class 1 alone, conditional and not: both find its Gaussian."""
    one = Condition("label", ("only",))
    given = trained(lambda step: gaussians(step, 1)._replace(condition=torch.zeros(128, dtype=torch.int64)), one, num_steps=200)
    plain = trained(lambda step: gaussians(step, 1)._replace(condition=None), None, num_steps=200)
    x = torch.from_numpy(normal(stream(0, "problem"), 4000, 2))
    with_c, without = push_through([given], x, None, torch.zeros(4000, dtype=torch.int64)), push_through([plain], x, None)
    for samples in (with_c, without):
        np.testing.assert_allclose(samples.mean(0).numpy(), CENTRES[1], atol=0.2)
        np.testing.assert_allclose(samples.std(0).numpy(), SPREADS[1], rtol=0.2)


@pytest.mark.slow
def test_values_condition_as_classes_do():
    """The target's mean is a function of the value; between values that were seen it is interpolated."""
    angle = Condition("angle", num_values=1)

    def draw(step):
        rng = np.random.default_rng([step, 2])
        c = rng.uniform(-1, 1, size=(128, 1)).astype(np.float32)
        y = np.concatenate([3 * np.sin(2 * c), 3 * np.cos(2 * c)], 1) + 0.5 * normal(rng, 128, 2)
        return Batch(torch.from_numpy(normal(rng, 128, 2)), torch.from_numpy(y), None, None, torch.from_numpy(c))

    network = trained(draw, angle)
    for c in (-0.9, 0.0, 0.55):
        x = torch.from_numpy(normal(stream(0, "problem"), 4000, 2))
        samples = push_through([network], x, None, torch.full((4000, 1), c)).numpy()
        np.testing.assert_allclose(samples.mean(0), [3 * np.sin(2 * c), 3 * np.cos(2 * c)], atol=0.3)
        np.testing.assert_allclose(samples.std(0), 0.5, rtol=0.4)
