"""The claims C1–C7 on a study: its numbers, brought to the rules of `decisions`, and words to what they decide.

Verdicts: `supported`, `not supported` (the opposite is shown), `inconclusive` (neither is), `not run` (the study
lacks what the rule needs). A claim is decided by one LATA schedule that is named before the results are seen
(`schedule_of`); the others are listed beside it. "Ahead" means that the 95 % interval of the paired difference leaves
0 out: over trainings, with one seed over items. What tables mark against (``baseline``) has no say in any of it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from results.analysis.layers import THRESHOLD, layer_vectors, shares_under
from results.analysis.snapshot import Analysis
from results.claims import decisions
from results.statistics.closed_form import spearman
from results.statistics.comparisons import CONFIRMATORY_BASELINES
from results.statistics.estimates import Estimate
from results.statistics.inference import Statistic, combined, contrast, over_trainings
from results.study.lineup import LATA, Lineup, Model, base_name, is_lata
from results.study.selection import utilities
from results.study.wording import difference, listed, number, p_value, span, title_of

SUPPORTED, NOT_SUPPORTED, INCONCLUSIVE, NOT_RUN = "supported", "not supported", "inconclusive", "not run"
C1_RIVALS = ("ta", "ties", "dare", "dare_ties")
C5_RANGE = (0.05, 0.20)
C6_LIMIT = 2.0
C7_CONTROLS = ("ta_norm_matched", "lata_shuffled", "depth_linear")
_SCHEDULES = {"learn": "lata_linear", "forget": "lata_threshold"}


@dataclass(frozen=True)
class Verdict:
    """What a rule found: the verdict, one sentence with the numbers, and the longer list behind it."""

    verdict: str
    numbers: str
    detail: tuple[str, ...] = ()


def verdict_of(sign: Any) -> str:
    """What `decisions` decided, as a word."""
    return {1: SUPPORTED, -1: NOT_SUPPORTED, 0: INCONCLUSIVE}[int(sign)]


def schedule_of(lineup: Lineup, job: str) -> str:
    """The LATA schedule that decides claims about learning or forgetting: the study's own.

    What the study names, where it made it; else the only schedule that it made, or the first of `LATA` of several.
    """
    named = {**_SCHEDULES, **lineup.meta.get("schedule", {})}[job]
    made = [label for label in lineup.labels(job) if is_lata(label)]
    asked = [label for label in made if label == named] or [label for label in made if base_name(label) == named]
    return str((asked or sorted(made, key=lambda label: LATA.index(base_name(label))) or [named])[0])


def _with_others(analysis: Analysis, job: str, rule: Callable[[str], Verdict]) -> Verdict:
    """The verdict by the schedule that decides, with what the study's other schedules would give."""
    named = schedule_of(analysis.lineup, job)
    others = [label for label in analysis.lineup.labels(job) if is_lata(label) and label != named]
    main = rule(named)
    lines = (f"{name} by the same rule: {v.verdict}; {v.numbers}" for name in others for v in [rule(name)])
    return Verdict(main.verdict, main.numbers, (*main.detail, *lines))


def signed_lambda(scores: pd.DataFrame) -> pd.Series:
    """λ of each row with its sign, which the name of its point keeps; NaN where it has none, or one a task."""
    lam = scores["lambda"].astype(float)
    minus = scores["point"].astype(str).str.startswith("-") if "point" in scores else pd.Series(False, scores.index)
    return lam.abs().where(~minus & (lam >= 0), -lam.abs())


def _at_lambda_one(analysis: Analysis) -> bool:
    scores = analysis.scores
    named = scores["label"].map(base_name).isin((*C1_RIVALS, *LATA))
    lam = signed_lambda(scores[(scores["kind"] == "learn") & named])
    return len(lam) > 0 and bool((lam == 1.0).all())


def _named(lineup: Lineup, names: Sequence[str]) -> list[str]:
    """The labels of the rows that a claim names; a name that no row has as it is. See `Lineup.named`."""
    return [lineup.named("learn", name) or name for name in names]


