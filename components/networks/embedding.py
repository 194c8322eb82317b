"""How networks take a condition: an embedding of it beside what they compute, and the projection of a potential."""

from jaxtyping import Float, Int
from torch import Tensor, nn

from components.conditions import Condition

Given = Int[Tensor, " n"] | Float[Tensor, "n v"]
"""The conditions of a batch as networks take them: classes, or values."""


def embedding_of(condition: Condition | None, dim: int, *, from_zero: bool = False) -> nn.Module | None:
    """Make what embeds a condition: a vector for each class, or two layers for values; None for networks without a condition.

    Args:
        from_zero: all embeddings are zero at the start.
    """
    if condition is None:
        return None
    last: nn.Module = nn.Embedding(condition.num_classes, dim) if condition.classes else nn.Linear(dim, dim)
    if from_zero:
        for parameter in last.parameters():
            nn.init.zeros_(parameter)
    return last if condition.classes else nn.Sequential(nn.Linear(condition.num_values, dim), nn.SiLU(), last)


class Projection(nn.Module):
    """The part <e(c), phi(x)> of a potential that sees how features and condition go together (Miyato and Koyama 2018), 0 at
    the start. Feature maps are summed over space.
    """

    def __init__(self, condition: Condition, dim: int) -> None:
        super().__init__()
        self.embedding = embedding_of(condition, dim, from_zero=True)

    def forward(self, condition: Given, features: Float[Tensor, "n dim *space"]) -> Float[Tensor, " n"]:
        assert self.embedding is not None
        dtype = next(self.parameters()).dtype  # the weights' own precision, whatever autocast does before
        return (self.embedding(condition).to(dtype) * features.to(dtype).unsqueeze(2).flatten(2).sum(2)).sum(1)


def projection_of(condition: Condition | None, dim: int) -> Projection | None:
    """Make the projection of a potential that is given a condition; None for one that is not."""
    return None if condition is None else Projection(condition, dim)
