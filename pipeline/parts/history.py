"""What has become of own parts since the flows that a store has."""

from components.parts.naming import Part
from pipeline.parts.pinning import own_parts
from pipeline.phase import phases_of
from pipeline.recipe import Recipe
from pipeline.store.maps import FINGERPRINT
from pipeline.store.phases import Store


def changes(recipe: Recipe, store: Store) -> list[str]:
    """Say which own parts have other code than in the last flow of a store that used them, in a sentence for each such flow.

    Nothing is said of a flow that the store has already: none of it is trained anew.

    Args:
        recipe: a resolved one, whose names hold the digests of their code.
    """
    if not own_parts(recipe) or store.runs_of(phases_of(recipe)[-1].fingerprint, "flow"):
        return []
    changed: dict[str, list[str]] = {}
    for field, name in own_parts(recipe).items():
        part = Part.read(name)
        for flow in store.flows_with(field, part.use):
            before = Part.read(flow.data.params[field])
            if before.use != part.use:  # a longer name
                continue
            if before.digest != part.digest:
                since = f"since flow {flow.data.tags[FINGERPRINT][:8]} ({before.digest} -> {part.digest})"
                changed.setdefault(since, []).append(part.use)
            break
    return [
        f"{', '.join(dict.fromkeys(uses))} {'has' if len({*uses}) == 1 else 'have'} changed {since}: its phases are trained anew"
        for since, uses in changed.items()
    ]
