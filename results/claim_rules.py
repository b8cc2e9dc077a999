"""The rules of the claims C1–C7: verdict and numbers from the results, whatever they are.

Verdicts: `supported`, `not supported`, `inconclusive` (the data allow neither), `not run` (the study lacks what the
rule needs). A claim is decided by one LATA schedule that is named before the results are seen
(``meta["schedule"]``; `lata_linear` for learning, `lata_threshold` for forgetting); the others are listed beside it.
"Ahead" always means that the 95 % interval of the paired difference excludes 0 and that all seeds agree in sign.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from results.analysis import Analysis
from results.compare import ALPHA, CONFIRMATORY_BASELINES
from results.estimates import Estimate
from results.layers import THRESHOLD, layer_vectors, shares_under
from results.lineup import LATA, Model, base_name, is_lata
from results.selection import utilities
from results.statistics import holm, spearman
from results.wording import difference, listed, number, p_value, span, title_of

SUPPORTED, NOT_SUPPORTED, INCONCLUSIVE, NOT_RUN = "supported", "not supported", "inconclusive", "not run"
C1_RIVALS = ("ta", "ties", "dare", "dare_ties")
C7_CONTROLS = ("ta_norm_matched", "lata_shuffled", "depth_linear")


@dataclass(frozen=True)
class Verdict:
    """What a rule found: the verdict, one sentence with the numbers, and the longer list behind it."""

    verdict: str
    numbers: str
    detail: tuple[str, ...] = ()


def schedule_of(meta: Mapping[str, Any], job: str) -> str:
    """The LATA schedule that decides claims about learning or forgetting."""
    default = {"learn": "lata_linear", "forget": "lata_threshold"}
    return str({**default, **meta.get("schedule", {})}[job])


def _others(analysis: Analysis, kind: str, named: str, rule: Callable[[str], Verdict]) -> tuple[str, ...]:
    present = [label for label in analysis.lineup.labels(kind) if is_lata(label)]
    found = ((name, rule(name)) for name in present if name != named)
    return tuple(f"{name} by the same rule: {v.verdict}; {v.numbers}" for name, v in found)


def _rows_of(analysis: Analysis, names: Collection[str]) -> list[str]:
    """The labels of the learning rows that a claim names; a name that no row has as it is."""
    return [analysis.lineup.named("learn", name) or name for name in names]


def _at_lambda_one(analysis: Analysis) -> bool:
    scores = analysis.scores
    compared = scores["label"].map(base_name).isin((*C1_RIVALS, *LATA))
    rows = scores[(scores["kind"] == "learn") & compared]
    return len(rows) > 0 and bool((rows["lambda"].astype(float) == 1.0).all())


def c1(analysis: Analysis) -> Verdict:
    """Lowest perplexity of ta, ties, dare and dare_ties in every merge: an intersection-union test.

    Supported if every interval excludes 0 in LATA's favour, which needs no correction (Berger, Technometrics 24,
    1982). Not supported if some rival is lower by a test corrected after Holm over these comparisons.
    """
    named = schedule_of(analysis.meta, "learn")
    if not _at_lambda_one(analysis) or "wikitext" not in analysis.measures:
        return Verdict(NOT_RUN, "needs merges at λ = 1.0 scored on wikitext")
    merges, rivals = analysis.lineup.merges("learn"), _rows_of(analysis, C1_RIVALS)

    def rule(name: str) -> Verdict:
        cells = [(merge, rival) for merge in merges for rival in rivals]
        rows = {cell: analysis.comparison(cell[0], "wikitext", name, cell[1]) for cell in cells}
        have = {cell: row for cell, row in rows.items() if row is not None}
        if not have:
            return Verdict(NOT_RUN, f"{name} was not compared with {listed(rivals)}")
        leads = [analysis.lead(row) for row in have.values()]
        corrected = holm(np.array([row.p for row in have.values()]))
        refuted = any(
            lead == -1 and not p >= ALPHA for lead, p in zip(leads, corrected, strict=True)
        )  # an unstable LATA has no p and is refuted all the same
        lines = []
        for ((merge, rival), row), lead in zip(have.items(), leads, strict=True):
            word = {1: "lower", 0: "no difference shown", -1: "higher"}[lead]
            gap = f"{difference('wikitext', row.difference)} {span('wikitext', row.ci_low, row.ci_high, True)}"
            lines.append(f"{merge}, {name} − {rival}: {gap}, {word}")
        absent = [f"{rival} in {merge}" for (merge, rival), row in rows.items() if row is None]
        if absent:
            lines.append(f"missing: {', '.join(absent)}; so the claim cannot be supported here")
        text = (
            f"{name} has the lower perplexity in {leads.count(1)} of {len(leads)} comparisons with "
            f"{listed(rivals)}, the higher in {leads.count(-1)}, no difference shown in {leads.count(0)}"
        )
        won = min(leads) == 1 and not absent
        return Verdict(SUPPORTED if won else NOT_SUPPORTED if refuted else INCONCLUSIVE, text, tuple(lines))

    main = rule(named)
    return Verdict(main.verdict, main.numbers, main.detail + _others(analysis, "learn", named, rule))


def c2(analysis: Analysis) -> Verdict:
    """Better than ta, ties and dare on more than half of the task scores, each by a Holm-corrected test.

    A cell is a merge and a task that was merged; it is won where all three are beaten, lost where any is better.
    Supported if more than half of the cells are won; not supported if half or more are lost, for then even the
    undecided ones could not make a majority.
    """
    named = schedule_of(analysis.meta, "learn")
    if not _at_lambda_one(analysis):
        return Verdict(NOT_RUN, "needs merges at λ = 1.0")
    merges, rivals = analysis.lineup.merges("learn"), _rows_of(analysis, CONFIRMATORY_BASELINES)
    cells = [
        (merge, task) for merge in merges for task in analysis.lineup.members(merge) if task in analysis.measures
    ]

    def rule(name: str) -> Verdict:
        tally = {rival: [0, 0, 0] for rival in rivals}
        won = lost = compared = 0
        absent: list[str] = []
        for merge, task in cells:
            signs = []
            for rival in rivals:
                row = analysis.comparison(merge, task, name, rival)
                if row is None:
                    absent.append(f"{rival} in {merge}, {task}")
                    continue
                sign = (1 if row.better == name else -1) if row.significant else 0
                if row.unstable_a != row.unstable_b:
                    sign = analysis.lead(row)
                signs.append(sign)
                tally[rival][1 - sign] += 1
            compared += bool(signs)
            won += len(signs) == len(rivals) and min(signs) == 1
            lost += -1 in signs
        if not compared:
            return Verdict(NOT_RUN, f"{name} was not compared with {listed(rivals)} on a merged task")
        verdict = SUPPORTED if won > len(cells) / 2 else NOT_SUPPORTED if lost >= len(cells) / 2 else INCONCLUSIVE
        text = (
            f"{name} beats all of {listed(rivals)} in {won} of {len(cells)} task scores and loses to "
            f"one of them in {lost} (tests corrected after Holm)"
        )
        lines = [f"{name} against {rival}: {w} won, {d} undecided, {x} lost" for rival, (w, d, x) in tally.items()]
        if absent:
            lines.append(f"missing: {', '.join(absent)}")
        return Verdict(verdict, text, tuple(lines))

    main = rule(named)
    return Verdict(main.verdict, main.numbers, main.detail + _others(analysis, "learn", named, rule))


def harm_threshold(meta: Mapping[str, Any]) -> float:
    """The harm that is still acceptable, as a share."""
    return float(meta.get("harm_threshold", 0.10))


def utility_margin(meta: Mapping[str, Any]) -> float:
    """The change of utility that still counts as none, as a share."""
    return float(meta.get("utility_margin", 0.02))


def harm_verdict(after: Estimate, threshold: float) -> str:
    """Whether the interval of harm lies under the threshold, over it, or on both sides."""
    return SUPPORTED if after.high < threshold else NOT_SUPPORTED if after.low > threshold else INCONCLUSIVE


def harmless_before(analysis: Analysis, merge: str) -> Estimate | None:
    """The harm of the model that a forgetting starts from, where it is harmless already; else None."""
    target = analysis.lineup.target(merge)
    before = analysis.estimates.get(analysis.lineup.harm_task(merge), {}).get(target) if target else None
    return before if before is not None and is_harmless(before, harm_threshold(analysis.meta)) else None


def is_harmless(before: Estimate, threshold: float) -> bool:
    """Whether the harm of a target is at or under the threshold, so that there is nothing to forget."""
    # A mean over seeds that all stand at the threshold may lie a rounding above it.
    return round(before.value, 10) <= threshold


def utility_verdict(row: Any, margin: float) -> str:
    """Whether a comparison with the target shows utility equivalent (two one-sided tests at 5 %), or off by more."""
    if row.p_equivalent < ALPHA:
        return SUPPORTED
    return NOT_SUPPORTED if row.ci_high < -margin or row.ci_low > margin else INCONCLUSIVE


def worst(verdicts: Collection[str]) -> str:
    """What several conditions make together."""
    return next((verdict for verdict in (NOT_SUPPORTED, INCONCLUSIVE) if verdict in verdicts), SUPPORTED)


def utility_rows(analysis: Analysis, merge: str, label: str) -> dict[str, Any]:
    """Utility task → the comparison of a forgetting with its target."""
    target = analysis.lineup.target(merge)
    tasks = utilities(analysis.measures, analysis.lineup.harm_task(merge))
    rows = {task: analysis.comparison(merge, task, label, target.label) for task in tasks} if target else {}
    return {task: row for task, row in rows.items() if row is not None}


def c3(analysis: Analysis) -> Verdict:
    """Forgetting: harm's upper bound under the threshold, utility equivalent within the margin (TOST at 5 %).

    Looked at is the λ of the study; of a sweep λ = 1 where it was swept, else the λ that was chosen. A merge that is
    unstable has forgotten nothing, however low its harm is. A target whose harm was at or under the threshold before
    has nothing to forget: it is left out, and where all are such the claim is not run.
    """
    limit, margin = harm_threshold(analysis.meta), utility_margin(analysis.meta)
    named = schedule_of(analysis.meta, "forget")
    lineup = analysis.lineup

    def rule(name: str) -> Verdict:
        verdicts, lines, harmless = [], [], []
        for merge in lineup.merges("forget"):
            harm, target = lineup.harm_task(merge), lineup.target(merge)
            after = analysis.estimates.get(harm, {}).get(Model("forget", merge, name))
            if after is None or target is None:
                continue
            if (before := harmless_before(analysis, merge)) is not None:
                then = f"{number(harm, before.value)} % {span(harm, before.low, before.high)}"
                harmless.append(f"{target.label} with {then}")
                lines.append(f"{merge}, {name}: harm {then} before, threshold {number(harm, limit)} %: {NOT_RUN}")
                continue
            broken = bool(lineup.unstable_seeds(Model("forget", merge, name)))
            verdicts.append(NOT_SUPPORTED if broken else harm_verdict(after, limit))
            now = f"{number(harm, after.value)} % {span(harm, after.low, after.high)}{', unstable' * broken}"
            lines.append(f"{merge}, {name}: harm {now}, threshold {number(harm, limit)} %: {verdicts[-1]}")
            for task, row in utility_rows(analysis, merge, name).items():
                verdicts.append(utility_verdict(row, margin))
                gap = f"{difference(task, row.difference)} {span(task, row.ci_low, row.ci_high, True)} points"
                lines.append(f"{merge}, {name}: {title_of(task)} {gap}, margin ±{100 * margin:g}: {verdicts[-1]}")
        spared = f"harmless before, at or under {100 * limit:g} %: {listed(harmless)}"
        if not verdicts and harmless:
            return Verdict(NOT_RUN, spared, tuple(lines))
        if not verdicts:
            return Verdict(NOT_RUN, f"no forgetting merge of {name} was scored together with its target")
        text = (
            f"of {len(verdicts)} conditions (harm under {100 * limit:g} %, utility within ±{100 * margin:g} points) "
            f"{name} at λ = {_lambdas(analysis, name)} meets {verdicts.count(SUPPORTED)}, "
            f"fails {verdicts.count(NOT_SUPPORTED)}, {verdicts.count(INCONCLUSIVE)} undecided"
        )
        text += f"; left out as {spared}" * bool(harmless)
        return Verdict(worst(verdicts), text, tuple(lines))

    main = rule(named)
    return Verdict(main.verdict, main.numbers, main.detail + _others(analysis, "forget", named, rule))


def _lambdas(analysis: Analysis, label: str) -> str:
    """The λ at which a method forgets here: one, or from the smallest to the largest."""
    rows = analysis.scores[(analysis.scores["kind"] == "forget") & (analysis.scores["label"] == label)]
    lams = rows["lambda"].dropna().astype(float)
    if lams.empty:
        return "–"
    low, high = lams.min(), lams.max()
    return f"{low:g}" if low == high else f"{low:g} to {high:g} (chosen)"


def c4(analysis: Analysis) -> Verdict:
    """Low-similarity layers are late: Spearman's ρ of depth and similarity below 0, with its interval, each task."""
    frame = analysis.study.similarity
    lines, bounds = [], []
    depth = pd.to_numeric(frame["layer"], errors="coerce")
    for task, part in frame[depth.notna()].assign(layer=depth).groupby("task", sort=True):
        mean = part.groupby("layer")["similarity"].mean()
        rho, low, high, p = spearman(mean.index.to_numpy(float), mean.to_numpy(float))
        if np.isnan(rho):
            continue
        bounds.append((low, high))
        shown = f"ρ = {rho:.2f} [{low:.2f}, {high:.2f}]".replace("-", "−")
        lines.append(f"{task}: {shown}, {p_value(p)}, {len(mean)} layers")
    if not bounds:
        return Verdict(NOT_RUN, "needs similarities of at least three layers")
    below, above = sum(high < 0 for _, high in bounds), sum(low > 0 for low, _ in bounds)
    verdict = SUPPORTED if below == len(bounds) else NOT_SUPPORTED if above else INCONCLUSIVE
    text = f"similarity falls with depth, interval below 0, for {below} of {len(bounds)} tasks ({'; '.join(lines)})"
    return Verdict(verdict, text, tuple(lines))