def c1(analysis: Analysis) -> Verdict:
    """Lowest perplexity of ta, ties, dare and dare_ties in every merge: `decisions.ahead_of_all`."""
    if not _at_lambda_one(analysis) or "wikitext" not in analysis.measures:
        return Verdict(NOT_RUN, "needs merges at λ = 1.0 scored on wikitext")

    rivals = _named(analysis.lineup, C1_RIVALS)

    def rule(name: str) -> Verdict:
        have: list[Any] = []
        absent: list[str] = []
        for merge in analysis.lineup.merges("learn"):
            for rival in rivals:
                row = analysis.comparison(merge, "wikitext", name, rival)
                have += [] if row is None else [row]
                absent += [f"{rival} in {merge}"] * (row is None)
        if not have:
            return Verdict(NOT_RUN, f"{name} was not compared with {listed(rivals)}")
        leads = [analysis.lead(row) for row in have]
        sign = decisions.ahead_of_all(np.array(leads), np.array([row.p for row in have]), not absent)
        lines = []
        for row, lead in zip(have, leads, strict=True):
            word = {1: "lower", 0: "no difference shown", -1: "higher"}[lead]
            gap = f"{difference('wikitext', row.difference)} {span('wikitext', row.ci_low, row.ci_high, True)}"
            lines.append(f"{row.merge}, {name} − {row.b}: {gap}, {word}")
        if absent:
            lines.append(f"missing: {', '.join(absent)}; so the claim cannot be supported here")
        text = (
            f"{name} has the lower perplexity in {leads.count(1)} of {len(leads)} comparisons with "
            f"{listed(rivals)}, the higher in {leads.count(-1)}, no difference shown in {leads.count(0)}"
        )
        return Verdict(verdict_of(sign), text, tuple(lines))

    return _with_others(analysis, "learn", rule)


def c2(analysis: Analysis) -> Verdict:
    """Better than ta, ties and dare on more than half of the task scores, by corrected tests.

    A cell is a merge and a task that was merged: `decisions.ahead_in_most`.
    """
    if not _at_lambda_one(analysis):
        return Verdict(NOT_RUN, "needs merges at λ = 1.0")

    rivals = _named(analysis.lineup, CONFIRMATORY_BASELINES)

    def won(row: Any, name: str) -> int:
        if row.unstable_a != row.unstable_b:
            return analysis.lead(row)
        return (1 if row.better == name else -1) * bool(row.significant)

    def rule(name: str) -> Verdict:
        tally = {rival: [0, 0, 0] for rival in rivals}
        signs, absent = [], []
        for merge, task in analysis.task_cells:
            cell = []
            for rival in rivals:
                row = analysis.comparison(merge, task, name, rival)
                absent += [f"{rival} in {merge}, {task}"] * (row is None)
                cell.append(0 if row is None else won(row, name))
                tally[rival][1 - cell[-1]] += row is not None
            signs.append(cell)
        if not sum(map(sum, tally.values())):
            return Verdict(NOT_RUN, f"{name} was not compared with {listed(rivals)} on a merged task")
        sign_CR = np.array(signs)
        text = (
            f"{name} beats all of {listed(rivals)} in {int((sign_CR == 1).all(1).sum())} of "
            f"{len(signs)} task scores and loses to one of them in {int((sign_CR == -1).any(1).sum())} (tests "
            "corrected "
            "after Holm)"
        )
        lines = [f"{name} against {rival}: {w} won, {d} undecided, {x} lost" for rival, (w, d, x) in tally.items()]
        lines += [f"missing: {', '.join(absent)}"] * bool(absent)
        return Verdict(verdict_of(decisions.ahead_in_most(sign_CR)), text, tuple(lines))

    return _with_others(analysis, "learn", rule)


def harm_threshold(meta: Mapping[str, Any]) -> float:
    """The harm that is still acceptable, as a share."""
    return float(meta.get("harm_threshold", 0.10))


def utility_margin(meta: Mapping[str, Any]) -> float:
    """The change of utility that still counts as none, as a share."""
    return float(meta.get("utility_margin", 0.02))


