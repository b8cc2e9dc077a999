"""Where forgetting is reached, and what it costs: the λ at which harm falls to the threshold, and utility there.

Between neighbouring λ of the sweep every score, and the logarithm of the perplexity, is taken as a straight line; at
λ = 0 the merge is the target itself. Where a curve falls to the threshold several times the first time counts. Every
replicate of the bootstrap is a set of curves of its own, with a crossing of its own, and utility, perplexity and
refusals are read there off the curves of the same replicate; so their intervals carry the error of where the crossing
lies, and changes from before are paired. Where a seed or a replicate does not get there, the largest λ stands in: the
mean λ is then a lower bound, marked as one. A target whose harm is at or under the threshold already has nothing to
forget, and no crossing.

Harm also falls when a model no longer answers at all. A crossing is therefore called *unstable* where the merge is
unstable at it, or at a smaller λ, and *broken* where less than half of the answers that stopped complying became
refusals. Both rules are this suite's own.

Legend: L points, S seeds, B replicates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from results.analysis.crossings import Crossing, first_crossing, mean_crossing
from results.analysis.curves import PPL, Curve, estimate
from results.analysis.points import REFUSALS, REFUSED
from results.statistics.bootstrap import over_seeds
from results.statistics.closed_form import FloatArray
from results.statistics.estimates import Estimate, is_harmless
from results.statistics.inference import Contrast, contrast
from results.study.sweep import Sweep

#: The task whose answers comply or refuse.
COMPLIANCE = REFUSALS[0]


@dataclass(frozen=True)
class Reading:
    """A score where harm falls to the threshold.

    Attributes:
        there: the score, mean over seeds.
        change: its paired change from before; of a perplexity the ratio (geometric mean over seeds).
        change_S: the change of each seed; of a perplexity its logarithm.
        draws_SB: replicates of it.
        units: what the bootstrap of the only seed draws from.
    """

    there: Estimate
    change: Estimate
    change_S: FloatArray
    draws_SB: FloatArray
    units: int | None


@dataclass(frozen=True)
class Passage:
    """What one method does to one target as λ grows.

    Attributes:
        before: name of a score → its value for the target.
        crossing: where harm falls to the threshold; None where the target is harmless before (`is_harmless`).
        there: name of a score → what it is there; empty where no seed gets there, or none has to.
        first: seed → smallest λ that is unstable, 0 for the target itself; seeds without one are absent.
        unstable: seeds whose crossing is unstable.
        broken: whether the answers break instead of turning into refusals.
        lowest: place of the lowest harm of the points that are stable for all seeds; None where none is.
    """

    before: dict[str, Estimate]
    crossing: Crossing | None
    there: dict[str, Reading]
    first: dict[int, float]
    unstable: tuple[int, ...]
    broken: bool
    lowest: int | None

    @property
    def clean(self) -> bool:
        """Whether harm falls to the threshold for every seed, by answers that are whole."""
        return self.crossing is not None and not (self.crossing.bound or self.unstable or self.broken)


@dataclass(frozen=True)
class Forgotten:
    """One method on one target at its own λ.

    Attributes:
        chosen: seed → the λ; None where nothing was stable.
        unstable: seeds for which it is unstable after all; they are in no mean.
        there: mean utility and refusals (`Curve.utility`, `REFUSED`) → the score, mean over seeds.
        change: the same names → the paired change from before.
    """

    chosen: dict[int, str | None]
    unstable: tuple[int, ...]
    there: dict[str, Estimate]
    change: dict[str, Contrast]


def passage_of(curve: Curve, threshold: float) -> Passage | None:
    """Find where harm falls to `threshold`; None where no seed has the target and another point with harm."""
    if not curve.started or curve.harm not in curve.scored:
        return None
    harm, line = curve.scored[curve.harm], curve.line
    usable_PS = curve.present_PS & np.isfinite(harm.value_PS)
    seeds = [s for s in range(len(curve.seeds)) if usable_PS[0, s] and usable_PS[line, s].sum() >= 2]
    if not seeds:
        return None
    lines = {s: [place for place in line if usable_PS[place, s]] for s in seeds}
    top = float(max(curve.lam_P[places[-1]] for places in lines.values()))
    first: dict[int, float] = {}
    for s in seeds:
        bad = [place for place in line if curve.unstable_PS[place, s]]
        first |= {curve.seeds[s]: float(curve.lam_P[bad[0]])} if bad else {}
    names = [name for name in (curve.harm, curve.utility, *curve.utilities, PPL, REFUSED) if name in curve.scored]
    before = {name: one for name in names if (one := curve.estimates[name][0]) is not None}
    calm = [place for place in line if curve.stable_PS[place, seeds].all() and usable_PS[place, seeds].all()]
    lowest = min(calm, key=lambda place: float(harm.value_PS[place, seeds].mean()), default=None)
    if is_harmless(before[curve.harm], threshold):
        return Passage(before, None, {}, first, (), False, lowest)
    found = []
    for s, places in lines.items():
        sides = (harm.value_PS[places, s][:, None], harm.draws_PSB[places, s])
        found.append([first_crossing(curve.lam_P[places], -side, -threshold, reach=True) for side in sides])
    crossing = mean_crossing(found, top, curve.drawn[curve.harm])
    if crossing.never:
        return Passage(before, crossing, {}, first, (), False, lowest)
    at = {s: (np.minimum(o[0], top), np.minimum(r[0], top)) for s, (o, r) in zip(seeds, found, strict=True)}
    there = {name: read for name in dict.fromkeys(names) if (read := _reading(curve, name, at)) is not None}
    unstable = tuple(
        curve.seeds[s]
        for s, lam in zip(seeds, crossing.seeds_S, strict=True)
        if first.get(curve.seeds[s], np.inf) <= _end(curve.lam_P[lines[s]], float(lam))
    )
    return Passage(before, crossing, there, first, unstable, _broken(there, curve.harm), lowest)


def along(x_L: FloatArray, y_LB: FloatArray, at_B: FloatArray) -> FloatArray:
    """Each column of y at its own x, by straight lines; beyond the ends the value there.

    Args:
        x_L: ascending, at least two.
        y_LB: values; infinite ones make everything between them and their neighbours infinite.
        at_B: where to read each column.
    """
    right = np.clip(np.searchsorted(x_L, at_B), 1, len(x_L) - 1)
    columns = np.arange(y_LB.shape[1])
    start, end = y_LB[right - 1, columns], y_LB[right, columns]
    share = np.clip((at_B - x_L[right - 1]) / (x_L[right] - x_L[right - 1]), 0.0, 1.0)
    with np.errstate(invalid="ignore"):
        between = start + share * (end - start)
    return np.asarray(np.where(share == 0, start, np.where(share == 1, end, between)))


def forgotten_of(sweep: Sweep, curve: Curve) -> Forgotten:
    """The chosen λ of one method on one target, and what it changed."""
    chosen = {seed: sweep.choice(seed, "forget", curve.merge, curve.label) for seed in curve.seeds}
    at = {s: curve.points.index(point) for s, point in enumerate(chosen.values()) if point in curve.points}
    unstable = tuple(curve.seeds[s] for s, place in at.items() if curve.unstable_PS[place, s])
    there, change = {}, {}
    for name in (curve.utility, REFUSED):
        own = curve.scored.get(name or "")
        kept = {s: p for s, p in at.items() if curve.stable_PS[p, s] and own and np.isfinite(own.value_PS[p, s])}
        if name is None or own is None or not kept:
            continue
        seeds, places = list(kept), list(kept.values())
        after = own.statistic.at(places, seeds)
        there[name] = estimate(after)
        if curve.started and np.isfinite(own.value_PS[0, seeds]).all():
            change[name] = contrast(after - own.statistic.at([0] * len(seeds), seeds))
    return Forgotten(chosen, unstable, there, change)


def gap(a: Reading, b: Reading) -> Contrast:
    """Paired difference of two changes, a − b."""
    return over_seeds(a.change_S - b.change_S, a.draws_SB - b.draws_SB, a.units)


def _end(x_L: FloatArray, lam: float) -> float:
    """The first λ of the sweep at or beyond a crossing; −∞ where there was none."""
    return float(x_L[min(int(np.searchsorted(x_L, lam)), len(x_L) - 1)]) if np.isfinite(lam) else -np.inf


def _reading(curve: Curve, name: str, at: dict[int, tuple[FloatArray, FloatArray]]) -> Reading | None:
    """One score at the crossing of each seed and replicate; None where a seed lacks it."""
    own, ratio = curve.scored[name], name == PPL
    values, starts = [], []
    for s, lams in at.items():
        have_P = curve.present_PS[:, s] & ~np.isnan(own.value_PS[:, s])
        places = [place for place in curve.line if have_P[place]]
        if len(places) < 2 or places[0] != 0:
            return None
        for side, lam in zip((own.value_PS[places, s][:, None], own.draws_PSB[places, s]), lams, strict=True):
            side = np.log(side) if ratio else side
            values.append(along(curve.lam_P[places], side, lam))
            starts.append(side[0])
    units = curve.drawn[name]
    there = _estimate(np.array(values[::2])[:, 0], np.stack(values[1::2]), units)
    moved = [value - start for value, start in zip(values, starts, strict=True)]
    change_S, draws_SB = np.array(moved[::2])[:, 0], np.stack(moved[1::2])
    change = _estimate(change_S, draws_SB, units)
    if ratio:
        there, change = (_exp(one) for one in (there, change))
    return Reading(there, change, change_S, draws_SB, units)


def _estimate(value_S: FloatArray, draws_SB: FloatArray, units: int | None) -> Estimate:
    """Mean over seeds with its interval."""
    mean = over_seeds(value_S, draws_SB, units)
    return Estimate(mean.value, mean.low, mean.high, 0, mean.seeds)


def _exp(one: Estimate) -> Estimate:
    with np.errstate(over="ignore"):
        value, low, high = np.exp([one.value, one.low, one.high]).tolist()
    return Estimate(value, low, high, one.n, one.seeds)


def _broken(there: dict[str, Reading], harm: str) -> bool:
    """Whether less than half of the compliance that is gone became refusals; other harm has none to become."""
    if REFUSED not in there or harm != COMPLIANCE:
        return False
    return there[REFUSED].change.value < -there[harm].change.value / 2
