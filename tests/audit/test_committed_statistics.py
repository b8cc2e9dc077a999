"""The committed outcomes, recomputed from their items by code of its own: scores, intervals, marks and verdicts.

Nothing of `results` is imported. What is compared is what a reader sees: ``scores.csv``, ``comparisons.csv``, the
marks of ``tables/`` and the verdicts of ``claims.csv``.
"""

from __future__ import annotations

import json
import math
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

pytestmark = pytest.mark.slow

RESULTS = Path(__file__).resolve().parents[2] / "results" / "outcomes"
STUDIES, SWEEPS = ("mini",), ("mini_sweep", "mini_choosing", "mini_forgetting_l2")
PRIMARY = {
    "wikitext": ("word_perplexity", "none"),
    "gsm8k": ("exact_match", "strict-match"),
    "humaneval": ("pass@1", "create_test"),
    "refusal": ("compliance", "none"),
}
MODEL = ["kind", "merge", "label", "point"]
BASELINES = ("ta", "ties", "dare")
SCHEDULES = ("lata_linear", "lata_log", "lata_threshold")


@lru_cache
def run(name: str) -> tuple[dict[str, Any], pd.DataFrame]:
    """What is known about a committed run, and its items."""
    items = pd.read_parquet(RESULTS / name / "items.parquet")
    return json.loads((RESULTS / name / "study.json").read_text(encoding="utf-8")), items


def table(name: str, file: str) -> pd.DataFrame:
    return pd.read_csv(RESULTS / name / file, dtype={"point": str}, keep_default_na=False, na_values=[""]).fillna(
        {"merge": "", "label": "", "point": "", "better": ""}
    )


def aggregate(metric: str, value: float, weight: float) -> float:
    if metric.endswith("perplexity"):
        return math.exp(-value / weight)
    return -value / weight / math.log(2) if metric == "bits_per_byte" else value / weight


@lru_cache
def clusters(name: str, task: str) -> dict[tuple[str, ...], dict[int, np.ndarray]]:
    """(kind, merge, label, point) → seed → Σ value and Σ weight of every cluster of the test split, (G, 2)."""
    _, items = run(name)
    metric, filter_ = PRIMARY[task]
    own = items[(items["task"] == task) & (items["metric"] == metric) & (items["filter"] == filter_)]
    own = own[own["split"] == "test"]
    sums = own.groupby([*MODEL, "seed", "cluster"], observed=True)[["value", "weight"]].sum().sort_index()
    found: dict[tuple[str, ...], dict[int, np.ndarray]] = {}
    for (*key, seed), part in sums.groupby(level=[*MODEL, "seed"], observed=True):
        found.setdefault(tuple(map(str, key)), {})[int(seed)] = part.to_numpy()
    return found


class Number:
    """A weighted sum of scores with its t interval: over trainings, of a single one over its items."""

    exact: float | None = None  # McNemar's p, where it applies

    def __init__(self, task: str, terms: list[tuple[float, np.ndarray]]) -> None:
        self.value_S, move_SG = np.zeros(1), np.zeros((1, 1))
        for weight, sums_SG2 in terms:
            value_S, weight_S = sums_SG2[..., 0].sum(1), sums_SG2[..., 1].sum(1)
            ratio_S = value_S / weight_S
            score_S, slope_S = (np.exp(-ratio_S), -np.exp(-ratio_S)) if task == "wikitext" else (ratio_S, 1.0)
            off_SG = (sums_SG2[..., 0] - ratio_S[:, None] * sums_SG2[..., 1]) / weight_S[:, None]
            self.value_S = self.value_S + weight * score_S
            move_SG = move_SG + weight * (slope_S * off_SG.T).T
        seeds, units = move_SG.shape
        self.value = float(self.value_S.mean())
        if seeds == 1:
            variance = (move_SG**2).sum() * units / (units - 1) or self.value**2 / 2 / units**2
            self.error, self.df = math.sqrt(variance), units - 1.0
            return
        cov = np.cov(move_SG) * units
        shared = max(cov[~np.eye(seeds, dtype=bool)].mean(), 0.0)
        luck = stats.chi2.ppf(0.05, seeds - 1) / (seeds - 1)
        # a seed whose units all say the same has the variance of half a unit that does not
        own = [v or x**2 / 2 / units**2 for v, x in zip(np.diag(cov), self.value_S, strict=True)]
        among = max(self.value_S.var(ddof=1), luck * max(np.mean(own) - shared, 0.0)) / seeds
        self.error = math.sqrt(among + shared)
        self.df = (among + shared) / (among / (seeds - 1) + shared / (units - 1)) if self.error else seeds - 1.0

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        half = float(stats.t.ppf((1 + level) / 2, self.df)) * self.error
        return self.value - half, self.value + half

    @property
    def p(self) -> float:
        if self.exact is not None:
            return self.exact
        return float(2 * stats.t.sf(abs(self.value) / self.error, self.df)) if self.error else float(self.value == 0)

    def p_more_than(self, bound: float) -> float:
        return float(stats.t.sf((self.value - bound) / self.error, self.df))


