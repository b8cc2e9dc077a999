"""DARE followed by TIES (arXiv 2311.03099 section 4, arXiv 2306.01708).

Variant ``paper`` does what MergeLM's `mask_merging` with `ties_merging` does: masks first, then all of TIES on what
is left, its trimming included. The TIES here is that of its own authors (`ties`); MergeLM's copy can keep one value
more or fewer, and keeps nothing of an element without any majority of signs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lata.methods import Interval, OneOf, register
from lata.methods.dare import drop_and_rescale
from lata.methods.ties import ties

if TYPE_CHECKING:
    from lata.methods import TaskVectors, TensorDict


@register(
    paper="https://arxiv.org/abs/2311.03099",
    equation="D = TIES({m_t ⊙ τ_t / (1 − p)})",
    variant=OneOf(("paper",)),
    drop_rate=Interval(0, 1, open_high=True),
    density=Interval(0, 1, open_low=True),
)
def dare_ties(
    task_vectors: TaskVectors,
    *,
    seed: int = 0,
    variant: str = "paper",
    drop_rate: float = 0.5,
    density: float = 0.2,
) -> TensorDict:
    """TIES on task vectors that DARE has dropped and rescaled; parameters as in `dare` and `ties`."""
    return ties(drop_and_rescale(task_vectors, seed, drop_rate), variant=variant, density=density)
