"""Paired comparisons: the confirmatory family, corrected after Holm, and everything else, labelled exploratory.

Confirmatory: what the claims C1 and C2 name, each LATA schedule of the study against its `ta`, `ties` and `dare`
(`Lineup.named`), for each learning merge, on word perplexity and on the primary metric of each task that was merged.
One Holm correction over all of them. The method that tables mark against (``baseline``) has no say in it.
Exploratory, uncorrected: other methods, controls, tasks outside the merge, forgetting.

Tests: with several seeds a t test over trainings, with one seed over items (`inference`); for one seed and
right-or-wrong items that are independent exact McNemar, on items as well. Intervals are always those of the t test.
Where the noise floor of a task is known (`noise`), a difference that is no larger is not significant either.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from results.statistics.closed_form import FloatArray, holm, mcnemar_exact
from results.statistics.estimates import Measure, rounded
from results.statistics.inference import ALPHA, Inference, same_sign
from results.study.lineup import Lineup, Model, base_name
from results.study.wording import PERCENT

CONFIRMATORY_BASELINES = ("ta", "ties", "dare")
EXACT, ITEMS, TRAININGS = "McNemar exact", "t over items", "t over trainings"

#: Columns of `comparisons.csv`, one row a pair of models and a task. ``difference`` is a − b with its 95 % interval,
#: standard ``error`` and degrees of freedom ``df``; ``better`` names the better side by point estimate (empty where
#: neither direction is wanted); ``test`` says over what it generalises: `EXACT` and `ITEMS` over test items (one
#: trained family), `TRAININGS` over trainings; ``p_corrected`` is Holm's for the confirmatory family, empty
#: elsewhere; ``p_not_worse`` tests that `a` is not worse than `b` by the study's utility margin (rates and shares,
#: one-sided); ``detectable``: the true difference that the test would have found with 80 % power, for the
#: confirmatory family at Holm's first step; ``same_sign`` counts the seeds whose difference has the sign of the mean;
#: ``noise_floor`` is what a score of this task moves by when an evaluation is repeated with another batch size (empty
#: where unknown; of a perplexity as a share of it).
COLUMNS = (
    *("family", "kind", "merge", "task", "metric", "a", "b", "status", "value_a", "value_b", "difference"),
    *("ci_low", "ci_high", "error", "df", "better", "test", "p", "p_corrected", "significant", "p_not_worse"),
    *("detectable", "noise_floor", "n", "seeds", "same_sign", "unstable_a", "unstable_b"),
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
        named = {lineup.named("learn", name) for name in CONFIRMATORY_BASELINES}
        lata = lineup.is_lata(self.a.label) and not lineup.is_control(self.a.label)
        wanted = self.kind == "learn" and lata and self.b.label in named
        return wanted and (task == "wikitext" or task in lineup.members(self.merge))


def pairs(lineup: Lineup) -> list[Pair]:
    """All pairs that claims, tables and the report need, each once; those of the claims first, for any baseline."""
    found: dict[tuple[Model, Model], Pair] = {}

    def add(a: Model, b: Model, kind: str, merge: str) -> None:
        if a in lineup.position and b in lineup.position and a != b and (b, a) not in found:
            found.setdefault((a, b), Pair(a, b, kind, merge))

    for merge in lineup.merges("learn"):
        labels = lineup.labels("learn", merge)
        controls = [label for label in labels if lineup.is_control(label)]
        rivals = [label for label in labels if base_name(label) in lineup.of_group("baseline")] + controls
        asked = [(label, rival) for label in labels if lineup.is_lata(label) for rival in rivals]
        asked += [(control, label) for label in labels if base_name(label) == "ta" for control in controls]
        asked += [(label, lineup.baseline) for label in labels]
        for a, b in asked:
            add(Model("learn", merge, a), Model("learn", merge, b), "learn", merge)
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
    family = (table["status"] == "confirmatory").to_numpy()
    corrected = np.full(len(table), np.nan)
    corrected[family] = holm(table.loc[family, "p"].to_numpy())
    table["p_corrected"] = corrected
    decisive = np.where(family, corrected, table["p"])
    floor = table["noise_floor"] = table["task"].map(lineup.meta.get("noise_floor") or {}).astype(float)
    table["significant"] = (decisive < ALPHA) & above_noise(table, floor)
    level = np.where(family, ALPHA / max(int((family & table["p"].notna()).sum()), 1), ALPHA)
    every = Inference(*(table[name].to_numpy(float) for name in ("difference", "error", "df")))
    table["detectable"] = every.detectable(level)
    for column in table.select_dtypes("float"):
        table[column] = rounded(table[column].to_numpy(np.float64))
    place = {(pair.a, pair.b): index for index, pair in enumerate(wanted)}
    keys = zip(table.pop("_a"), table.pop("_b"), strict=True)
    table["_order"] = [place[key] for key in keys]
    table["_status"] = ~family
    table = table.sort_values(["_status", "_order"], kind="stable", ignore_index=True)
    return table[list(COLUMNS)]


def above_noise(table: pd.DataFrame, floor: pd.Series) -> pd.Series:
    """Whether a difference is larger than the noise floor, where there is one; that of perplexities is a share."""
    unit = table[["value_a", "value_b"]].abs().max(axis=1).where(table["metric"].str.endswith("perplexity"), 1.0)
    return ~(table["difference"].abs() <= floor * unit)


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
        better = np.array([lineup.direction(pair.kind, pair.merge, measure.task) for pair in group])
        stats = paired(measure, a, b, seeds, better, margin) if seeds else _not_scored(len(group))
        test = ("none", ITEMS, TRAININGS)[min(len(seeds), 2)]
        test = EXACT if _exact(measure, seeds) else test
        for index, pair in enumerate(group):
            sign = np.sign(stats["difference"][index]) * better[index]
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


_NUMBERS = ("value_a", "value_b", "difference", "ci_low", "ci_high", "error", "df", "p", "p_not_worse")


def _not_scored(count: int) -> dict[str, FloatArray]:
    """For pairs of which one side was too unstable to be scored: no numbers, and no seed agrees."""
    return {**{name: np.full(count, np.nan) for name in _NUMBERS}, "same_sign": np.zeros(count, dtype=int)}


def _exact(measure: Measure, seeds: tuple[int, ...]) -> bool:
    """Whether McNemar's test applies: one seed, right-or-wrong items, none of which belong together."""
    return len(seeds) == 1 and measure.grid.binary and not measure.grid.clustered


