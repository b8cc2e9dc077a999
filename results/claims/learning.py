"""Claims C1, C2 and C7, on learning, brought to the rules of `decisions`.

A claim is decided by one LATA schedule that is named before the results are seen
(`schedule_of`); the others are listed beside it. "Ahead" means that the 95 % interval of the paired difference leaves
0 out: over trainings, with one seed over items. What tables mark against (``baseline``) has no say in any of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from results.analysis.analysis import Analysis
from results.claims import decisions
from results.claims.verdicts import (
    C1_RIVALS,
    INCONCLUSIVE,
    NOT_RUN,
    Verdict,
    at_lambda_one,
    verdict_of,
    with_alternatives,
)
from results.statistics.comparisons import CONFIRMATORY_BASELINES
from results.statistics.inference import Statistic, combined, contrast
from results.study.lineup import Lineup, Model, schedule_of
from results.study.wording import difference, listed, span, title_of

C7_CONTROLS = ("ta_norm_matched", "lata_shuffled", "depth_linear")


def _named(lineup: Lineup, names: Sequence[str]) -> list[str]:
    """The labels of the rows that a claim names; a name that no row has as it is. See `Lineup.named`."""
    return [lineup.named("learn", name) or name for name in names]


def c1(analysis: Analysis) -> Verdict:
    """Lowest perplexity of ta, ties, dare and dare_ties in every merge: `decisions.ahead_of_all`."""
    if not at_lambda_one(analysis) or "wikitext" not in analysis.measures:
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

    return with_alternatives(analysis, "learn", rule)


def c2(analysis: Analysis) -> Verdict:
    """Better than ta, ties and dare on more than half of the task scores, by corrected tests.

    A cell is a merge and a task that was merged: `decisions.ahead_in_most`.
    """
    if not at_lambda_one(analysis):
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
            "corrected after Holm)"
        )
        lines = [f"{name} against {rival}: {w} won, {d} undecided, {x} lost" for rival, (w, d, x) in tally.items()]
        lines += [f"missing: {', '.join(absent)}"] * bool(absent)
        return Verdict(verdict_of(decisions.ahead_in_most(sign_CR)), text, tuple(lines))

    return with_alternatives(analysis, "learn", rule)


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
        f"gains ({per}), none reaches half of {none}, {len(cells) - some - none} stay open"
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
    return lineup.direction("learn", merge, task) * contrast(combined(own, [1.0, -0.5, -0.5])).sign