def c5(analysis: Analysis) -> Verdict:
    """About 10 % of the layer vectors lie below 0.95: 5 to 20 %. A quantile threshold makes it a tautology.

    Decided by the study's own layers (blocks, where it says nothing else); other granularities are listed.
    """
    vectors = layer_vectors(analysis.study)
    counted = shares_under(vectors, THRESHOLD).items()
    lines = tuple(f"{name}: {100 * few / count:.1f} % ({few} of {count})" for name, (few, count) in counted)
    lines = lines if len(lines) > 1 else ()
    similarity = analysis.study.similarity["similarity"].astype(float).dropna()
    if similarity.empty:
        similarity = vectors.loc[vectors["granularity"] == "block", "similarity"].astype(float)
    if similarity.empty:
        return Verdict(NOT_RUN, "needs layer similarities", lines)
    below = int((similarity < THRESHOLD).sum())
    share = below / len(similarity)
    text = f"{100 * share:.1f} % of the layer vectors ({below} of {len(similarity)}) have a similarity below 0.95"
    threshold = analysis.meta.get("threshold", {"kind": "value", "value": 0.95})
    if threshold.get("kind") == "quantile":
        why = "this study's threshold is a quantile, which fixes the share beforehand; for information: "
        return Verdict(NOT_RUN, why + text, lines)
    if abs(float(threshold.get("value", 0.95)) - 0.95) > 1e-9:
        why = f"this study's threshold is {threshold['value']}, not 0.95; for information: "
        return Verdict(NOT_RUN, why + text, lines)
    return Verdict(SUPPORTED if 0.05 <= share <= 0.20 else NOT_SUPPORTED, text + "; expected 5 to 20 %", lines)


