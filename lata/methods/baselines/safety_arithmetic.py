"""Safety Arithmetic, its first stage: Harm Direction Removal (Hazra et al., arXiv 2406.11801, section 3.2).

Of the harm vector τ only the k % with the largest magnitudes are subtracted: θ = θ_target − λ · top_k(τ) (their
equations 2 to 4). The second stage, Safety Alignment, adds a vector to the activations of the running model; no merge
can hold it, so it is left out here, and results are those of the paper's rows "HDR (w/ TIES)".

The threshold is one for all parameters of a task vector. The authors' code (declare-lab/safety-arithmetic, 8d57c57,
`topk_values_mask`) trims as that of TIES does, so it keeps ⌊dK⌋ + 1 values and everything equal to the smallest of
them; so does this. Where fewer than k of the values differ from zero (edited models), all of them are kept.
k = 10 % is their choice (section 5); they subtract with λ from 2 to 3 (appendix A.6). For several experts the trimmed
vectors are added, which is a choice of this project.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lata.engine.vectors import tau
from lata.methods import register
from lata.methods.rules import Interval
from lata.methods.sums import added

if TYPE_CHECKING:
    from lata.engine.stream import Block
    from lata.engine.vectors import Direction, TaskVectors
    from lata.numerics.dtypes import Float


@register(
    group="baseline",
    order=6,
    paper="https://arxiv.org/abs/2406.11801",
    equation="D = Σ_t top_k(τ_t)",
    note="This is the first stage of Safety Arithmetic alone: its second, which steers activations, is left out; its "
    "authors take λ from 2 to 3.",
    passes={"": 2},
    share=Interval(0, 1, open_low=True),
)
def safety_arithmetic(vectors: TaskVectors, *, share: float = 0.1) -> Direction:
    """The sum of the task vectors, each without all but its largest values.

    Args:
        vectors: the task vectors.
        share: k, the share of a task vector's values that is kept, in (0, 1]; 0.1 is the paper's.
    """
    limits = vectors.limits(tau, share)

    def largest(block: Block, task: str) -> Float:
        return block.trim(tau(block, task), limits[task])

    return added(vectors, largest)