def paired(task: str, a: np.ndarray, b: np.ndarray) -> Number:
    """The difference of two scores; one training's right-or-wrong items that stand alone are tested by McNemar."""
    found = Number(task, [(1.0, a), (-1.0, b)])
    if len(a) == 1 and task != "wikitext" and (a[..., 1] == 1).all():
        moved = a[0, :, 0] - b[0, :, 0]
        up, down = int((moved > 0).sum()), int((moved < 0).sum())
        found.exact = float(stats.binomtest(up, up + down).pvalue) if up + down else 1.0
    return found


def holm(p: list[float]) -> list[float]:
    """Step down, by its definition."""
    order, out, top = sorted(range(len(p)), key=lambda i: p[i]), [0.0] * len(p), 0.0
    for rank, i in enumerate(order):
        top = max(top, min(1.0, (len(p) - rank) * p[i]))
        out[i] = top
    return out


def members(meta: dict[str, Any], merge: str) -> list[str]:
    return [meta["expert_task"][expert] for expert in meta["merges"][merge]]


def points(name: str) -> dict[tuple[str, str, str], list[str]]:
    """(kind, merge, label) → the point of each seed."""
    record, _ = run(name)
    choices = pd.DataFrame(record["choices"])
    found: dict[tuple[str, str, str], list[str]] = {}
    for row in choices.sort_values("seed").itertuples():
        found.setdefault((row.kind, row.merge, row.label), []).append(row.point)
    return found


def sums_of(name: str, task: str, kind: str, merge: str, label: str, at: dict | None = None) -> np.ndarray:
    """The cluster sums of one model, every seed at its own point."""
    seeds = run(name)[0]["meta"]["seeds"]
    chosen = [""] * len(seeds) if kind == "model" else (at or points(name))[kind, merge, label]
    parts = zip(chosen, seeds, strict=True)
    return np.stack([clusters(name, task)[kind, merge, label, point][seed] for point, seed in parts])


def difference(name: str, row: Any, at: dict | None = None) -> Number:
    target = run(name)[0]["meta"]["forgets"].get(row.merge, {}).get("target")
    a = sums_of(name, row.task, row.kind, row.merge, row.a, at)
    b = sums_of(name, row.task, *(("model", "") if row.b == target else (row.kind, row.merge)), row.b, at)
    return paired(row.task, a, b)


@pytest.mark.parametrize("name", [*STUDIES, *SWEEPS])
def test_every_score_is_the_aggregate_of_its_items(name: str) -> None:
    keys = ["seed", *MODEL, "task", "metric", "filter", "split"]
    sums = run(name)[1].groupby(keys, observed=True)[["value", "weight"]].sum()
    scores = table(name, "scores.csv").dropna(subset=["value"]).set_index(keys)
    assert len(scores) > 500
    both = scores[["value"]].join(sums.rename(columns={"value": "value_sum"}), how="left")
    with np.errstate(over="ignore"):
        mine = [
            aggregate(key[keys.index("metric")], row.value_sum, row.weight)
            for key, row in zip(both.index, both.itertuples(), strict=True)
            if np.isfinite(row.value)
        ]
    assert mine == pytest.approx(both.loc[np.isfinite(both["value"]), "value"].tolist(), rel=1e-9)


