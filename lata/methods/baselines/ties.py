"""TIES-Merging (Yadav et al., "Resolving Interference When Merging Models", arXiv 2306.01708).

Algorithm 1: trim each task vector to its largest values, elect one sign for each element, average the values
that agree with it. Variant ``paper`` is what the authors' repository does (prateeky2806/ties-merging, 44e7891,
`topk_values_mask`, `resolve_sign`, `disjoint_merge` with ``dis-mean``), details included that the text leaves
open:

- trimming looks at all parameters of a task as one vector and keeps the values whose magnitude is at least the
  (d − ⌊dK⌋)-th smallest, which are ⌊dK⌋ + 1 values and everything equal to the smallest of them;
- an element whose sum is exactly zero takes the sign that most elements have; where that is zero too, negative;
- the mean is over the values that agree with the sign.

The other variants trim each parameter by itself to exactly ⌊dK⌋ values (among equal ones the first; the originals
leave that to chance) and give an exact zero sum the sign +:

- ``mergekit``: mergekit 0.1.5's ``ties``: at least one value is kept, the election is of λ_t τ_t, and their sum is
  divided by the sum of the λ_t that agree;
- ``peft``: PEFT 0.21's `ties`: the election is of τ_t, and the sum of λ_t τ_t is divided by how many agree.

Known difference: ``density = 1`` keeps everything here; the authors' repository raises for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lata.engine.vectors import tau
from lata.methods import register
from lata.methods.rules import Interval, OneOf

if TYPE_CHECKING:
    from lata.engine.stream import Block
    from lata.engine.vectors import Direction, TaskVectors, View
    from lata.numerics.dtypes import Float


@register(
    group="baseline",
    order=2,
    paper="https://arxiv.org/abs/2306.01708",
    equation="D = mean of trim(τ_t) over the tasks whose sign is sgn(Σ_t trim(τ_t))",
    passes={"paper": 3, "mergekit": 3, "peft": 3},
    one_lambda=("paper",),
    variant=OneOf(("paper", "mergekit", "peft")),
    density=Interval(0, 1, open_low=True),
)
def ties(vectors: TaskVectors, *, variant: str = "paper", density: float = 0.2) -> Direction:
    """Trim to `density`, elect signs, merge the values that agree.

    Args:
        vectors: the task vectors. A tied parameter stands in them once.
        variant: ``paper``, ``mergekit`` or ``peft``.
        density: K, the share of values that a task vector keeps, in (0, 1]; 0.2 is the paper's.
    """
    if variant == "paper":
        return trim_and_elect(vectors, tau, density)
    least = 1 if variant == "mergekit" else 0
    largest = vectors.largest(tau, lambda count: count if density >= 1 else max(least, int(density * count)))

    def trimmed(block: Block, task: str) -> Float:
        limit, last = largest[task][block.name]
        return block.trim(tau(block, task), limit, last)

    by_weight = variant == "mergekit"
    return elect(vectors, trimmed, weigh_votes=by_weight, divide="weights" if by_weight else "count")


def trim_and_elect(vectors: TaskVectors, view: View, density: float) -> Direction:
    """All of variant ``paper`` on the vectors that `view` shows; it takes one λ for all tasks."""
    if vectors.scales:
        raise ValueError(
            "variant 'paper' of TIES has one λ: give lam as a number, or choose variant mergekit or peft"
        )
    limits = vectors.limits(view, density)

    def trimmed(block: Block, task: str) -> Float:
        return block.trim(view(block, task), limits[task])

    def total(block: Block) -> Float:
        return _sum(block, [trimmed(block, task) for task in vectors.tasks])

    # One task alone sums to zero only where it is zero, and then no sign matters.
    positive_zero = len(vectors.tasks) > 1 and vectors.majority(total) > 0
    return elect(vectors, trimmed, weigh_votes=False, divide="count", positive_zero=positive_zero)


def elect(
    vectors: TaskVectors, view: View, *, weigh_votes: bool, divide: str | None, positive_zero: bool = True
) -> Direction:
    """Elect a sign for each element and merge the values that agree with it.

    Args:
        vectors: the task vectors, with λ_t in `scales`.
        view: the vectors that vote.
        weigh_votes: whether λ_t counts in the election, or in the merge alone.
        divide: by the ``count`` of values that agree, by the sum of their ``weights`` λ_t, or not at all.
        positive_zero: whether an exact zero sum elects +.
    """

    def direction(block: Block) -> Float:
        scales = [vectors.scales.get(task, 1.0) for task in vectors.tasks]
        values = [view(block, task) for task in vectors.tasks]
        if weigh_votes:
            for value, scale in zip(values, scales, strict=True):
                value *= scale
        votes = _sum(block, values)
        merged, divisor = block.buffer("merged", 0), block.buffer("divisor", 0)
        for value, scale in zip(values, scales, strict=True):
            block.add_agreeing(
                value,
                votes,
                positive_zero,
                factor=1.0 if weigh_votes else scale,
                unit=scale if divide == "weights" else 1.0,
                merged=merged,
                divisor=divisor,
            )
        if divide is not None:
            block.divide(merged, divisor)
        return merged

    return direction


def _sum(block: Block, values: list[Float]) -> Float:
    total = block.buffer("sum", values[0])
    for value in values[1:]:
        total += value
    return total
