"""Methods ranked over many cells: mean ranks, Friedman's test, and Nemenyi's critical difference.

A *cell* is one merge and one task, its score the mean over seeds: seeds of one cell measure the same thing and are
averaged first. In each cell the methods get ranks, 1 for the best, equal scores the mean of their places; a method
that is unstable there gets the worst place. Friedman's test asks whether the mean ranks could come from methods that
do equally well, and two methods whose mean ranks lie closer than the critical difference cannot be told apart.

What this assumes: cells that are independent draws from the cells one cares about. Cells of merges that share an
expert or test items are not quite, so that p-values and the critical difference are too sharp rather than too blunt.
The bootstrap intervals of the mean ranks beside them take cells and trainings as given and resample test items.

Sources: Demšar, "Statistical comparisons of classifiers over multiple data sets", JMLR 7 (2006), §3.2.2 to 3.2.4;
Friedman, JASA 32 (1937), with the correction for ties of Conover, "Practical nonparametric statistics" (3rd ed.
1999), §5.8; Iman and Davenport, Communications in Statistics A 9 (1980); Nemenyi (1963).

Legend: K methods, N cells, B replicates.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from results.statistics.bootstrap import REPLICATES, interval
from results.statistics.closed_form import FloatArray
from results.statistics.estimates import Measure
from results.statistics.inference import ALPHA
from results.study.lineup import Lineup, Model

Cell = tuple[str, str]  # merge, task


@dataclass(frozen=True)
class Friedman:
    """Friedman's test with the correction of Iman and Davenport.

    Attributes:
        chi2: Friedman's χ² with k − 1 degrees of freedom, corrected for ties.
        chi2_p: its p-value.
        f: Iman and Davenport's F with k − 1 and (k − 1)(n − 1) degrees of freedom; infinite where all cells agree.
        p: its p-value, the one to read.
    """

    chi2: float
    chi2_p: float
    f: float
    p: float


@dataclass(frozen=True)
class Ranking:
    """Methods by mean rank, the best first.

    Attributes:
        labels: the methods, K.
        cells: (merge, task) of each cell, N.
        ranks_KN: rank of each method in each cell, 1 is best.
        mean_K: mean ranks, ascending.
        low_K: lower ends of their 95 % bootstrap intervals.
        high_K: upper ends.
        friedman: None where there is one cell only.
        critical: Nemenyi's critical difference at 0.05; NaN where there is one cell only.
        groups: places (first, last) of methods next to one another that cannot be told apart.
    """

    labels: tuple[str, ...]
    cells: tuple[Cell, ...]
    ranks_KN: FloatArray
    mean_K: FloatArray
    low_K: FloatArray
    high_K: FloatArray
    friedman: Friedman | None
    critical: float
    groups: tuple[tuple[int, int], ...]


def ranked(scores_KX: FloatArray) -> FloatArray:
    """Ranks of K rows in each column: 1 for the highest, equal scores their mean place, NaN the worst places.

    Args:
        scores_KX: higher is better; any number of columns.

    Returns:
        Same shape.
    """
    from scipy.stats import rankdata

    return np.asarray(rankdata(-np.where(np.isnan(scores_KX), -np.inf, scores_KX), axis=0))


def friedman(ranks_KN: FloatArray) -> Friedman:
    """Friedman's test on ranks within cells; all NaN where every cell ties all methods.

    By hand, for scipy's refuses two methods; with three or more it gives the same χ².

    Raises:
        ValueError: fewer than two methods or cells.
    """
    from scipy.special import chdtrc, fdtrc

    k, n = ranks_KN.shape
    if k < 2 or n < 2:
        raise ValueError(f"Friedman's test needs two methods and two cells, not {k} and {n}")
    # The sum of squares within cells is k(k² − 1)/12 a cell without ties and less with them: Conover's form.
    within = float(((ranks_KN - (k + 1) / 2) ** 2).sum())
    if within == 0:
        return Friedman(*[math.nan] * 4)
    between = n * float(((ranks_KN.mean(1) - (k + 1) / 2) ** 2).sum())
    chi2 = (k - 1) * n * between / within
    rest = n * (k - 1) - chi2
    f = math.inf if rest <= 1e-9 * n * k else (n - 1) * chi2 / rest
    p = 0.0 if math.isinf(f) else float(fdtrc(k - 1, (k - 1) * (n - 1), f))
    return Friedman(chi2, float(chdtrc(k - 1, chi2)), f, p)


def critical_difference(methods: int, cells: int, alpha: float = ALPHA) -> float:
    """Nemenyi's critical difference of two mean ranks, q sqrt(k (k + 1) / (6 n)) (Demšar 2006, §3.2.2).

    q is the upper point of the studentized range for k groups and infinitely many degrees of freedom, over sqrt(2).
    """
    from scipy.stats import studentized_range

    q = float(studentized_range.ppf(1 - alpha, methods, np.inf)) / math.sqrt(2)
    return q * math.sqrt(methods * (methods + 1) / (6 * cells))


def groups(mean_K: FloatArray, critical: float) -> tuple[tuple[int, int], ...]:
    """Longest runs (first, last) of at least two ascending mean ranks that all lie closer than `critical`."""
    found: list[tuple[int, int]] = []
    for first in range(len(mean_K)):
        last = int(np.flatnonzero(mean_K - mean_K[first] < critical)[-1])
        if last > first and (not found or last > found[-1][1]):
            found.append((first, last))
    return tuple(found)


def ranking(
    lineup: Lineup, measures: Mapping[str, Measure], labels: Sequence[str], cells: Sequence[Cell]
) -> Ranking | None:
    """Rank methods over cells; see the module's text.

    Args:
        lineup: the models at the points that are compared.
        measures: task → its primary metric for these models.
        labels: methods; one that has no model in a cell is last there.
        cells: (merge, task), tasks with a direction.

    Returns:
        None with fewer than two methods or no cell.
    """
    if len(labels) < 2 or not cells:
        return None
    ranks, total_KB = [], np.zeros((len(labels), REPLICATES))
    for merge, task in cells:
        point_K, draws_KB = _cell(lineup, measures[task], labels, merge)
        ranks.append(ranked(point_K[:, None])[:, 0])
        total_KB += ranked(draws_KB)
    ranks_KN = np.stack(ranks, axis=1)
    mean_K = ranks_KN.mean(1)
    low_K, high_K = interval(total_KB / len(cells))
    order = np.argsort(mean_K, kind="stable")
    many = len(cells) > 1
    critical = critical_difference(len(labels), len(cells)) if many else math.nan
    return Ranking(
        labels=tuple(labels[place] for place in order),
        cells=tuple(cells),
        ranks_KN=ranks_KN[order],
        mean_K=mean_K[order],
        low_K=low_K[order],
        high_K=high_K[order],
        friedman=friedman(ranks_KN) if many else None,
        critical=critical,
        groups=groups(mean_K[order], critical) if many else (),
    )


def _cell(lineup: Lineup, measure: Measure, labels: Sequence[str], merge: str) -> tuple[FloatArray, FloatArray]:
    """Scores (K,) and replicates (K, B) of one cell, higher is better; NaN where there is no stable model.

    Means are over the seeds for which all stable models were scored.
    """
    point_K, draws_KB = np.full(len(labels), np.nan), np.full((len(labels), REPLICATES), np.nan)
    keys = [Model("learn", merge, label) for label in labels]
    stable = [i for i, key in enumerate(keys) if key in lineup.position and not lineup.unstable_seeds(key)]
    places = [lineup.position[keys[i]] for i in stable]
    seeds = measure.scored_seeds(*places) if places else ()
    if seeds:
        sign = lineup.direction("learn", merge, measure.task)
        point_K[stable] = sign * measure.point_MS[np.ix_(places, seeds)].mean(1)
        draws_KB[stable] = sign * measure.replicates.mean(places, seeds)
    return point_K, draws_KB
