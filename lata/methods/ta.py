"""Task Arithmetic (Ilharco et al., "Editing Models with Task Arithmetic", arXiv 2212.04089).

Learning adds the sum of task vectors, θ = θ_pre + λ Σ_t τ_t (their section 2); forgetting negates one,
θ = θ_target − λ τ_t, which is the same direction with −λ.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lata.methods import register

if TYPE_CHECKING:
    import torch

    from lata.methods import TaskVectors, TensorDict


@register(paper="https://arxiv.org/abs/2212.04089", equation="D = Σ_t τ_t")
def ta(task_vectors: TaskVectors) -> TensorDict:
    """The sum of the task vectors, in sorted order of tasks."""
    return weighted_sum(task_vectors, {})


def weighted_sum(task_vectors: TaskVectors, weights: Mapping[str, Mapping[str, float]]) -> TensorDict:
    """Σ_t w_t[name] · τ_t[name] in fp32, added in sorted order of tasks so that the order given does not matter.

    Args:
        task_vectors: task → parameter name → τ_t, fp32.
        weights: task → parameter name → weight; a task that is missing has weight 1 everywhere.
    """
    tasks = sorted(task_vectors)

    def term(task: str, name: str) -> torch.Tensor:
        vector = task_vectors[task][name]
        return vector * weights[task][name] if task in weights else vector

    direction: TensorDict = {}
    for name in task_vectors[tasks[0]]:
        total = term(tasks[0], name)
        for task in tasks[1:]:
            total = total + term(task, name)
        direction[name] = total
    return direction
