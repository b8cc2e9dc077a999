"""LiNeS, layer-increasing network scaling (Wang et al., arXiv 2410.17146).

D = Σ_t w ⊙ τ_t with w = α + β · l / (L−1) for block l and w = α outside blocks, which is what the authors' code does
(wang-kee/LiNeS, 04858ad, `LiNeS_scaling`). Merging N task vectors that are added, they take α = 1/N; for a single
one they fix α = β = 0.5 where they do not tune (section 5.1), else they choose β from 0.1, 0.2, … 1.0 on held-out
data. So the default of α is 1/N, or 0.5 for one expert, as published; β = 0.5 at any N is a choice of this project.
With two experts w runs from ½ to 1.

It differs from the control `depth_linear`, whose w runs from 0 to 1 with 1 outside blocks: here the first block
moves, too, and embeddings, final norm and lm_head as little as that one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lata.engine import weighting
from lata.methods import register
from lata.methods.rules import Interval
from lata.methods.sums import by_depth, weighted_sum

if TYPE_CHECKING:
    from lata.engine.vectors import Direction, TaskVectors


@register(
    group="baseline",
    order=5,
    paper="https://arxiv.org/abs/2410.17146",
    equation="D = Σ_t w ⊙ τ_t, w = α + β · l / (L−1)",
    alpha=Interval(0, 1, optional=True),
    beta=Interval(0, 2),
)
def lines(vectors: TaskVectors, *, alpha: float | None = None, beta: float = 0.5) -> Direction:
    """The sum of the task vectors, each block weighted by its depth.

    Args:
        vectors: the task vectors.
        alpha: weight of the first block and of parameters outside blocks; None for 1/N with N experts, 0.5 with one.
        beta: what the last block has more than the first; a single block counts as the last.
    """
    first = 1 / max(2, len(vectors.tasks)) if alpha is None else alpha
    by_name = by_depth(vectors, lambda count: first + beta * weighting.relative_depth(count), outside=first)
    return weighted_sum(vectors, dict.fromkeys(vectors.tasks, by_name))