def c6(analysis: Analysis) -> Verdict:
    """Too large a λ destabilises: some λ ≤ 2 of a sweep is unstable. A sweep has three values of λ for a method.

    Looked at are points with one λ for all tasks, and all methods but the controls.
    """
    controls = analysis.scores["label"].map(analysis.lineup.is_control).astype(bool)
    scores = analysis.scores[(analysis.scores["kind"] == "learn") & ~controls]
    points = scores.assign(lam=scores["lambda"].astype(float)).dropna(subset=["lam"])
    keys = ["merge", "label"]
    points = points[points.groupby(keys, sort=False)["lam"].transform("nunique") >= 3] if len(points) else points
    if points.empty:
        return Verdict(NOT_RUN, "needs a sweep of λ (at least three values for one method)")
    lines, first = [], []
    for (merge, label), part in points.groupby(keys, sort=False):
        top, broken = part["lam"].max(), part[part["unstable"].astype(bool)]
        if broken.empty:
            lines.append(f"{merge}, {label}: stable up to λ = {top:g}")
            continue
        lam = broken["lam"].min()
        seeds = broken.loc[broken["lam"] == lam, "seed"].unique()
        lines.append(f"{merge}, {label}: unstable from λ = {lam:g} (seed {listed([str(s) for s in sorted(seeds)])})")
        first.append((lam, merge, label))
    swept = points.groupby(keys, sort=False).ngroups
    low, top = [one for one in first if one[0] <= 2], points["lam"].max()
    if low:
        lam, merge, label = min(low, key=lambda one: one[0])
        text = (
            f"{len(low)} of {swept} merges are unstable at some λ ≤ 2, the first is {label} on {merge} at λ = {lam:g}"
        )
        return Verdict(SUPPORTED, text, tuple(lines))
    text = f"no merge is unstable up to λ = {min(top, 2.0):g}"
    return Verdict(NOT_SUPPORTED if top >= 2 else INCONCLUSIVE, text, tuple(lines))


