"""What a phase begins with: the state, from memory or from the store, and the frozen T_{k-1}."""

from dataclasses import dataclass

import torch
from torch import nn

from components import state as states
from components.state import State
from pipeline.data.endpoints import Endpoints
from pipeline.phase import Phase
from pipeline.store.phases import Store
from pipeline.training.build import first_anchor, new_state, shape_of


@dataclass(frozen=True)
class Trained:
    """The phase that this worker has just trained, whose T_k may not be published yet."""

    phase: Phase
    state: State


def initial_state(phase: Phase, before: Trained | None, endpoints: Endpoints, store: Store, device: torch.device) -> State:
    """The parent's state, which phase k goes on from; new networks for phase 0 and for the map of a composed increment.

    Args:
        before: what this worker has just trained; where that is not the parent, its state is read from the store.
    """
    if before is not None and before.phase.fingerprint == phase.parent:
        state = before.state
        state.step = 0
    else:
        state = new_state(phase, endpoints, device)
        if phase.parent is not None:
            states.load_tensors(state, store.load(store.published(phase.parent), states.FILES), step=0)
    if phase.composed:
        states.fresh_map(state, shape_of(phase, endpoints), seed=phase.seed)
    return state


def frozen_maps(phase: Phase, state: State, endpoints: Endpoints, store: Store, device: torch.device) -> list[nn.Module]:
    """The anchor, T_{k-1}: T_{-1} for phase 0, live weights of one map, or of all increments so far.

    Args:
        state: the one that phase k begins with, whose map is T_{k-1} but for composed increments.
    """
    shape = shape_of(phase, endpoints)
    if phase.parent is None:
        return first_anchor(shape)
    weights = [state.transport_map.state_dict()]
    if phase.composed:
        weights = [store.load(ref, ["map"])["map"] for ref in store.ancestors(store.published(phase.parent))]
    maps = [states.build_map(shape).to(device) for _ in weights]
    for transport_map, tensors in zip(maps, weights, strict=True):
        transport_map.load_state_dict(tensors)
        transport_map.requires_grad_(False).eval()
    return maps
