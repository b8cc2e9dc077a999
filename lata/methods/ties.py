"""TIES-Merging (Yadav et al., "Resolving Interference When Merging Models", arXiv 2306.01708).

Algorithm 1: trim each task vector to its largest values, elect one sign for each element, average the values
that agree with it. Variant ``paper`` is what the authors' repository does (prateeky2806/ties-merging, 44e7891,
`topk_values_mask`, `resolve_sign`, `disjoint_merge` with ``dis-mean``), details included that the text leaves
open:

- trimming looks at all parameters of a task as one vector and keeps the values whose magnitude is at least the
  (d − ⌊dK⌋)-th smallest, which are ⌊dK⌋ + 1 values and everything equal to the smallest of them;
- an element whose sum is exactly zero takes the sign that most elements have; where that is zero too, negative;
- the mean is over the values that agree with the sign.

Known difference: ``density = 1`` keeps everything here; the original raises for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lata.methods import Interval, OneOf, register

if TYPE_CHECKING:
    import torch

    from lata.methods import TaskVectors, TensorDict


@register(
    paper="https://arxiv.org/abs/2306.01708",
    equation="D = mean of trim(τ_t) over the tasks whose sign is sgn(Σ_t trim(τ_t))",
    variant=OneOf(("paper",)),
    density=Interval(0, 1, open_low=True),
)
def ties(task_vectors: TaskVectors, *, variant: str = "paper", density: float = 0.2) -> TensorDict:
    """Trim to `density`, elect signs, merge the values that agree.

    Args:
        task_vectors: task → parameter name → τ_t, fp32. A tied parameter stands in it once.
        variant: ``paper``.
        density: K, the share of values that a task vector keeps, in (0, 1]; 0.2 is the paper's.
    """
    names = sorted(next(iter(task_vectors.values())))
    trimmed_TD = [_trim(_flatten(task_vectors[task], names), density) for task in sorted(task_vectors)]
    total = trimmed_TD[0]
    for vector in trimmed_TD[1:]:
        total = total + vector
    sign = total.sign()
    majority = sign.sum().sign()
    positive = sign.where(sign != 0, majority) > 0
    chosen_sum = total.new_zeros(total.shape)
    chosen_count = total.new_zeros(total.shape)
    for vector in trimmed_TD:
        agrees = (vector > 0).where(positive, vector < 0)
        chosen_sum = chosen_sum + vector * agrees
        chosen_count = chosen_count + agrees
    merged = chosen_sum / chosen_count.clamp(min=1)

    direction: TensorDict = {}
    position = 0
    for name in names:
        like = next(iter(task_vectors.values()))[name]
        direction[name] = merged[position : position + like.numel()].view(like.shape)
        position += like.numel()
    return direction


def _flatten(task_vector: Mapping[str, torch.Tensor], names: list[str]) -> torch.Tensor:
    import torch

    return torch.cat([task_vector[name].reshape(-1) for name in names])


def _trim(vector: torch.Tensor, density: float) -> torch.Tensor:
    count = vector.numel()
    position = count - int(count * density)
    if position == 0:
        return vector
    magnitude = vector.abs()
    return vector * (magnitude >= magnitude.kthvalue(position).values)