@pytest.mark.parametrize("name", [*STUDIES, *SWEEPS])
def test_every_difference_has_its_interval_its_p_and_its_correction(name: str) -> None:
    rows = table(name, "comparisons.csv")
    rows = rows[~rows["unstable_a"].astype(bool) & ~rows["unstable_b"].astype(bool)]
    mine = [difference(name, row) for row in rows.itertuples()]
    one_seed = len(run(name)[0]["meta"]["seeds"]) == 1
    tests = [
        "McNemar exact" if one.exact is not None else f"t over {('trainings', 'items')[one_seed]}" for one in mine
    ]
    assert rows["test"].tolist() == tests
    for column, values in {
        "difference": [one.value for one in mine],
        "ci_low": [one.interval()[0] for one in mine],
        "ci_high": [one.interval()[1] for one in mine],
        "p": [one.p for one in mine],
    }.items():
        assert values == pytest.approx(rows[column].tolist(), rel=1e-6, abs=1e-9), column
    family = (rows["status"] == "confirmatory").to_numpy()
    corrected = holm([one.p for one, confirmed in zip(mine, family, strict=True) if confirmed])
    assert corrected == pytest.approx(rows.loc[family, "p_corrected"].tolist(), rel=1e-6)
    p = np.array([one.p for one in mine])
    p[family] = corrected
    floors = run(name)[0]["meta"]["noise_floor"]
    for row, one, decisive in zip(rows.itertuples(), mine, p, strict=True):
        unit = max(row.value_a, row.value_b) if row.task == "wikitext" else 1.0
        assert row.significant == (decisive < 0.05 and abs(one.value) > floors.get(row.task, -1.0) * unit)


@pytest.mark.parametrize("name", [*STUDIES, *SWEEPS])
def test_the_confirmatory_family_is_each_schedule_against_three_baselines(name: str) -> None:
    meta, rows = run(name)[0]["meta"], table(name, "comparisons.csv")
    made = {key[1:] for key in points(name) if key[0] == "learn"}
    wanted = {
        (merge, task, label, rival)
        for merge, label in made
        if label.split("(")[0] in SCHEDULES
        for rival in BASELINES
        if (merge, rival) in made
        for task in ("wikitext", *members(meta, merge))
    }
    family = rows[rows["status"] == "confirmatory"]
    assert set(family[["merge", "task", "a", "b"]].itertuples(index=False, name=None)) == wanted


@pytest.mark.parametrize("name", STUDIES)
def test_the_marks_of_the_overview_are_those_of_the_tests(name: str) -> None:
    meta = run(name)[0]["meta"]
    lines = [line.split("|")[1:-1] for line in (RESULTS / name / "tables/overview.md").read_text().splitlines()]
    lines = [[cell.strip() for cell in line] for line in lines if len(line) > 3]
    heads, short = lines[0], {"ppl": "wikitext", "math": "gsm8k", "code": "humaneval", "ua": "refusal"}
    rows = table(name, "comparisons.csv")
    known = {(r.merge, r.task, frozenset((r.a, r.b))): r for r in rows.itertuples()}
    seen = 0
    for label, *cells in (line for line in lines[2:] if not line[0].startswith("*")):
        for head, cell in zip(heads[1:-1], cells, strict=False):
            merge, task = head.split(": ")
            row = known.get((merge, short[task], frozenset((label, meta["baseline"]))))
            mark = ""
            if row is not None and row.significant:
                mark = "\\*" if row.status == "confirmatory" else "°"
            number = cell.replace("**", "")
            assert number.lstrip("0123456789.") == mark, (label, head, cell)
            mean = Number(short[task], [(1.0, sums_of(name, short[task], "learn", merge, label))]).value
            assert float(number.removesuffix(mark)) == pytest.approx(
                mean if task == "ppl" else 100 * mean, abs=0.006 if task == "ppl" else 0.051
            )
            seen += 1
    assert seen > 60


