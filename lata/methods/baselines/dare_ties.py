"""DARE followed by TIES (arXiv 2311.03099 section 4, arXiv 2306.01708).

Variants, each with the masks of `dare` and the elections of `ties`:

- ``paper``: what MergeLM's `mask_merging` with `ties_merging` does: masks first, then all of TIES on what is left,
  its trimming included. The TIES here is that of its own authors; MergeLM's copy can keep one value more or fewer,
  and keeps nothing of an element without any majority of signs;
- ``mergekit``: mergekit 0.1.5's ``dare_ties``: no trimming, and the values that agree are added, not averaged;
- ``peft``: PEFT 0.21's `dare_ties`: no trimming, and the values that agree are averaged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lata.methods import register
from lata.methods.baselines.dare import VARIANTS, dropped
from lata.methods.baselines.ties import elect, trim_and_elect
from lata.methods.rules import Interval, OneOf

if TYPE_CHECKING:
    from lata.engine.vectors import Direction, TaskVectors


@register(
    group="baseline",
    order=4,
    paper="https://arxiv.org/abs/2311.03099",
    equation="D = TIES({m_t ⊙ τ_t / (1 − p)})",
    passes={"paper": 3, "mergekit": 1},
    one_lambda=("paper",),
    variant=OneOf(VARIANTS),
    drop_rate=Interval(0, 1, open_high=True),
    density=Interval(0, 1, open_low=True),
)
def dare_ties(
    vectors: TaskVectors,
    *,
    seed: int = 0,
    variant: str = "paper",
    drop_rate: float = 0.5,
    density: float = 0.2,
) -> Direction:
    """TIES on task vectors that DARE has dropped and rescaled; parameters as in `dare` and `ties`.

    `density` is the share that ``paper`` keeps when it trims; the other variants do not trim.
    """
    view = dropped(vectors, variant, seed, drop_rate)
    if variant == "paper":
        return trim_and_elect(vectors, view, density)
    return elect(
        vectors, view, weigh_votes=variant == "mergekit", divide={"mergekit": None, "peft": "count"}[variant]
    )
