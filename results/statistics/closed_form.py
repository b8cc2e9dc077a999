"""Closed-form statistics: intervals, exact tests, corrections. Everything that resamples is in `bootstrap`.

Each function names its source. Nothing here knows of models, tasks or tables.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

#: Two-sided 95 % point of the standard normal.
Z95 = 1.959963984540054

FloatArray = NDArray[np.float64]


def wilson(rate: FloatArray | float, n: FloatArray | float, z: float = Z95) -> tuple[FloatArray, FloatArray]:
    """Score interval of a binomial proportion.

    By hand, for scipy's takes whole numbers of trials, one proportion at a time.
    Source: Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927).

    Args:
        rate: observed proportion in [0, 1], any shape.
        n: number of trials (> 0), or an effective number (`effective_n`), broadcastable.
        z: normal quantile of the wanted level.

    Returns:
        Lower and upper bound, same shape.
    """
    p, m = np.asarray(rate, dtype=float), np.asarray(n, dtype=float)
    centre = (p + z * z / (2 * m)) / (1 + z * z / m)
    half = z / (1 + z * z / m) * np.sqrt(p * (1 - p) / m + z * z / (4 * m * m))
    low = np.where(p <= 0, 0.0, np.clip(centre - half, 0.0, 1.0))
    high = np.where(p >= 1, 1.0, np.clip(centre + half, 0.0, 1.0))
    return low, high


def cluster_variance(sums_GM: FloatArray, sizes_G: FloatArray) -> FloatArray:
    """Variance of a mean whose items come in clusters, by linearisation of the ratio Σ sums / Σ sizes.

    With clusters of one item this is p(1 − p)/(n − 1) for a rate.
    Source: Cochran, "Sampling Techniques" (3rd ed. 1977), eq. 9A.10 for ratio estimates of cluster samples.

    Args:
        sums_GM: sum of the values of each of G clusters, for M models.
        sizes_G: number of items of each cluster.

    Returns:
        Shape (M,); NaN for fewer than two clusters.
    """
    clusters = len(sizes_G)
    if clusters < 2:
        return np.full(sums_GM.shape[1], np.nan)
    rate_M = sums_GM.sum(0) / sizes_G.sum()
    residual_GM = sums_GM - sizes_G[:, None] * rate_M
    return clusters / (clusters - 1) * (residual_GM**2).sum(0) / sizes_G.sum() ** 2


def effective_n(rate: FloatArray, variance: FloatArray, n: int, clusters: int) -> FloatArray:
    """Number of independent trials that would give this variance of a rate, for `wilson`.

    Never above the number of items nor below the number of clusters; where the rate is 0 or 1, and the
    variance says nothing, the number of clusters.
    Source: Franco, Little, Louis and Slud, "Comparative study of confidence intervals for proportions in
    complex sample surveys", J. Survey Statistics and Methodology 7 (2019): Wilson with an effective size.
    """
    p = np.asarray(rate, dtype=float)
    if clusters >= n:
        return np.full(p.shape, float(n))
    with np.errstate(divide="ignore", invalid="ignore"):
        equivalent = p * (1 - p) / variance
    usable = np.isfinite(equivalent) & (equivalent > 0)
    return np.clip(np.where(usable, equivalent, clusters), clusters, n)


def mcnemar_exact(only_a: NDArray[np.int64] | int, only_b: NDArray[np.int64] | int) -> FloatArray:
    """Two-sided exact McNemar p-value: a sign test on the items that exactly one of two models gets right.

    Source: McNemar, Psychometrika 12 (1947), in its exact binomial form: p = min(1, 2 P(X ≤ min(b, c))),
    X ~ Binomial(b + c, 1/2). No discordant item gives 1.
    """
    from scipy.stats import binom

    return np.asarray(np.minimum(1.0, 2.0 * binom.cdf(np.minimum(only_a, only_b), np.add(only_a, only_b), 0.5)))


def holm(p: FloatArray) -> FloatArray:
    """Holm's step-down adjusted p-values. NaN (a test that could not be made) stays NaN and does not count.

    By hand, for scipy corrects false discovery rates alone.
    Source: Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Statistics 6 (1979).

    Args:
        p: the family along the first axis; families of further axes stand for themselves.
    """
    values = np.asarray(p, dtype=float)
    order = np.argsort(values, axis=0, kind="stable")  # NaN last
    ordered = np.take_along_axis(values, order, axis=0)
    made = np.isfinite(ordered)
    left = made.sum(0) - np.cumsum(made, axis=0) + made
    scaled = np.minimum(1.0, np.maximum.accumulate(np.where(made, ordered * left, 0.0), axis=0))
    adjusted = np.empty(values.shape)
    np.put_along_axis(adjusted, order, np.where(made, scaled, np.nan), axis=0)
    return adjusted


def spearman(x: FloatArray, y: FloatArray) -> tuple[float, float, float, float]:
    """Spearman's rank correlation with a 95 % interval and a two-sided p-value.

    Interval: Fisher z with the standard error sqrt((1 + ρ²/2)/(n − 3)), Bonett and Wright, Psychometrika 65
    (2000). At |ρ| = 1, where z is infinite, ρ is moved half a step towards the next value that n ranks can
    take, 6/(n³ − n); the outer end stays at ±1. p: exact permutation for n ≤ 8, else Student's t.

    Args:
        x: n values; pairs with a value that is not finite are left out.
        y: n values.

    Returns:
        (ρ, lower, upper, p). All NaN with fewer than 3 pairs or a constant side; an interval of [−1, 1] for
        3 pairs.
    """
    from scipy.stats import permutation_test, rankdata, spearmanr

    a, b = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    both = np.isfinite(a) & np.isfinite(b)
    a, b = (np.asarray(rankdata(side[both]), dtype=np.float64) for side in (a, b))
    n = len(a)
    if n < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return math.nan, math.nan, math.nan, math.nan
    rho, p = (float(value) for value in spearmanr(a, b))
    if n <= 8:

        def distance_from_none(orders: FloatArray, axis: int = -1) -> FloatArray:
            return np.asarray(np.abs((orders * (b - b.mean())).sum(axis)))

        kind = {"permutation_type": "pairings", "alternative": "greater", "n_resamples": np.inf}
        p = float(permutation_test((a,), distance_from_none, vectorized=True, **kind).pvalue)
    if n == 3:
        return rho, -1.0, 1.0, p
    # scipy has no interval of ρ.
    inside = float(np.clip(rho, -1 + 6 / (n**3 - n), 1 - 6 / (n**3 - n)))
    half = Z95 * math.sqrt((1 + inside**2 / 2) / (n - 3))
    low, high = math.tanh(math.atanh(inside) - half), math.tanh(math.atanh(inside) + half)
    return rho, (-1.0 if rho <= -1 + 1e-12 else low), (1.0 if rho >= 1 - 1e-12 else high), p
