"""The three sentences of a comparison: which method is best, by how much, and is that more than noise.

Best is the highest mean over all merged-task scores of the cells that every method has; a method that is unstable in
one of them, and a control, cannot be best. Mean rank (perplexity included) and hypervolume are told beside it, so
that a reader sees where they disagree. All of this is exploratory: p-values against the baseline are Holm's over the
methods, because the best is picked among them.
"""

from __future__ import annotations

import numpy as np

from results.analysis.comparison import Comparison
from results.analysis.matched import over_range
from results.analysis.pareto import ALL, Volume
from results.answers.answer import Answer
from results.statistics.closed_form import holm
from results.statistics.inference import ALPHA, Contrast
from results.study.wording import difference, listed, number, over, p_value, span


def answers(comparison: Comparison) -> tuple[Answer, ...]:
    """Which method, by how much, more than noise."""
    order = _order(comparison)
    if not order:
        return _without_scores(comparison)
    return _which(comparison, order), _how_much(comparison, order), _noise(comparison, order)


def _order(comparison: Comparison) -> list[str]:
    """Methods that can be best, the best first."""
    scores, is_control = comparison.scores, comparison.lineup.is_control
    methods = [label for label in comparison.methods if label in scores and not is_control(label)]
    return sorted(methods, key=lambda label: -scores[label].value)


def _without_scores(comparison: Comparison) -> tuple[Answer, ...]:
    question = "Which method is best?"
    if comparison.ranking is None:
        why = comparison.absent.get("ranks", "no method was scored on all merged tasks.")
        return (Answer(question, "not answerable", f"No method can be called best: {why}"),)
    first = comparison.ranking.labels[0]
    text = f"No method is stable in every merge; {first} has the best mean rank, {comparison.ranking.mean_K[0]:.2f}."
    return (Answer(question, f"{first}, by rank alone", text),)


def _which(comparison: Comparison, order: list[str]) -> Answer:
    best, tasks = order[0], [cell for cell in comparison.cells if cell[1] != "wikitext"]
    merges = len(dict.fromkeys(merge for merge, _ in tasks))
    text = (
        f"{best} has the highest mean over the {len(tasks)} merged-task scores of {merges} merge{'s' * (merges > 1)}"
    )
    text += f", {_percent(comparison, best)}"
    others = []
    if comparison.ranking is not None:
        first, mean = comparison.ranking.labels[0], comparison.ranking.mean_K[0]
        if first == best:
            text += f", and the best mean rank, {mean:.2f} of {len(comparison.methods)}"
        else:
            others.append(f"by mean rank over scores and perplexity {first} is ahead ({mean:.2f})")
    if widest := _widest(comparison, order):
        others.append(f"{widest.label}’s fronts over λ cover most (hypervolume {widest.value:.2f})")
    controls = [label for label in comparison.scores if comparison.lineup.is_control(label) and label not in order]
    above = [label for label in controls if comparison.scores[label].value > comparison.scores[best].value]
    if above:
        top = max(above, key=lambda label: comparison.scores[label].value)
        others.append(f"the control {top} stands higher, {_percent(comparison, top)}")
    unstable = [label for label in comparison.methods if any(label == name for _, name in comparison.broken)]
    if unstable:
        others.append(f"{listed(unstable)} {'is' if len(unstable) == 1 else 'are'} unstable in a merge, a loss there")
    return Answer("Which method is best?", best, "; ".join([text, *others]) + ".")


