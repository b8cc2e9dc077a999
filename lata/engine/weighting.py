"""The schedules: similarities of layers → weights of layers (arXiv 2502.20186, "Drop by Rank / Threshold").

Layers are ranked by similarity, the most instruction-like first: r ∈ {0 … L−1}. A layer that looks most like
instruction following gets the smallest weight. The schedules' names are the paper's; that both rank schedules
run from exactly 0 to exactly 1 (``floor`` and ``ceiling``) is a choice of this project.

Shapes: L layers. A similarity is NaN where a layer has no cosine (τ_instr or τ_comp all zero); such a layer
stays out of the ranks and of L, and takes the weight ``ceiling`` in every schedule.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]
Schedule = Callable[[Vector], Vector]


def ranks(similarity_L: Vector) -> Vector:
    """Position of each layer when sorted by similarity, highest first; equal ones share the mean position.

    Sharing the mean keeps the result independent of the sorting order. `similarity_L` holds no NaN.
    """
    higher = (similarity_L[None, :] > similarity_L[:, None]).sum(axis=1)
    equal = (similarity_L[None, :] == similarity_L[:, None]).sum(axis=1)
    return np.asarray(higher + (equal - 1) / 2, dtype=np.float64)


def linear(similarity_L: Vector) -> Vector:
    """Linear-Drop-by-Rank: r / (L−1); 1 for a single layer."""
    count = similarity_L.size
    shape = ranks(similarity_L) / (count - 1) if count > 1 else np.ones(count)
    return np.asarray(shape, dtype=np.float64)


def logarithmic(similarity_L: Vector) -> Vector:
    """Logarithmic-Drop-by-Rank: log(1+r) / log(L); 1 for a single layer."""
    count = similarity_L.size
    shape = np.log1p(ranks(similarity_L)) / np.log(count) if count > 1 else np.ones(count)
    return np.asarray(shape, dtype=np.float64)


#: The schedules without parameters, by the name of the method that uses each.
RANK_SCHEDULES: dict[str, Schedule] = {"lata_linear": linear, "lata_log": logarithmic}


def below(threshold: float) -> Schedule:
    """Drop-with-Threshold: 1 where s < `threshold` (a cosine), else 0."""
    return lambda similarity_L: (similarity_L < threshold).astype(np.float64)


def below_quantile(quantile: float) -> Schedule:
    """Drop-with-Threshold with the threshold at a quantile of the layers' own similarities.

    The ⌊quantile·L⌋ least similar layers get 1, equal similarities together: a layer is kept when fewer than
    that many layers are strictly below it. At least one layer is kept for any quantile above 0.
    """

    def schedule(similarity_L: Vector) -> Vector:
        if quantile <= 0 or similarity_L.size == 0:
            return np.zeros(similarity_L.size)
        # The tiny slack keeps 0.29 · 100 = 28.999… from losing a layer to rounding.
        keep = max(1, int(np.floor(quantile * similarity_L.size + 1e-9)))
        lower = (similarity_L[None, :] < similarity_L[:, None]).sum(axis=1)
        return np.asarray(lower < keep, dtype=np.float64)

    return schedule


def by_threshold(threshold: float, quantile: float | None) -> Schedule:
    """`below_quantile` where a quantile is given, else `below` the fixed threshold."""
    return below(threshold) if quantile is None else below_quantile(quantile)


def weights(similarity_L: Vector, schedule: Schedule, floor: float = 0.0, ceiling: float = 1.0) -> Vector:
    """w = floor + (ceiling − floor) · shape over the layers that have a cosine; `ceiling` for the others."""
    has_cosine = ~np.isnan(similarity_L)
    shape = schedule(similarity_L[has_cosine])
    weights_L = np.full(similarity_L.size, ceiling, dtype=np.float64)
    weights_L[has_cosine] = floor + (ceiling - floor) * shape
    return weights_L


def shuffled(weights_L: Vector, similarity_L: Vector, seed: int, task: str) -> Vector:
    """The same weights given to other layers, by one permutation that (seed, task) decides.

    The permutation sorts raw 64-bit outputs of Philox, whose stream numpy keeps stable between versions. It is
    never the identity when there is more than one layer.
    """
    has_cosine = np.flatnonzero(~np.isnan(similarity_L))
    if has_cosine.size < 2:
        return weights_L.copy()
    key = int.from_bytes(hashlib.sha256(f"shuffle\0{seed}\0{task}".encode()).digest()[:16], "little")
    stream = np.random.Philox(key=key)
    while True:
        permutation = np.argsort(stream.random_raw(has_cosine.size), kind="stable")
        if (permutation != np.arange(has_cosine.size)).any():
            break
    result = weights_L.copy()
    result[has_cosine] = weights_L[has_cosine[permutation]]
    return result


def linear_in_depth(count: int, floor: float = 0.0, ceiling: float = 1.0) -> Vector:
    """w[l] = floor + (ceiling − floor) · l / (L−1) over `count` layers in order of depth; `ceiling` for one."""
    if count == 1:
        return np.full(1, ceiling)
    return floor + (ceiling - floor) * np.arange(count) / (count - 1)


def relative_depth(count: int) -> Vector:
    """l / (L−1) over `count` layers in order of depth; a single layer counts as the last."""
    return np.arange(count) / (count - 1) if count > 1 else np.ones(count)


def at_depths(weights_L: Vector, count: int) -> Vector:
    """Weights of `count` layers from those of other L layers: by straight lines between layers, at l / (count−1).

    A family of as many layers gets exactly `weights_L`.
    """
    return np.asarray(np.interp(relative_depth(count), relative_depth(weights_L.size), weights_L), dtype=np.float64)
