"""How much each layer of an expert looks like instruction following (arXiv 2502.20186).

s_t[l] = cos(τ_comp,t[l], τ_instr[l]) with τ_comp,t = θ_ft,t − θ_base and τ_instr = θ_pre − θ_base: differences
in fp32, products and sums in fp64 over chunks of a fixed size, the chunks' sums added by `math.fsum`. The result
depends on neither threads nor the order of parameters.

Shapes: L layers in order of depth, T tasks in sorted order.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lata.layers import layer_map, layers_in_order
from lata.norms import CHUNK

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from lata.weighting import Vector


@dataclass(frozen=True, eq=False)
class Similarity:
    """Similarity of every layer and task, with the map from parameters to layers that it was measured on.

    Attributes:
        layers: L layer keys in order of depth (`lata.layers.layer_map`).
        tasks: T task names, sorted.
        values_LT: cosines in [−1, 1]; NaN where a layer has none because τ_instr or τ_comp is all zero.
        layer_of: parameter name → layer key, None for a parameter that is not ranked.
        outside: what happens to parameters that are not ranked, ``keep`` or ``drop``.
    """

    layers: tuple[str, ...]
    tasks: tuple[str, ...]
    values_LT: np.ndarray
    layer_of: Mapping[str, str | None]
    outside: str

    def of(self, task: str) -> Vector:
        """The L similarities of one task."""
        return np.asarray(self.values_LT[:, self.tasks.index(task)], dtype=np.float64)

    def table(self) -> pd.DataFrame:
        """The similarities as a data frame, layers × tasks."""
        import pandas as pd

        return pd.DataFrame(self.values_LT, index=pd.Index(self.layers, name="layer"), columns=list(self.tasks))

    def parameter_weights(self, weights_L: Vector) -> dict[str, float]:
        """Layer weights → parameter name → weight; 1 or 0 outside the ranked layers, as `outside` says."""
        weight_of = dict(zip(self.layers, weights_L.tolist(), strict=True))
        unranked = 0.0 if self.outside == "drop" else 1.0
        return {name: unranked if key is None else weight_of[key] for name, key in self.layer_of.items()}


def measure(
    base: Mapping[str, torch.Tensor],
    pre: Mapping[str, torch.Tensor],
    experts: Mapping[str, Mapping[str, torch.Tensor]],
    granularity: str = "block",
    outside: str = "keep",
) -> Similarity:
    """Measure `Similarity` of loaded checkpoints, which must share names and shapes (`lata.merge.check`).

    A layer whose τ_t is zero bit for bit has similarity exactly 1. A layer whose τ_instr or τ_comp,t is all zero
    has no cosine; it is NaN here and named in a warning.
    """
    layer_of = layer_map(pre, granularity, outside)
    layers = layers_in_order(layer_of)
    tasks = sorted(experts)
    values_LT = np.full((len(layers), len(tasks)), np.nan)
    for row, layer in enumerate(layers):
        names = [name for name, key in layer_of.items() if key == layer]
        for column, task in enumerate(tasks):
            values_LT[row, column] = _cosine(names, base, pre, experts[task])
    for column, task in enumerate(tasks):
        missing = [layers[row] for row in np.flatnonzero(np.isnan(values_LT[:, column]))]
        if missing:
            warnings.warn(
                f"task {task!r}: layers {', '.join(missing)} have no cosine (their instruction vector or complex "
                "vector is all zero); they are not ranked and keep the full weight",
                stacklevel=2,
            )
    return Similarity(tuple(layers), tuple(tasks), values_LT, layer_of, outside)


def _cosine(
    names: list[str],
    base: Mapping[str, torch.Tensor],
    pre: Mapping[str, torch.Tensor],
    expert: Mapping[str, torch.Tensor],
) -> float:
    products: list[float] = []
    complex_squares: list[float] = []
    instruction_squares: list[float] = []
    unchanged = True
    for name in names:
        base_flat, pre_flat, expert_flat = (source[name].reshape(-1) for source in (base, pre, expert))
        for start in range(0, base_flat.numel(), CHUNK):
            chunk = slice(start, start + CHUNK)
            raw = base_flat[chunk].float()
            complex_vector = (expert_flat[chunk].float() - raw).double()
            instruction_vector = (pre_flat[chunk].float() - raw).double()
            products.append(float((complex_vector * instruction_vector).sum()))
            complex_squares.append(float((complex_vector * complex_vector).sum()))
            instruction_squares.append(float((instruction_vector * instruction_vector).sum()))
            unchanged = unchanged and bool((expert_flat[chunk] == pre_flat[chunk]).all())
    norms = math.sqrt(math.fsum(complex_squares)) * math.sqrt(math.fsum(instruction_squares))
    if norms == 0.0:
        return math.nan
    if unchanged:
        return 1.0
    return min(1.0, max(-1.0, math.fsum(products) / norms))
