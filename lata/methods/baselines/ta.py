"""Task Arithmetic (Ilharco et al., "Editing Models with Task Arithmetic", arXiv 2212.04089).

Learning adds the sum of task vectors, θ = θ_pre + λ Σ_t τ_t (their section 2); forgetting negates one,
θ = θ_target − λ τ_t, which is the same direction with −λ.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lata.methods import register
from lata.methods.sums import WeightedSum, weighted_sum

if TYPE_CHECKING:
    from lata.engine.vectors import TaskVectors


@register(group="baseline", order=1, paper="https://arxiv.org/abs/2212.04089", equation="D = Σ_t τ_t")
def ta(vectors: TaskVectors) -> WeightedSum:
    """The sum of the task vectors, in sorted order of tasks."""
    return weighted_sum(vectors, {})