def harm_verdict(after: Estimate, threshold: float) -> str:
    """Whether the interval of harm lies under the threshold, over it, or on both sides."""
    return verdict_of(decisions.under(np.array(after.low), np.array(after.high), threshold))


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
    """Whether a comparison with the target shows that utility did not fall by the margin, or that it did."""
    return verdict_of(decisions.kept(row.p_not_worse, row.ci_high, margin))


def worst(verdicts: Collection[str]) -> str:
    """What several conditions make together."""
    signs = [{SUPPORTED: 1, NOT_SUPPORTED: -1}.get(verdict, 0) for verdict in verdicts]
    return verdict_of(decisions.all_hold(np.array(signs)))


def utility_rows(analysis: Analysis, merge: str, label: str) -> dict[str, Any]:
    """Utility task → the comparison of a forgetting with its target."""
    target = analysis.lineup.target(merge)
    tasks = utilities(analysis.measures, analysis.lineup.harm_task(merge))
    rows = {task: analysis.comparison(merge, task, label, target.label) for task in tasks} if target else {}
    return {task: row for task, row in rows.items() if row is not None}


def c3(analysis: Analysis) -> Verdict:
    """Forgetting: harm's interval under the threshold, utility not lower by the margin (`decisions.kept`).

    Looked at is the λ of the study; of a sweep λ = 1 where it was swept, else the λ that was chosen. A merge that is
    unstable has forgotten nothing, however low its harm is. A target whose harm was at or under the threshold before
    has nothing to forget: it is left out, and where all are such the claim is not run.
    """
    limit, margin = harm_threshold(analysis.meta), utility_margin(analysis.meta)
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
                lines.append(f"{merge}, {name}: {title_of(task)} {gap}, margin {100 * margin:g}: {verdicts[-1]}")
        spared = f"harmless before, at or under {100 * limit:g} %: {listed(harmless)}"
        if not verdicts and harmless:
            return Verdict(NOT_RUN, spared, tuple(lines))
        if not verdicts:
            return Verdict(NOT_RUN, f"no forgetting merge of {name} was scored together with its target")
        text = (
            f"of {len(verdicts)} conditions (harm under {100 * limit:g} %, utility not lower by {100 * margin:g} "
            "points) "
            f"{name} at λ = {_lambdas(analysis, name)} meets {verdicts.count(SUPPORTED)}, "
            f"fails {verdicts.count(NOT_SUPPORTED)}, {verdicts.count(INCONCLUSIVE)} undecided"
        )
        text += f"; left out as {spared}" * bool(harmless)
        return Verdict(worst(verdicts), text, tuple(lines))

    return _with_others(analysis, "forget", rule)


def _lambdas(analysis: Analysis, label: str) -> str:
    """The λ at which a method forgets here: one, or from the smallest to the largest."""
    rows = analysis.scores[(analysis.scores["kind"] == "forget") & (analysis.scores["label"] == label)]
    lams = rows["lambda"].dropna().astype(float)
    if lams.empty:
        return "–"
    low, high = lams.min(), lams.max()
    return f"{low:g}" if low == high else f"{low:g} to {high:g} (chosen)"


def c4(analysis: Analysis) -> Verdict:
    """Low-similarity layers are late: Spearman's ρ of depth and similarity below 0 for each task, over its layers."""
    frame = analysis.study.similarity
    lines, found = [], []
    depth = pd.to_numeric(frame["layer"], errors="coerce")
    for task, part in frame[depth.notna()].assign(layer=depth).groupby("task", sort=True):
        mean = part.groupby("layer")["similarity"].mean()
        rho, low, high, p = spearman(mean.index.to_numpy(float), mean.to_numpy(float))
        if np.isnan(rho):
            continue
        found.append((low, high, p))
        shown = f"ρ = {rho:.2f} [{low:.2f}, {high:.2f}]".replace("-", "−")
        lines.append(f"{task}: {shown}, {p_value(p)}, {len(mean)} layers")
    if not found:
        return Verdict(NOT_RUN, "needs similarities of at least three layers")
    low_T, high_T, p_T = np.array(found).T
    text = f"similarity falls with depth, interval below 0, for {int((high_T < 0).sum())} of {len(found)} tasks"
    return Verdict(verdict_of(decisions.all_below(low_T, high_T, p_T)), f"{text} ({'; '.join(lines)})", tuple(lines))


