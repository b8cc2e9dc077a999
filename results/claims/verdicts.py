"""What the rules of all claims share: verdicts as words, and which schedule and points a claim speaks of.

Verdicts: `supported`, `not supported` (the opposite is shown), `inconclusive` (neither is), `not run` (the study
lacks what the rule needs).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from results.analysis.analysis import Analysis
from results.claims import decisions
from results.statistics.estimates import Estimate, is_harmless
from results.study.lineup import base_name, schedule_of
from results.study.selection import harm_threshold, utilities

SUPPORTED, NOT_SUPPORTED, INCONCLUSIVE, NOT_RUN = "supported", "not supported", "inconclusive", "not run"

#: What claim C1 sets LATA's perplexity against.
C1_RIVALS = ("ta", "ties", "dare", "dare_ties")


@dataclass(frozen=True)
class Verdict:
    """What a rule found: the verdict, one sentence with the numbers, and the longer list behind it."""

    verdict: str
    numbers: str
    detail: tuple[str, ...] = ()


def verdict_of(sign: Any) -> str:
    """What `decisions` decided, as a word."""
    return {1: SUPPORTED, -1: NOT_SUPPORTED, 0: INCONCLUSIVE}[int(sign)]


def with_alternatives(analysis: Analysis, job: str, rule: Callable[[str], Verdict]) -> Verdict:
    """The verdict by the schedule that decides, with what the study's other schedules would give."""
    named = schedule_of(analysis.lineup, job)
    others = [label for label in analysis.lineup.labels(job) if analysis.lineup.is_lata(label) and label != named]
    main = rule(named)
    lines = (f"{name} by the same rule: {v.verdict}; {v.numbers}" for name in others for v in [rule(name)])
    return Verdict(main.verdict, main.numbers, (*main.detail, *lines))


def signed_lambda(scores: pd.DataFrame) -> pd.Series:
    """λ of each row with its sign, which the name of its point keeps; NaN where it has none, or one a task."""
    lam = scores["lambda"].astype(float)
    minus = scores["point"].astype(str).str.startswith("-") if "point" in scores else pd.Series(False, scores.index)
    return lam.abs().where(~minus & (lam >= 0), -lam.abs())


def at_lambda_one(analysis: Analysis) -> bool:
    """Whether LATA and its rivals learned at λ = 1 and at no other λ."""
    scores = analysis.scores
    named = scores["label"].map(base_name).isin((*C1_RIVALS, *analysis.lineup.of_group("lata")))
    lam = signed_lambda(scores[(scores["kind"] == "learn") & named])
    return len(lam) > 0 and bool((lam == 1.0).all())


def harm_verdict(after: Estimate, threshold: float) -> str:
    """Whether the interval of harm lies under the threshold, over it, or on both sides."""
    return verdict_of(decisions.under(np.array(after.low), np.array(after.high), threshold))


def harmless_before(analysis: Analysis, merge: str) -> Estimate | None:
    """The harm of the model that a forgetting starts from, where it is harmless already; else None."""
    target = analysis.lineup.target(merge)
    before = analysis.estimates.get(analysis.lineup.harm_task(merge), {}).get(target) if target else None
    return before if before is not None and is_harmless(before, harm_threshold(analysis.meta)) else None


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
