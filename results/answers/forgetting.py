"""What a reader of forgettings over λ asks first: at which λ is harm gone, at what cost, and what was chosen."""

from __future__ import annotations

import math
from dataclasses import dataclass

from results.analysis.analysis import SweepAnalysis
from results.analysis.crossings import Crossing, lambda_text
from results.analysis.curves import Curve
from results.analysis.forgetting import Passage, Reading
from results.analysis.refusals import refusal_changes, refusal_text
from results.answers.answer import Answer
from results.claims.forgetting import c3
from results.claims.verdicts import NOT_SUPPORTED, SUPPORTED
from results.statistics.estimates import Estimate
from results.study.wording import difference, listed, number, span
from results.tables.harm import utility_title
from results.tables.sweep import RATE


@dataclass(frozen=True)
class _Fall:
    """One method on a target that had something to forget."""

    curve: Curve
    passage: Passage
    crossing: Crossing

    @property
    def utility(self) -> Reading | None:
        """Its own utility where harm falls to the threshold; None where that was not read."""
        return self.passage.there.get(self.curve.utility or "")


def harm_answers(analysis: SweepAnalysis) -> tuple[Answer, ...]:
    """The answers of a sweep that forgets; none of one that does not."""
    return (_passing(analysis), _chosen(analysis)) if analysis.forgettings else ()


def _passing(analysis: SweepAnalysis) -> Answer:
    limit = f"{100 * analysis.threshold:g} %"
    question = f"At which λ does harm fall to {limit}, and at what cost?"
    targets: dict[str, dict[str, _Fall]] = {}
    harmless: dict[str, Estimate] = {}
    for (merge, label), one in analysis.forgettings.items():
        if one.passage is None or analysis.chosen.lineup.is_control(label):
            continue
        if (crossing := one.passage.crossing) is None:
            harmless[merge] = one.passage.before[one.curve.harm]
        else:
            targets.setdefault(merge, {})[label] = _Fall(one.curve, one.passage, crossing)
    spared = _spared(analysis, harmless)
    if harmless and not targets:
        return Answer(question, "nothing to forget", spared)
    if not targets:
        text = "No forgetting was scored over λ together with the model that it starts from."
        return Answer(question, "not answerable", text)
    brief = len(targets) > 2
    texts = [_on_target(analysis, merge, own, brief) for merge, own in targets.items()]
    text = f"Harm falls to {limit} {'; '.join(texts)}. {spared}".rstrip()
    ranked = [name for own in targets.values() if (name := _cheapest(own)) is not None]
    if not ranked:
        crossings = [fall.crossing for own in targets.values() for fall in own.values()]
        reached, top = any(not one.never for one in crossings), max(one.top for one in crossings)
        short = "only where the model breaks, or not in all seeds" if reached else f"at none, up to λ = {top:g}"
        return Answer(question, short, text, False)
    short = listed(list(dict.fromkeys(ranked))) + " at the least cost"
    if len(targets) == 1:
        fall = next(iter(targets.values()))[ranked[0]]
        short = f"λ = {fall.crossing.value:.2f} with {ranked[0]}{_cost(analysis, fall, brief=True)}"
    elif len(ranked) < len(targets):
        short += f", on {len(ranked)} of {len(targets)} targets"
    return Answer(question, short, text, None)


def _target(analysis: SweepAnalysis, merge: str) -> str:
    return str(analysis.meta.get("forgets", {}).get(merge, {}).get("target", merge))


def _spared(analysis: SweepAnalysis, harmless: dict[str, Estimate]) -> str:
    """Which targets had nothing to forget, in a sentence; empty where there are none."""
    if not harmless:
        return ""
    told = [
        f"{_target(analysis, merge)} with harm at {number(RATE, one.value)} % {span(RATE, one.low, one.high)}"
        for merge, one in harmless.items()
    ]
    were, they = ("was", "it has") if len(told) == 1 else ("were", "they have")
    return f"{listed(told)} {were} harmless already: {they} nothing to forget."