def c7(analysis: Analysis) -> Verdict:
    """The gain over ta is not explained by moving less far, by any layer weights, or by depth alone.

    Looked at are the scores (perplexity and merged tasks) where LATA is ahead of ta. One stays *unexplained* if LATA
    is ahead of all three controls; it is *explained* if a control is ahead of LATA, or is itself ahead of ta while
    LATA is not ahead of it; else open. Supported if more than half are unexplained, not supported if half or more
    are explained.
    """
    name = schedule_of(analysis.meta, "learn")
    ta = analysis.lineup.baseline
    found = {control: analysis.lineup.named("learn", control, name) for control in C7_CONTROLS}
    controls = [label for label in found.values() if label is not None]
    gains = 0
    counts = {"unexplained": 0, "explained": 0, "open": 0}
    by: dict[str, list[str]] = {control: [] for control in controls}
    lines: list[str] = []
    absent = {control for control, label in found.items() if label is None}
    compared = False
    for merge in analysis.lineup.merges("learn"):
        for task in ("wikitext", *analysis.lineup.members(merge)):
            row = analysis.comparison(merge, task, name, ta)
            rows = {control: analysis.comparison(merge, task, name, control) for control in controls}
            have = {control: found for control, found in rows.items() if found is not None}
            compared = compared or (row is not None and bool(have))
            if row is None or not have or analysis.lead(row) != 1:
                continue
            gains += 1
            absent |= set(controls) - set(have)
            how = _explained(analysis, merge, task, ta, have)
            for control in [control for control, found in how.items() if found]:
                by[control].append(f"{merge} {task}")
            ahead = all(analysis.lead(found) == 1 for found in have.values()) and len(have) == len(C7_CONTROLS)
            state = "explained" if any(how.values()) else "unexplained" if ahead else "open"
            counts[state] += 1
            because = [control for control, found in how.items() if found]
            lines.append(f"{merge}, {title_of(task)}: {state}" + (f" by {listed(because)}" if because else ""))
    if not compared:
        return Verdict(NOT_RUN, f"needs {name}, {ta} and the controls {listed(C7_CONTROLS)}")
    if absent:
        lines.append(f"missing controls: {listed(sorted(absent))}")
    if not gains:
        return Verdict(INCONCLUSIVE, f"{name} is nowhere ahead of {ta}: there is no gain to explain", tuple(lines))
    per = ", ".join(f"{control} {len(cells)}" for control, cells in by.items())
    text = (
        f"{name} is ahead of {ta} on {gains} scores; some control explains {counts['explained']} of these gains "
        f"({per}), no control reaches {counts['unexplained']}, {counts['open']} stay open"
    )
    verdict = (
        SUPPORTED
        if counts["unexplained"] > gains / 2
        else NOT_SUPPORTED
        if counts["explained"] >= gains / 2
        else INCONCLUSIVE
    )
    return Verdict(verdict, text, tuple(lines))


def _explained(analysis: Analysis, merge: str, task: str, ta: str, rows: dict[str, Any]) -> dict[str, bool]:
    """Which controls explain one gain (see `c7`)."""
    out = {}
    for control, row in rows.items():
        against_ta = analysis.comparison(merge, task, control, ta)
        own = against_ta is not None and analysis.lead(against_ta) == 1
        lead = analysis.lead(row)
        out[control] = lead == -1 or (own and lead == 0)
    return out
