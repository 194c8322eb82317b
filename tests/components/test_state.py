"""State as named tensors: what is kept comes back bit for bit, and a phase that is cut goes on as if it had not been."""

import copy
import itertools

import pytest
import torch
from builders import BOTH_SPECS, CPU, SECOND_ORDER, name_of, objective, problem, random_batches
from safetensors import torch as safetensors

from components.jko import train_phase
from components.state import FILES, fresh_map, load_tensors, new_state, to_tensors

EACH_SPEC = pytest.mark.parametrize("spec", [*BOTH_SPECS, SECOND_ORDER], ids=name_of)
SOLVED = problem(objective("jsd", h=0.5, r1=0.1, r2=0.1), num_steps=6, penalty_every=2)


def started(spec, seed=0):
    return new_state(spec, seed=seed, betas=(0.5, 0.9), device=CPU)


def trained(spec, seed=0, num_steps=6):
    """A state after `num_steps` of the phase's six steps."""
    state = started(spec, seed)
    for _ in itertools.islice(train_phase(state, SOLVED, [], random_batches(spec, 8)), num_steps):
        pass
    return state


def through_files(state):
    """The state's tensors, through the bytes of one safetensors file each."""
    return {name: safetensors.load(safetensors.save(tensors)) for name, tensors in to_tensors(state).items()}


def assert_same_tensors(ours, others):
    assert ours.keys() == others.keys() == set(FILES)
    for name, tensors in ours.items():
        assert tensors.keys() == others[name].keys()
        for key, tensor in tensors.items():
            assert tensor.dtype == others[name][key].dtype
            assert torch.equal(tensor, others[name][key]), f"{name}: {key}"


@EACH_SPEC
@pytest.mark.parametrize("num_steps", [0, 3, 6])
def test_tensors_come_back_bit_for_bit(spec, num_steps):
    state = trained(spec, num_steps=num_steps)
    other = started(spec, seed=5)
    load_tensors(other, through_files(state), step=state.step)
    assert_same_tensors(to_tensors(state), to_tensors(other))
    assert other.step == state.step == num_steps


@EACH_SPEC
@pytest.mark.parametrize("num_steps", [0, 3])
def test_tensors_come_back_into_a_state_that_was_trained_further(spec, num_steps):
    state, other = trained(spec, num_steps=num_steps), trained(spec, seed=5)
    load_tensors(other, through_files(state), step=state.step)
    assert_same_tensors(to_tensors(state), to_tensors(other))


@EACH_SPEC
@pytest.mark.parametrize("cut", [0, 1, 3, 5, 6])
def test_a_phase_that_is_cut_ends_with_the_same_weights(spec, cut):
    """Through bytes and into a state of another seed, at every kind of place; the penalty's steps stay where they were."""
    whole, draw = trained(spec), random_batches(spec, 8)
    resumed, first = started(spec, seed=5), trained(spec, num_steps=cut)
    load_tensors(resumed, through_files(first), step=first.step)
    rest = list(train_phase(resumed, SOLVED, [], draw))
    assert len(rest) == 6 - cut
    assert_same_tensors(to_tensors(whole), to_tensors(resumed))


@EACH_SPEC
def test_the_same_seed_trains_to_the_same_weights_and_another_does_not(spec):
    assert_same_tensors(to_tensors(trained(spec)), to_tensors(trained(spec)))
    other = to_tensors(trained(spec, seed=1))["map"]
    assert not all(torch.equal(tensor, other[key]) for key, tensor in to_tensors(trained(spec))["map"].items())


@EACH_SPEC
def test_tensors_are_named_after_parameters_and_hold_all_of_adam(spec):
    state = trained(spec)
    files = to_tensors(state)
    for network, module in (("map", state.transport_map), ("potential", state.potential)):
        parameters = dict(module.named_parameters())
        assert files[network].keys() == module.state_dict().keys()
        expected = {f"{name}/{key}" for name in parameters for key in ("step", "exp_avg", "exp_avg_sq")}
        assert files[f"{network}_optimizer"].keys() == expected
        for name, parameter in parameters.items():
            assert files[f"{network}_optimizer"][f"{name}/step"].item() == 6
            assert files[f"{network}_optimizer"][f"{name}/exp_avg"].shape == parameter.shape


@EACH_SPEC
def test_no_two_tensors_of_a_state_share_memory(spec):
    tensors = [tensor for file in to_tensors(trained(spec)).values() for tensor in file.values() if tensor.numel()]
    assert len({tensor.data_ptr() for tensor in tensors}) == len(tensors)
    assert all(tensor.is_contiguous() for tensor in tensors)


@EACH_SPEC
def test_loaded_tensors_are_copies(spec):
    """Training goes on in place, and must not write into what was loaded."""
    files = through_files(trained(spec, num_steps=3))
    kept, state = copy.deepcopy(files), started(spec)
    load_tensors(state, files, step=3)
    list(train_phase(state, SOLVED, [], random_batches(spec, 8)))
    assert_same_tensors(files, kept)


@EACH_SPEC
def test_the_average_starts_at_the_map_and_is_not_trained(spec):
    state = started(spec)
    for live, averaged in zip(state.transport_map.parameters(), state.averaged_map.parameters(), strict=True):
        assert torch.equal(live, averaged)
        assert live.data_ptr() != averaged.data_ptr()
        assert live.requires_grad
        assert not averaged.requires_grad


@EACH_SPEC
def test_a_fresh_map_is_the_identity_and_leaves_the_potential_as_it_was(spec):
    state = trained(spec)
    before = copy.deepcopy(to_tensors(state))
    fresh_map(state, spec, seed=7)
    after = to_tensors(state)
    batch = random_batches(spec, 8)(0)
    for transport_map in (state.transport_map, state.averaged_map):
        assert torch.equal(transport_map(batch.source, batch.z), batch.source)
    assert after["map_optimizer"] == {}
    assert state.map_optimizer.betas == (0.5, 0.9)
    assert list(state.transport_map.parameters()) == state.map_optimizer.parameters
    for name in ("potential", "potential_optimizer"):
        assert all(torch.equal(tensor, after[name][key]) for key, tensor in before[name].items())


@EACH_SPEC
def test_each_optimizer_holds_its_own_network_in_order(spec):
    state = started(spec)
    for network, optimizer in ((state.transport_map, state.map_optimizer), (state.potential, state.potential_optimizer)):
        assert all(a is b for a, b in zip(network.parameters(), optimizer.parameters, strict=True))
        assert optimizer.betas == (0.5, 0.9)
