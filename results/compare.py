"""Paired comparisons: the confirmatory family, corrected after Holm, and everything else, labelled exploratory.

Confirmatory: each LATA schedule against `ta`, `ties`, `dare`, for each learning merge, on word perplexity and on
the primary metric of each task that was merged. One Holm correction over all of them. Exploratory, uncorrected:
other methods, controls, tasks outside the merge, forgetting.

Tests: exact McNemar for one seed and right-or-wrong items that are independent; otherwise the paired bootstrap,
with several seeds the hierarchical one (`bootstrap`). Intervals are always the bootstrap's. With several seeds a
difference counts as significant only where every seed has its sign; three seeds support no more than that.
Where the noise floor of a task is known (`noise`), a difference that is no larger is not significant either.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from results.bootstrap import equivalence_p, interval, two_sided_p
from results.estimates import Measure, rounded
from results.lineup import BASELINES, OTHERS, Lineup, Model, base_name, is_lata
from results.statistics import FloatArray, holm, mcnemar_exact
from results.wording import PERCENT

ALPHA = 0.05
CONFIRMATORY_BASELINES = ("ta", "ties", "dare")

#: Columns of `comparisons.csv`, one row a pair of models and a task. ``difference`` is a − b; ``better`` names the
#: better side by point estimate (empty where neither direction is wanted); ``p_corrected`` is Holm's for the
#: confirmatory family, empty elsewhere; ``p_equivalent`` tests equivalence within the study's utility margin;
#: ``same_sign`` counts the seeds whose difference has the sign of the mean; ``noise_floor`` is what
#: a score of this task moves by when an evaluation is repeated with another batch size (empty where unknown).
COLUMNS = (
    *("family", "kind", "merge", "task", "metric", "a", "b", "status", "value_a", "value_b", "difference"),
    *("ci_low", "ci_high", "better", "test", "p", "p_corrected", "significant", "p_equivalent", "noise_floor"),
    *("n", "seeds", "same_sign", "unstable_a", "unstable_b"),
)


@dataclass(frozen=True)
class Pair:
    """Two models to compare within one merge."""

    a: Model
    b: Model
    kind: str
    merge: str

    def confirmatory(self, task: str, lineup: Lineup) -> bool:
        """Whether this pair on this task belongs to the confirmatory family."""
        wanted = self.kind == "learn" and is_lata(self.a.label) and base_name(self.b.label) in CONFIRMATORY_BASELINES
        return wanted and (task == "wikitext" or task in lineup.members(self.merge))


def pairs(lineup: Lineup) -> list[Pair]:
    """All pairs that tables, claims and the report need, each once, in table order."""
    found: dict[tuple[Model, Model], Pair] = {}

    def add(a: Model, b: Model, kind: str, merge: str) -> None:
        if a in lineup.position and b in lineup.position and a != b and (b, a) not in found:
            found.setdefault((a, b), Pair(a, b, kind, merge))

    for merge in lineup.merges("learn"):
        labels = lineup.labels("learn", merge)
        rivals = [label for label in labels if base_name(label) in (*BASELINES, *OTHERS) or lineup.is_control(label)]
        for label in labels:
            add(Model("learn", merge, label), Model("learn", merge, lineup.baseline), "learn", merge)
        for label in labels:
            if is_lata(label):
                for other in rivals:
                    add(Model("learn", merge, label), Model("learn", merge, other), "learn", merge)
    for merge in lineup.merges("forget"):
        target = lineup.target(merge)
        for label in lineup.labels("forget", merge):
            key = Model("forget", merge, label)
            if target is not None:
                add(key, target, "forget", merge)
            add(key, Model("forget", merge, lineup.baseline), "forget", merge)
    return list(found.values())


def compare(lineup: Lineup, measures: dict[str, Measure]) -> pd.DataFrame:
    """Compare all pairs on every task's primary metric; see `COLUMNS`. Empty where there is nothing to compare."""
    margin = float(lineup.meta.get("utility_margin", 0.02))
    wanted = pairs(lineup)
    frames = [_on_task(lineup, measure, wanted, margin) for measure in measures.values()]
    frames = [frame for frame in frames if not frame.empty]
    if not frames:
        return pd.DataFrame(columns=list(COLUMNS))
    table = pd.concat(frames, ignore_index=True)
    family = table["status"] == "confirmatory"
    corrected = np.full(len(table), np.nan)
    corrected[family] = holm(table.loc[family, "p"].to_numpy())
    table["p_corrected"] = corrected
    decisive = np.where(family, corrected, table["p"])
    floor = table["noise_floor"] = table["task"].map(lineup.meta.get("noise_floor") or {}).astype(float)
    above_noise = ~(table["difference"].abs() <= floor)
    table["significant"] = (decisive < ALPHA) & (table["same_sign"] == table["seeds"]) & above_noise
    for column in (
        *("value_a", "value_b", "difference", "ci_low", "ci_high"),
        *("p", "p_corrected", "p_equivalent", "noise_floor"),
    ):
        table[column] = rounded(table[column].to_numpy(np.float64))
    place = {(pair.a, pair.b): index for index, pair in enumerate(wanted)}
    keys = zip(table.pop("_a"), table.pop("_b"), strict=True)
    table["_order"] = [place[key] for key in keys]
    table["_status"] = ~family
    table = table.sort_values(["_status", "_order"], kind="stable", ignore_index=True)
    return table[list(COLUMNS)]


