"""DARE (Yu et al., "Language Models are Super Mario", arXiv 2311.03099): drop and rescale, then add.

Each element of τ_t is dropped with probability p and what is left is divided by 1 − p, so that its expectation
stays (their equation 2). Variant ``paper`` is MergeLM's (6d49ad9, `mask_input_with_mask_rate` with rescaling)
given the same mask; the mask itself is a function of (seed, task, parameter, element), see `lata.masks`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lata import masks
from lata.methods import Interval, OneOf, register
from lata.methods.ta import weighted_sum

if TYPE_CHECKING:
    from lata.methods import TaskVectors, TensorDict


@register(
    paper="https://arxiv.org/abs/2311.03099",
    equation="D = Σ_t m_t ⊙ τ_t / (1 − p), m_t ~ Bernoulli(1 − p)",
    variant=OneOf(("paper",)),
    drop_rate=Interval(0, 1, open_high=True),
)
def dare(task_vectors: TaskVectors, *, seed: int = 0, variant: str = "paper", drop_rate: float = 0.5) -> TensorDict:
    """The sum of the task vectors after dropping and rescaling.

    Args:
        task_vectors: task → parameter name → τ_t, fp32.
        seed: decides the masks together with the names.
        variant: ``paper``.
        drop_rate: p in [0, 1).
    """
    return weighted_sum(drop_and_rescale(task_vectors, seed, drop_rate), {})


def drop_and_rescale(task_vectors: TaskVectors, seed: int, drop_rate: float) -> dict[str, TensorDict]:
    """Every task vector with its mask applied and divided by 1 − p."""
    import torch

    kept_share = 1 - masks.exact_drop_rate(drop_rate)
    dropped: dict[str, TensorDict] = {}
    for task, vector in task_vectors.items():
        dropped[task] = {}
        for name, tensor in vector.items():
            mask = torch.from_numpy(masks.keep(seed, task, name, tensor.numel(), drop_rate))
            dropped[task][name] = tensor * mask.view(tensor.shape).to(tensor.device) / kept_share
    return dropped
