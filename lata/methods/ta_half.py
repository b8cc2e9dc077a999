"""Control: plain shrinkage, Task Arithmetic at λ/2 (of this project, not the paper)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lata.methods import register
from lata.methods.ta import ta

if TYPE_CHECKING:
    from lata.methods import TaskVectors, TensorDict


@register(paper="", equation="D = ½ Σ_t τ_t")
def ta_half(task_vectors: TaskVectors) -> TensorDict:
    """Half the sum of the task vectors; halving is exact in fp32, so λ = 1 here is `ta` at λ = 0.5."""
    return {name: tensor * 0.5 for name, tensor in ta(task_vectors).items()}