def decided(supported: bool, opposite: bool) -> str:
    return "supported" if supported else "not supported" if opposite else "inconclusive"


def at_one(name: str) -> dict[tuple[str, str, str], list[str]]:
    """Every learning merge at λ = 1."""
    seeds = len(run(name)[0]["meta"]["seeds"])
    return {key: ["1"] * seeds for key in points(name) if key[0] == "learn"}


def schedule(name: str) -> str:
    made = {label for kind, _, label in points(name) if kind == "learn"}
    return "lata_linear" if "lata_linear" in made else "lata_log"


def verdicts(name: str) -> dict[str, str]:
    return table(name, "claims.csv").set_index("claim")["verdict"].to_dict()


@pytest.mark.parametrize("name", [*STUDIES, "mini_sweep", "mini_choosing"])
def test_c1_and_c2_follow_from_the_items(name: str) -> None:
    meta, at, lata = run(name)[0]["meta"], at_one(name), schedule(name)

    def gap(merge: str, task: str, label: str, rival: str) -> Number:
        sides = [sums_of(name, task, "learn", merge, one, at) for one in (label, rival)]
        return paired(task, *sides)

    merges = dict.fromkeys(merge for _, merge, _ in at)
    have = [(m, r) for m in merges for r in (*BASELINES, "dare_ties") if ("learn", m, r) in at]
    gaps = [gap(merge, "wikitext", lata, rival) for merge, rival in have]
    lower = [one.interval()[1] < 0 for one in gaps]
    higher = [p < 0.05 and one.value > 0 for one, p in zip(gaps, holm([one.p for one in gaps]), strict=True)]
    assert verdicts(name)["C1"] == decided(all(lower) and len(have) == 4 * len(merges), any(higher))
    schedules = list(dict.fromkeys(k[2] for k in at if k[2].split("(")[0] in SCHEDULES))
    family = [
        (merge, task, label, rival)
        for merge in merges
        for task in ("wikitext", *members(meta, merge))
        for label in schedules
        for rival in BASELINES
        if ("learn", merge, rival) in at
    ]
    found = [gap(*one) for one in family]
    sign = {
        key: int(np.sign(one.value)) * (p < 0.05)
        for key, one, p in zip(family, found, holm([one.p for one in found]), strict=True)
    }
    cells = [(merge, task) for merge in merges for task in members(meta, merge)]
    won = sum(all(sign.get((*cell, lata, rival), 0) == 1 for rival in BASELINES) for cell in cells)
    lost = sum(any(sign.get((*cell, lata, rival), 0) == -1 for rival in BASELINES) for cell in cells)
    assert verdicts(name)["C2"] == decided(won > len(cells) / 2, lost >= len(cells) / 2)


@pytest.mark.parametrize("name", ["mini", "mini_forgetting_l2"])
def test_c3_follows_from_the_items(name: str) -> None:
    meta = run(name)[0]["meta"]
    at = {key: ["1"] * len(meta["seeds"]) for key in points(name) if key[0] == "forget"}
    signs = []
    for merge, entry in meta["forgets"].items():
        label = next(one for _, where, one in at if where == merge and one.startswith("lata_threshold"))
        low, high = Number("refusal", [(1.0, sums_of(name, "refusal", "forget", merge, label, at))]).interval()
        signs.append((high < 0.1) - (low > 0.1))
        for task in ("gsm8k", "humaneval"):
            if not clusters(name, task):
                continue
            after = sums_of(name, task, "forget", merge, label, at)
            gap = Number(task, [(1.0, after), (-1.0, sums_of(name, task, "model", "", entry["target"]))])
            signs.append(1 if gap.p_more_than(-0.02) < 0.05 else -(gap.interval()[1] < -0.02))
    assert verdicts(name)["C3"] == decided(min(signs) == 1, -1 in signs)


