"""Control: weights that grow linearly with depth (of this project, not the paper).

Is it similarity that matters, or only depth? LiNeS (Wang et al., arXiv 2410.17146) scales layers by depth too,
as α + β · l / (L−1); with ``floor`` α and ``ceiling`` α + β this is the same line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lata import weighting
from lata.layers import layer_map, layers_in_order
from lata.methods import Interval, register
from lata.methods.ta import weighted_sum

if TYPE_CHECKING:
    from lata.vectors import Direction, TaskVectors


@register(
    paper="",
    equation="D = Σ_t w ⊙ τ_t, w = l / (L−1)",
    floor=Interval(0, 1),
    ceiling=Interval(0, 1),
)
def depth_linear(vectors: TaskVectors, *, floor: float = 0.0, ceiling: float = 1.0) -> Direction:
    """The sum of the task vectors, each block weighted by its depth; parameters outside blocks keep weight 1."""
    layer_of = layer_map(vectors.names)
    layers = layers_in_order(layer_of)
    weights_L = weighting.linear_in_depth(len(layers), floor, ceiling)
    weight_of = dict(zip(layers, weights_L.tolist(), strict=True))
    by_name = {name: 1.0 if key is None else weight_of[key] for name, key in layer_of.items()}
    return weighted_sum(vectors, dict.fromkeys(vectors.tasks, by_name))