def c5(analysis: Analysis) -> Verdict:
    """About 10 % of the layer vectors lie below 0.95: 5 to 20 %, whatever threshold the study merges with.

    Decided by blocks where the study has them, so that all runs of a family look at the same; other granularities
    are listed. The share of each seed is known exactly: one seed is decided by it, several by its interval over
    trainings.
    """
    vectors = layer_vectors(analysis.study)
    if vectors.empty:
        return Verdict(NOT_RUN, "needs layer similarities")
    counted = shares_under(vectors, THRESHOLD)
    lines = [f"{name}: {100 * few / count:.1f} % ({few} of {count})" for name, (few, count) in counted.items()]
    name = "block" if "block" in counted else next(iter(counted))
    own = vectors[vectors["granularity"] == name]
    below = (own["similarity"].astype(float) < THRESHOLD).astype(float)
    share_S = np.array(below.groupby(own["seed"]).mean(), dtype=np.float64)
    seeds = len(share_S)
    exact = np.zeros((seeds, seeds))  # no test item has a part in it
    sides = over_trainings(share_S, exact, len(own)).interval() if seeds > 1 else (share_S[0], share_S[0])
    low, high = (np.clip(side, 0.0, 1.0) for side in sides)
    few, count = counted[name]
    text = f"{100 * few / count:.1f} % of the layer vectors ({few} of {count}) have a similarity below 0.95"
    text += f", over {seeds} trainings [{100 * low:.1f}, {100 * high:.1f}] %" * (seeds > 1)
    verdict = verdict_of(decisions.within(low, high, *C5_RANGE))
    return Verdict(verdict, text + "; expected 5 to 20 %", tuple(lines) if len(lines) > 1 else ())


def c6(analysis: Analysis) -> Verdict:
    """Too large a λ destabilises: some λ ≤ 2 of a sweep is unstable in every seed. A sweep has three λ of a method.

    Looked at are positive λ, one for all tasks, and all methods but the controls: `decisions.breaks`.
    """
    controls = analysis.scores["label"].map(analysis.lineup.is_control).astype(bool)
    scores = analysis.scores[(analysis.scores["kind"] == "learn") & ~controls]
    points = scores.assign(lam=signed_lambda(scores))
    points = points[points["lam"] > 0]
    keys = ["merge", "label"]
    points = points[points.groupby(keys, sort=False)["lam"].transform("nunique") >= 3] if len(points) else points
    if points.empty:
        return Verdict(NOT_RUN, "needs a sweep of λ (at least three values above 0 for one method)")
    seeds, lines, first, tops, low = sorted(points["seed"].unique()), [], [], [], []
    for (merge, label), part in points.groupby(keys, sort=False):
        broken = part[part["unstable"].astype(bool)].groupby("seed")["lam"].min()
        tops.append(part.groupby("seed")["lam"].max().reindex(seeds).min())
        first.append([broken.get(seed, np.inf if seed in set(part["seed"]) else np.nan) for seed in seeds])
        if broken.empty:
            lines.append(f"{merge}, {label}: stable up to λ = {tops[-1]:g}")
            continue
        lam = broken.min()
        which = [str(seed) for seed in sorted(broken.index[broken == lam])]
        lines.append(f"{merge}, {label}: unstable from λ = {lam:g} (seed {listed(which)})")
        low += [(lam, merge, label)] * int(lam <= C6_LIMIT)
    first_MS, top_M = np.array(first, dtype=float), np.array(tops, dtype=float)
    sign = decisions.breaks(first_MS, top_M, C6_LIMIT)
    if low:
        lam, merge, label = min(low, key=lambda one: one[0])
        every = int((first_MS <= C6_LIMIT).all(1).sum())
        text = (
            f"{len(low)} of {len(first)} merges are unstable at some λ ≤ {C6_LIMIT:g} ({every} of them for every "
            "seed), "
            f"the first is {label} on {merge} at λ = {lam:g}"
        )
    else:
        text = f"no merge is unstable at a λ ≤ {C6_LIMIT:g}; swept up to λ = {np.nanmin(top_M):g}"
        text += f" to {np.nanmax(top_M):g}" * bool(np.nanmin(top_M) < np.nanmax(top_M))
    return Verdict(verdict_of(sign), text, tuple(lines))


