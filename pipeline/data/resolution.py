"""What a recipe leaves open and only this machine and its data can say, filled in before phases are made."""

from dataclasses import replace
from typing import NewType

from pipeline import cluster as clusters
from pipeline.cluster import Cluster
from pipeline.data.specs import ends_of
from pipeline.parts.pinning import pin
from pipeline.recipe import Recipe

ResolvedRecipe = NewType("ResolvedRecipe", Recipe)
"""A recipe that leaves nothing open, so that its phases have the identity that they are trained and found under."""


def resolve(recipe: Recipe, cluster: Cluster) -> ResolvedRecipe:
    """Fill in what a recipe leaves open: digests of prepared images, whether these are streamed, the code of own parts.

    Raises:
        Unusable: a set was not prepared, or from other images than the recipe means.
        ValueError: an own part cannot be used, or its code is another than the recipe means.
    """
    recipe = pin(recipe)
    data, data_uri = recipe.data, clusters.data(cluster)
    for end, spec in ends_of(data).items():
        data = spec.resolve(data, end, data_uri, cluster.max_cached_gb * 1e9)
    return ResolvedRecipe(replace(recipe, data=data))