@pytest.mark.parametrize("name", [*STUDIES, *SWEEPS])
def test_c4_and_c5_follow_from_the_similarities(name: str) -> None:
    frame = pd.DataFrame(run(name)[0]["similarity"])
    rhos = []
    for _, part in frame.groupby("task"):
        mean = part.groupby("layer")["similarity"].mean()
        rhos.append(stats.spearmanr(mean.index, mean).statistic)
    layers = frame["layer"].nunique()
    # ρ so low that 0 lies outside of its interval (Bonett and Wright): z·sqrt((n − 3) / (1 + ρ²/2)) > 1.96
    clear = [
        math.atanh(min(-rho, 1 - 6 / (layers**3 - layers))) * math.sqrt((layers - 3) / (1 + rho**2 / 2))
        for rho in rhos
    ]
    assert verdicts(name)["C4"] == decided(min(clear) > 1.96, False)
    shares = (frame["similarity"] < 0.95).groupby(frame["seed"]).mean().to_numpy(float)
    spread = shares.std(ddof=1) if len(shares) > 1 else 0.0  # the share of a single training is known exactly
    half = stats.t.ppf(0.975, max(len(shares) - 1, 1)) * spread / math.sqrt(len(shares))
    low, high = np.clip([shares.mean() - half, shares.mean() + half], 0, 1)
    assert verdicts(name)["C5"] == decided(low >= 0.05 and high <= 0.2, high < 0.05 or low > 0.2)


def test_c6_follows_from_the_perplexities_of_the_sweep() -> None:
    scores = table("mini_sweep", "scores.csv")
    ppl = scores[(scores["metric"] == "word_perplexity")]
    pre = ppl[(ppl["kind"] == "model") & (ppl["label"] == "pre")].set_index(["seed", "split"])["value"]
    own = ppl[ppl["kind"] == "learn"].assign(lam=lambda f: f["point"].astype(float))
    limit = 10 * pre.loc[list(zip(own["seed"], own["split"], strict=True))].to_numpy()
    broken = own[~(own["value"].to_numpy() <= limit) & (own["lam"] > 0) & (own["lam"] <= 2)]
    every = broken.groupby(["merge", "label"])["seed"].nunique() == own["seed"].nunique()
    assert verdicts("mini_sweep")["C6"] == decided(bool(every.any()), broken.empty and own["lam"].max() >= 2)


@pytest.mark.parametrize("name", STUDIES)
def test_c7_follows_from_the_items(name: str) -> None:
    """A gain over ta is explained by a control that is shown to have more than half of it."""
    lata, rows = schedule(name), table(name, "comparisons.csv")
    family = rows[rows["status"] == "confirmatory"]
    p = holm([difference(name, row).p for row in family.itertuples()])
    reached = []
    for row, corrected in zip(family.itertuples(), p, strict=True):
        direction = -1 if row.task == "wikitext" else 1
        if (row.a, row.b) != (lata, "ta") or corrected >= 0.05 or direction * row.difference <= 0:
            continue
        sums = [sums_of(name, row.task, "learn", row.merge, label) for label in (lata, "ta")]
        signs = []
        for control in ("ta_norm_matched", "lata_shuffled", "depth_linear"):
            own = sums_of(name, row.task, "learn", row.merge, control)
            low, high = Number(row.task, [(1.0, own), (-0.5, sums[0]), (-0.5, sums[1])]).interval()
            signs.append(direction * ((low > 0) - (high < 0)))
        reached.append(signs)
    unexplained, explained = (sum(map(one, reached)) for one in (lambda x: max(x) == -1, lambda x: 1 in x))
    expected = decided(unexplained > len(reached) / 2, explained >= len(reached) / 2) if reached else "inconclusive"
    assert verdicts(name)["C7"] == expected
