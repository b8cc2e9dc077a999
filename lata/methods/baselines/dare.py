"""DARE (Yu et al., "Language Models are Super Mario", arXiv 2311.03099): drop and rescale, then add.

Each element of τ_t is dropped with probability p and what is left is divided by 1 − p, so that its expectation
stays (their equation 2). The mask is a function of (seed, task, parameter, element), see `lata.numerics.masks`; given
the same mask, the variants are

- ``paper``: MergeLM's (6d49ad9, `mask_input_with_mask_rate` with rescaling), divided by the exact 1 − p of the mask;
- ``mergekit``: mergekit 0.1.5's ``dare_linear``, rescaled in each parameter to Σ|τ_t| before dropping (there the sums
  are taken in fp32, here in fp64);
- ``peft``: PEFT 0.21's `dare_linear`, divided by the density asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lata.engine.vectors import tau
from lata.methods import register
from lata.methods.rules import Interval, OneOf
from lata.methods.sums import added
from lata.numerics.masks import exact_drop_rate

if TYPE_CHECKING:
    from lata.engine.stream import Block
    from lata.engine.vectors import Direction, TaskVectors, View
    from lata.numerics.dtypes import Float

VARIANTS = ("paper", "mergekit", "peft")

#: Sums of magnitudes under this are not matched (mergekit 0.1.5, `rescaled_masked_tensor`).
_SMALLEST_SUM = 1e-7


@register(
    group="baseline",
    order=3,
    paper="https://arxiv.org/abs/2311.03099",
    equation="D = Σ_t m_t ⊙ τ_t / (1 − p), m_t ~ Bernoulli(1 − p)",
    passes={"mergekit": 1},
    variant=OneOf(VARIANTS),
    drop_rate=Interval(0, 1, open_high=True),
)
def dare(vectors: TaskVectors, *, seed: int = 0, variant: str = "paper", drop_rate: float = 0.5) -> Direction:
    """The sum of the task vectors after dropping and rescaling.

    Args:
        vectors: the task vectors.
        seed: decides the masks together with the names.
        variant: ``paper``, ``mergekit`` or ``peft``.
        drop_rate: p in [0, 1).
    """
    return added(vectors, dropped(vectors, variant, seed, drop_rate))


def dropped(vectors: TaskVectors, variant: str, seed: int, drop_rate: float) -> View:
    """Every task vector with its mask applied and rescaled, before any λ_t."""

    def masked(block: Block, task: str) -> Float:
        return block.drop(tau(block, task), seed, task, drop_rate)

    def divided(block: Block, task: str) -> Float:
        values = masked(block, task)
        values /= kept
        return values

    def matched(block: Block, task: str) -> Float:
        values = masked(block, task)
        values *= factors[task][block.name]
        return values

    if variant == "mergekit":
        if drop_rate == 0:
            return tau
        sums = vectors.absolute_sums({"before": tau, "after": masked})
        factors = {
            task: {name: _ratio(before, sums["after"][task][name]) for name, before in by_name.items()}
            for task, by_name in sums["before"].items()
        }
        return matched
    kept = 1 - (exact_drop_rate(drop_rate) if variant == "paper" else drop_rate)
    return divided


def _ratio(before: float, after: float) -> float:
    if before < _SMALLEST_SUM or after < _SMALLEST_SUM:
        return 1.0
    return float(np.float32(before) / np.float32(after))