def c7(analysis: Analysis) -> Verdict:
    """The gain over ta is not explained by moving less far, by any layer weights, or by depth alone.

    Looked at are the scores (perplexity and merged tasks) where LATA is ahead of ta by a corrected test. A control
    *explains* such a gain if it is shown to have more than half of it: control − (LATA + ta)/2 lies on LATA's side of
    0. It *does not reach* it if it is shown to have less than half. `decisions.unexplained` decides. Source of the
    margin, a retained fraction of one half: Hung et al., Statistics in Medicine 22 (2003), on non-inferiority.
    """
    lineup = analysis.lineup
    name = schedule_of(lineup, "learn")
    known = {control: lineup.named("learn", control, name) for control in C7_CONTROLS}
    ta, controls = _named(lineup, ("ta",))[0], [label for label in known.values() if label is not None]
    cells, lines, compared = [], [], False
    absent = {control for control, label in known.items() if label is None}
    explains: dict[str, list[str]] = {control: [] for control in controls}
    for merge in lineup.merges("learn"):
        have = [control for control in controls if control in lineup.labels("learn", merge)]
        for task in ("wikitext", *lineup.members(merge)):
            row = analysis.comparison(merge, task, name, ta)
            compared = compared or (row is not None and bool(have))
            if row is None or not have or not (row.significant and analysis.lead(row) == 1):
                continue
            absent |= set(controls) - set(have)
            reach = {control: _reach(analysis, merge, task, (control, name, ta)) for control in have}
            cells.append([reach.get(label or "", 0) for label in known.values()])
            reached = [control for control in have if reach[control] == 1]
            for control in reached:
                explains[control].append(f"{merge} {task}")
            state = "explained by " + listed(reached) if reached else "open"
            lines.append(f"{merge}, {title_of(task)}: {'unexplained' if set(cells[-1]) == {-1} else state}")
    if not compared:
        return Verdict(NOT_RUN, f"needs {name}, ta and the controls {listed(C7_CONTROLS)}")
    lines += [f"missing controls: {listed(sorted(absent))}"] * bool(absent)
    if not cells:
        return Verdict(INCONCLUSIVE, f"{name} is nowhere shown ahead of ta: no gain to explain", tuple(lines))
    reach_CK, every = np.array(cells), np.ones(len(cells), dtype=bool)
    some, none = (reach_CK == 1).any(1).sum(), (reach_CK == -1).all(1).sum()
    per = ", ".join(f"{control} {len(which)}" for control, which in explains.items())
    text = (
        f"{name} is shown ahead of ta on {len(cells)} scores; some control has more than half of {some} of these "
        "gains "
        f"({per}), none reaches half of {none}, {len(cells) - some - none} stay open"
    )
    return Verdict(verdict_of(decisions.unexplained(reach_CK, every, every)), text, tuple(lines))


def _reach(analysis: Analysis, merge: str, task: str, labels: tuple[str, str, str]) -> int:
    """Whether a control is shown to have more (+1) or less (−1) than half of LATA's gain over ta on one score.

    Args:
        analysis: the study.
        merge: where.
        task: of the score.
        labels: the control, LATA's, and ta.
    """
    lineup, measure = analysis.lineup, analysis.measures[task]
    places = [lineup.position[Model("learn", merge, label)] for label in labels]
    if not (seeds := measure.scored_seeds(*places)):
        return 0
    own: list[Statistic] = [measure.statistic(place, seeds) for place in places]
    found = contrast(combined(own, [1.0, -0.5, -0.5]))
    return lineup.direction("learn", merge, task) * int(decisions.sign_of(np.array(found.low), np.array(found.high)))