def _on_task(lineup: Lineup, measure: Measure, wanted: list[Pair], margin: float) -> pd.DataFrame:
    """The comparisons of one task, pairs with the same seeds together."""
    by_seeds: dict[tuple[int, ...], list[Pair]] = {}
    for pair in wanted:
        seeds = measure.scored_seeds(lineup.position[pair.a], lineup.position[pair.b])
        if seeds or lineup.unstable_seeds(pair.a) or lineup.unstable_seeds(pair.b):
            by_seeds.setdefault(seeds, []).append(pair)
    rows: list[dict[str, object]] = []
    for seeds, group in by_seeds.items():
        a = np.array([lineup.position[pair.a] for pair in group])
        b = np.array([lineup.position[pair.b] for pair in group])
        stats = paired(measure, a, b, seeds, margin) if seeds else _not_scored(len(group))
        test = ("none", "paired bootstrap", "hierarchical bootstrap")[min(len(seeds), 2)]
        test = "McNemar exact" if _exact(measure, seeds) else test
        for index, pair in enumerate(group):
            difference = stats["difference"][index]
            sign = np.sign(difference) * lineup.direction(pair.kind, pair.merge, measure.task)
            rows.append(
                {
                    "family": lineup.meta.get("family", ""),
                    "kind": pair.kind,
                    "merge": pair.merge,
                    "task": measure.task,
                    "metric": measure.grid.metric,
                    "a": pair.a.label,
                    "b": pair.b.label,
                    "_a": pair.a,
                    "_b": pair.b,
                    "status": "confirmatory" if pair.confirmatory(measure.task, lineup) else "exploratory",
                    **{name: values[index] for name, values in stats.items()},
                    "better": {1.0: pair.a.label, -1.0: pair.b.label}.get(float(sign), ""),
                    "test": test,
                    "n": measure.n,
                    "seeds": len(seeds),
                    "unstable_a": bool(lineup.unstable_seeds(pair.a)),
                    "unstable_b": bool(lineup.unstable_seeds(pair.b)),
                }
            )
    return pd.DataFrame(rows)


def _not_scored(count: int) -> dict[str, FloatArray]:
    """For pairs of which one side was too unstable to be scored: no numbers, and no seed agrees."""
    names = ("value_a", "value_b", "difference", "ci_low", "ci_high", "p", "p_equivalent")
    return {**{name: np.full(count, np.nan) for name in names}, "same_sign": np.zeros(count, dtype=int)}


def _exact(measure: Measure, seeds: tuple[int, ...]) -> bool:
    """Whether McNemar's test applies: one seed, right-or-wrong items, none of which belong together."""
    return len(seeds) == 1 and measure.grid.binary and not measure.grid.clustered


def paired(
    measure: Measure, a: np.ndarray, b: np.ndarray, seeds: tuple[int, ...], margin: float
) -> dict[str, FloatArray]:
    """Paired statistics of models `a` against models `b` (places in the line-up) over the given seeds.

    Returns:
        Columns of `COLUMNS` that are numbers, each of shape (len(a),).
    """
    points = measure.point_MS[:, list(seeds)]
    points_a, points_b = points[a], points[b]
    with np.errstate(invalid="ignore"):
        per_seed = points_a - points_b
        difference = points_a.mean(1) - points_b.mean(1)
    used, inverse = np.unique(np.concatenate([a, b]), return_inverse=True)
    draws = measure.replicates.mean(used.tolist(), seeds)
    units = measure.units(seeds)
    low, high, p, p_equivalent = (np.full(len(a), np.nan) for _ in range(4))
    for start in range(0, len(a), 64):
        part = slice(start, start + 64)
        with np.errstate(invalid="ignore"):
            gap = draws[inverse[: len(a)][part]] - draws[inverse[len(a) :][part]]
        low[part], high[part] = interval(gap, units=units)
        p[part] = two_sided_p(gap, units)
        p_equivalent[part] = equivalence_p(gap, margin, units) if measure.grid.kind in PERCENT else np.nan
    if _exact(measure, seeds):
        right = measure.grid.seeds[seeds[0]].value_NM
        first, second = right[:, a], right[:, b]
        p = mcnemar_exact((first > second).sum(0), (second > first).sum(0))
    return {
        "value_a": points_a.mean(1),
        "value_b": points_b.mean(1),
        "difference": difference,
        "ci_low": low,
        "ci_high": high,
        "p": p,
        "p_equivalent": p_equivalent,
        "same_sign": ((np.sign(per_seed) == np.sign(difference)[:, None]) & (per_seed != 0)).sum(1),
    }
