"""Ways of choosing λ side by side: for each method what each way chose, its test score, and that against a fixed λ.

Differences are paired: over trainings, with one seed over the test items. A sweep has its own way (``choices``);
what others chose stands in ``others``.

Legend: P points, S seeds, B replicates.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from results.analysis.curves import PPL, Curve, estimate
from results.statistics.estimates import Estimate
from results.statistics.inference import Contrast, Statistic, contrast, mean_of
from results.study.run import rows_of
from results.study.sweep import Sweep

#: Ways of choosing in the order of tables.
WAYS = ("fixed", "grid", "metagpt", "search")


@dataclass(frozen=True)
class Gap:
    """Score of one way minus that of the reference, mean over the seeds that have both.

    Attributes:
        seeds: which.
        statistic: the difference in each of them, shape (S,).
        own: the difference with its interval.
    """

    seeds: tuple[int, ...]
    statistic: Statistic
    own: Contrast

    @classmethod
    def of(cls, seeds: Sequence[int], statistic: Statistic) -> Gap:
        return cls(tuple(seeds), statistic, contrast(statistic))


@dataclass(frozen=True)
class Way:
    """What one way of choosing λ made of one method on one merge.

    Attributes:
        chosen: seed → point; None where it found none.
        unstable: seeds for which the point is unstable; they are in no mean.
        score: test score (the sweep's objective) there, mean over seeds; None where no seed is stable.
        perplexity: word perplexity there, mean over the same seeds; NaN where there is none.
        gap: its score minus the reference's; None for the reference itself, and where no seed has both.
    """

    chosen: dict[int, str | None]
    unstable: tuple[int, ...]
    score: Estimate | None
    perplexity: float
    gap: Gap | None


def in_order(names: Iterable[str]) -> list[str]:
    """Ways of choosing in the order of tables, others after them."""
    return sorted(set(names), key=lambda name: (WAYS.index(name) if name in WAYS else len(WAYS), name))


def reference_of(sweep: Sweep) -> str:
    """The way that the others are compared with: a fixed λ, or the sweep's own way where none is fixed."""
    have = {*sweep.choices["selection"], *sweep.others["selection"]}
    return "fixed" if "fixed" in have else str(sweep.meta.get("selection", "grid"))


def ways_of(sweep: Sweep, curve: Curve) -> dict[str, Way]:
    """Way of choosing → what it made of one method on one merge; empty where the sweep has one way alone.

    Args:
        sweep: where the choices come from.
        curve: the method's points, with their draws.
    """
    found = _chosen(sweep, curve) if len(sweep.others) else {}
    if len(found) < 2 or curve.objective not in curve.scored:
        return {}
    kept = {name: _stable(curve, chosen) for name, chosen in found.items()}
    reference = reference_of(sweep)
    against = {name: kept.get(reference) if name != reference else None for name in found}
    return {name: _way(curve, found[name], kept[name], against[name]) for name in found}


def _chosen(sweep: Sweep, curve: Curve) -> dict[str, dict[int, str | None]]:
    """Way → seed → point; the sweep's own choices before those of others of the same name."""
    frame = pd.concat([sweep.choices, sweep.others], ignore_index=True)
    own = (frame["kind"] == curve.kind) & (frame["merge"] == curve.merge) & (frame["label"] == curve.label)
    found: dict[str, dict[int, str | None]] = {}
    for row in rows_of(frame[own]):
        of = found.setdefault(str(row.selection), dict.fromkeys(curve.seeds))
        of[int(row.seed)] = of[int(row.seed)] or str(row.point)
    return {name: found[name] for name in in_order(found)}


def _stable(curve: Curve, chosen: dict[int, str | None]) -> dict[int, int]:
    """Place of a seed → place of its point, where that is stable."""
    at = {s: curve.points.index(point) for s, point in enumerate(chosen.values()) if point is not None}
    return {s: place for s, place in at.items() if curve.stable_PS[place, s]}


def _way(curve: Curve, chosen: dict[int, str | None], kept: dict[int, int], reference: dict[int, int] | None) -> Way:
    broken = tuple(seed for s, seed in enumerate(curve.seeds) if chosen[seed] is not None and s not in kept)
    if not kept:
        return Way(chosen, broken, None, float("nan"), None)
    score, seeds, places = curve.scored[curve.objective], list(kept), list(kept.values())
    perplexity = curve.scored[PPL].value_PS[places, seeds].mean() if PPL in curve.scored else np.nan
    there = estimate(score.statistic.at(places, seeds))
    return Way(chosen, broken, there, float(perplexity), _gap(curve, kept, reference) if reference else None)


def _gap(curve: Curve, a: dict[int, int], b: dict[int, int]) -> Gap | None:
    seeds = [s for s in a if s in b]
    if not seeds:
        return None
    score = curve.scored[curve.objective].statistic
    gap = score.at([a[s] for s in seeds], seeds) - score.at([b[s] for s in seeds], seeds)
    return Gap.of([curve.seeds[s] for s in seeds], gap)


def common_seeds(gaps: Iterable[Gap]) -> list[int]:
    """The seeds that all differences have; none where there is no difference."""
    seeds = [set(gap.seeds) for gap in gaps]
    return sorted(set.intersection(*seeds)) if seeds else []


def mean_gap(gaps: Sequence[Gap], seeds: Sequence[int]) -> Gap:
    """The mean of differences over methods and merges, from the same draws of items and seeds.

    Args:
        gaps: the differences, at least one.
        seeds: some seeds that all of them have. A mean over others would mix means of different families, whose
            draws of seeds have nothing to do with one another.
    """
    parts = [gap.statistic.of([gap.seeds.index(seed) for seed in seeds]) for gap in gaps]
    return Gap.of(seeds, mean_of(parts))