def paired(
    measure: Measure, a: np.ndarray, b: np.ndarray, seeds: tuple[int, ...], better: np.ndarray, margin: float
) -> dict[str, FloatArray]:
    """Paired statistics of models `a` against models `b` (places in the line-up) over the given seeds.

    Args:
        measure: of the metric.
        a: places of the models on one side.
        b: of those on the other.
        seeds: places of seeds.
        better: +1 where a higher value is better, −1 where a lower one, 0 where neither: then none is worse.
        margin: what is not worse yet.

    Returns:
        Columns of `COLUMNS` that are numbers, each of shape (len(a),).
    """
    one, other = measure.statistic(a, seeds), measure.statistic(b, seeds)
    with np.errstate(invalid="ignore"):
        gap = one - other
        found = gap.infer()
        low, high = found.interval()
        p = found.p
        not_worse = np.where(better > 0, found.p_above(-margin), found.p_below(margin))
    asked = (better != 0) & (measure.grid.kind in PERCENT)
    if _exact(measure, seeds):
        right = measure.grid.seeds[seeds[0]].value_NM
        first, second = right[:, a], right[:, b]
        p = mcnemar_exact((first > second).sum(0), (second > first).sum(0))
    return {
        "value_a": one.value,
        "value_b": other.value,
        "difference": found.value,
        "ci_low": low,
        "ci_high": high,
        "error": found.error,
        "df": found.df,
        "p": p,
        "p_not_worse": np.where(asked, not_worse, np.nan),
        "same_sign": same_sign(gap.value_xS),
    }