def _on_target(analysis: SweepAnalysis, merge: str, own: dict[str, _Fall], brief: bool) -> str:
    """The λ and the cost of every method on one target; of the first and the cheapest where there are many."""
    target = _target(analysis, merge)
    reached = sorted((label for label in own if not own[label].crossing.never), key=lambda x: own[x].crossing.value)
    never = [label for label in own if own[label].crossing.never]
    if not reached:
        top = max(fall.crossing.top for fall in own.values())
        return f"on {target} with no method up to λ = {top:g}{_lowest(own)}"
    told = reached
    if brief or len(reached) > 4:
        best = _cheapest(own)
        told = [label for label in reached if label in (best, reached[0])] or reached[:1]
    parts = [f"{lambda_text(own[label].crossing)} with {label}{_cost(analysis, own[label])}" for label in told]
    text = f"on {target} at λ = {listed(parts)}"
    more = len(reached) - len(told)
    text += f" ({more} more reach{'es' * (more == 1)} it)" if more else ""
    if never:
        text += f", while {listed(never)} never reach{'es' * (len(never) == 1)} it"
        text += "" if brief else f" up to λ = {own[never[0]].crossing.top:g}"
    return text


def _lowest(own: dict[str, _Fall]) -> str:
    """` (lowest with ta, 57.0 % at λ = 1)`: how far the stable points come."""
    points = []
    for label, fall in own.items():
        curve, lowest = fall.curve, fall.passage.lowest
        one = None if lowest is None else curve.estimates[curve.harm][lowest]
        if one is not None and lowest is not None:
            points.append((one.value, float(curve.lam_P[lowest]), label))
    if not points:
        return ""
    value, lam, label = min(points)
    return f" (lowest with {label}, {number(RATE, value)} % at λ = {lam:g})"


def _cost(analysis: SweepAnalysis, fall: _Fall, brief: bool = False) -> str:
    """` (GSM8K −2.0 points [−4.1, 0.0])`, and what is wrong there."""
    passage, utility = fall.passage, fall.utility
    parts = []
    if utility is not None:
        change = utility.change
        moved = f"{difference(RATE, change.value)} points"
        title = utility_title(analysis, fall.curve.merge)
        if brief:
            return f": {title} {moved}"
        parts.append(f"{title} {moved} {span(RATE, change.low, change.high, True)}")
    wrong = ["the model is unstable there"] * bool(passage.unstable)
    wrong += ["few answers that stopped complying became refusals"] * passage.broken
    if wrong:
        parts.append(f"but {listed(wrong)}")
    return f" ({'; '.join(parts)})" if parts and not brief else ""


def _cheapest(own: dict[str, _Fall]) -> str | None:
    """The method that reaches the threshold with whole answers in all seeds at the least cost of utility.

    One whose utility was not read there comes after all whose was.
    """
    clean = [label for label, fall in own.items() if fall.passage.clean]

    def cost(label: str) -> tuple[float, float]:
        utility = own[label].utility
        return -utility.change.value if utility else math.inf, own[label].crossing.value

    return min(clean, key=cost, default=None)


def _chosen(analysis: SweepAnalysis) -> Answer:
    """Claim C3 at the chosen λ, and whether the models refuse again."""
    verdict = c3(analysis.chosen)
    text = f"At the λ {analysis.choosing}, forgetting (claim C3) is {verdict.verdict}: {verdict.numbers}."
    # That refusals rose somewhat is no comfort where most answers broke on the way.
    silent = any(one.harm_fell and not one.rose for one in refusal_changes(analysis.chosen))
    broken = any(one.passage is not None and one.passage.broken for one in analysis.forgettings.values())
    if (told := refusal_text(analysis.chosen)) and (silent or not broken):
        text += f" {told}"
    good = {SUPPORTED: True, NOT_SUPPORTED: False}.get(verdict.verdict)
    return Answer("Is it forgotten, and nothing else?", verdict.verdict, text, good)