def _how_much(comparison: Comparison, order: list[str]) -> Answer:
    question, best, baseline = "By how much?", order[0], comparison.baseline
    parts, short, good = [], "", None
    if best == baseline:
        parts.append(f"No method has a higher mean than {baseline} itself")
        short = "no gain"
    elif baseline in comparison.scores:
        gap = comparison.scores[best].against(comparison.scores[baseline])
        parts.append(f"Over {baseline} that is {_points(gap)}{_perplexity(comparison, best, baseline)}")
        short, good = f"{difference('gsm8k', gap.value)} points over {baseline}", gap.value > 0
    else:
        parts.append(f"{baseline} is unstable in a merge and has no mean to stand against")
        short = f"{baseline} unstable"
    if len(order) > 1 and order[1] != baseline:
        gap = comparison.scores[best].against(comparison.scores[order[1]])
        parts.append(f"over the runner-up {order[1]} {_points(gap)}")
        short = f"{difference('gsm8k', gap.value)} points over {order[1]}" if best == baseline else short
    elif len(order) > 1:
        parts.append(f"{baseline} is the runner-up")
    if here := over_range(comparison.matches, best):
        parts.append(f"where both moved equally far from pre, on average over the common range, {_points(here.gap)}")
    return Answer(question, short, "; ".join(parts) + ".", good)


def _noise(comparison: Comparison, order: list[str]) -> Answer:
    question, best, baseline = "More than noise?", order[0], comparison.baseline
    scores, seeds = comparison.scores, len(comparison.seeds)
    parts: list[str] = []
    good: bool | None = None
    if baseline in scores and best != baseline:
        rivals = [label for label in order if label != baseline]
        gaps = [scores[label].against(scores[baseline]) for label in rivals]
        p = float(holm(np.array([gap.p for gap in gaps]))[0])
        good = bool(p < ALPHA)
        word = f"is more than noise {over(seeds)}" if good else f"may be noise {over(seeds)}"
        among = f", Holm over {len(rivals)} methods" if len(rivals) > 1 else ""
        parts.append(f"the lead over {baseline} {word} ({p_value(p)}{among})")
    if len(order) > 1 and order[1] != baseline:
        gap = scores[best].against(scores[order[1]])
        if best == baseline:
            good = gap.clear
        parts.append(f"the lead over the runner-up {order[1]} {'is' if gap.clear else 'is not'} clear of noise")
    parts += _by_rank(comparison, best)
    if not parts:
        return Answer(question, "not answerable", "There is no second method to compare with.")
    text = "; ".join(parts)
    shorts = {True: "yes", False: "not shown", None: "not answerable"}
    return Answer(question, shorts[good], text[0].upper() + text[1:] + ".", good)


def _by_rank(comparison: Comparison, best: str) -> list[str]:
    """What ranks over cells can tell apart."""
    made = comparison.ranking
    if made is None or made.friedman is None:
        return []
    if not made.friedman.p < ALPHA:
        return [f"ranks over {len(made.cells)} cells tell no methods apart (Friedman {p_value(made.friedman.p)})"]
    place = made.labels.index(best)
    close = {i for first, last in made.groups if first <= place <= last for i in range(first, last + 1)} - {place}
    names = [made.labels[i] for i in sorted(close)]
    which = f"{best} from {listed(names)}" if names else ""
    told = f"do not tell {which}" if names else f"tell {best} from every other method"
    return [f"ranks over {len(made.cells)} cells {told} (critical difference {made.critical:.2f})"]


def _widest(comparison: Comparison, order: list[str]) -> Volume | None:
    """The largest hypervolume among the methods: of the mean over merges, or of the only merge."""
    merges = {volume.merge for volume in comparison.volumes}
    wanted = ALL if ALL in merges else next(iter(merges), "")
    found = [v for v in comparison.volumes if v.merge == wanted and v.label in comparison.methods]
    return max(found, key=lambda volume: volume.value) if len(found) > 1 else None


def _percent(comparison: Comparison, label: str) -> str:
    return f"{number('gsm8k', comparison.scores[label].value)} %"


def _points(found: Contrast) -> str:
    return f"{difference('gsm8k', found.value)} points {span('gsm8k', found.low, found.high, True)}"


def _perplexity(comparison: Comparison, label: str, baseline: str) -> str:
    known = comparison.perplexities
    if label not in known or baseline not in known:
        return ""
    gap = known[label].against(known[baseline])
    shown = f"{difference('wikitext', gap.value)} {span('wikitext', gap.low, gap.high, True)}"
    return f", at a mean perplexity that differs by {shown}"
