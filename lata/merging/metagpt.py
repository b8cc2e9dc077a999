"""λ without data (Zhou et al., "MetaGPT: Merging Large Language Models Using Model Exclusive Task Arithmetic", arXiv
2406.11385): λ_t = ‖τ_t‖² / Σ_k ‖τ_k‖².

Their closed form minimises an upper bound of the loss difference for Task Arithmetic, with task vectors taken as
orthogonal. Applied to LATA's τ'_t = w_t ⊙ τ_t it is an option of this project, not of that paper.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lata.engine.vectors import TaskVectors


def coefficients(vectors: TaskVectors, weights: Mapping[str, Mapping[str, float]] | None = None) -> dict[str, float]:
    """λ of every task, in [0, 1] and with sum 1; one pass, the same for any number of threads.

    Args:
        vectors: the task vectors.
        weights: task → parameter name → w_t, for τ'_t instead of τ_t; their squares weigh the parameters' in fp64.

    Returns:
        Task, in sorted order → λ_t. Equal shares where every vector is zero: then any λ gives the start.
    """
    squares = {
        task: math.fsum((weights[task][name] ** 2 if weights else 1.0) * square for name, square in by_name.items())
        for task, by_name in vectors.squares().items()
    }
    total = math.fsum(squares.values())
    return {task: square / total if total else 1 / len(squares) for task, square in squares.items()}
