"""Control: plain shrinkage, Task Arithmetic at λ/2 (of this project, not the paper)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lata.methods import register
from lata.methods.sums import weighted_sum

if TYPE_CHECKING:
    from lata.engine.vectors import Direction, TaskVectors


@register(group="control", order=2, equation="D = ½ Σ_t τ_t")
def ta_half(vectors: TaskVectors) -> Direction:
    """Half the sum of the task vectors; halving is exact in fp32, so λ = 1 here is `ta` at λ = 0.5."""
    half = dict.fromkeys(vectors.names, 0.5)
    return weighted_sum(vectors, dict.fromkeys(vectors.tasks, half))
