"""What a reader of a sweep asks first: where methods break, which is best at its own λ, what choosing λ cost.

A sweep that forgets is asked first at which λ harm is gone, and what that costs (`answers.forgetting`).
"""

from __future__ import annotations

from collections import Counter

from results.analysis.analysis import SweepAnalysis
from results.analysis.choice import Choice, mean_cost
from results.analysis.crossings import Crossing, bounds, difference, lambda_text
from results.analysis.curves import Curve
from results.analysis.forgetting import Forgotten
from results.answers.answer import Answer, Findings
from results.answers.choosing import choosing_answers
from results.answers.forgetting import harm_answers
from results.answers.learning import findings
from results.study.sweep import one_lambda
from results.study.wording import listed
from results.tables.sweep import reference

#: Names of the ways to choose λ; of those of forgetting where they differ.
SELECTIONS = {
    "fixed": "λ was fixed beforehand",
    "grid": "for each merge, method and seed the λ with the highest mean development score was taken",
    "metagpt": "λ was computed from the norms of the task vectors (MetaGPT), without any data",
    "search": "for each merge, method and seed a search took the λ with the highest mean development score",
}
FORGETTING = {
    "grid": "for each target, method and seed of the stable λ that bring development harm to the threshold the one "
    "with the highest mean development utility was taken, of none the one with the lowest harm",
    "search": "for each target, method and seed a search took, of the stable λ that bring development harm to the "
    "threshold, the one with the highest mean development utility, of none the one with the lowest harm",
}


def sweep_findings(analysis: SweepAnalysis) -> Findings:
    """The answers, and all but how λ was chosen as a few sentences: learning first, where a sweep also forgets."""
    forgetting = harm_answers(analysis)
    learning = (_breaks(analysis), _best(analysis), _cost(analysis)) if analysis.merges or not forgetting else ()
    answers = (*learning, *choosing_answers(analysis), *forgetting, _selection(analysis))
    return Findings(answers, " ".join(answer.text for answer in answers[:-1]))


def _breaks(analysis: SweepAnalysis) -> Answer:
    question = "Where does each method break?"
    limits: dict[str, dict[str, Crossing]] = {}
    for (merge, label), one in analysis.breaks.items():
        if one.limit is not None and not analysis.chosen.lineup.is_control(label):
            limits.setdefault(merge, {})[label] = one.limit
    if not limits:
        text = "No method was swept over one λ for all tasks with perplexities on the test split."
        return Answer(question, "not answerable", text)
    brief = len(limits) > 2
    texts = [_on_merge(analysis, merge, own, brief) for merge, own in limits.items()]
    text = "Perplexity passes ten times pre’s " + "; ".join(texts) + "."
    firsts = [min(own.values(), key=lambda one: one.value) for own in limits.values()]
    names = [label for own in limits.values() for label, one in own.items() if any(one is first for first in firsts)]
    if all(first.never for first in firsts):
        return Answer(question, f"none does, up to λ = {firsts[0].top:g}", text)
    low = min(first.value for first in firsts)
    return Answer(question, f"{listed(list(dict.fromkeys(names)))} first, from λ = {low:.2f}", text)


def _on_merge(analysis: SweepAnalysis, merge: str, limits: dict[str, Crossing], brief: bool) -> str:
    """The λ of every method of one merge; of the first and the last alone where there are many."""
    order = sorted(limits, key=lambda label: limits[label].value)
    broken = [label for label in order if not limits[label].never]
    stable = [label for label in order if limits[label].never]
    if not broken:
        return f"on {merge} for no method up to λ = {limits[order[0]].top:g}"
    told = broken if len(limits) <= 4 and not brief else list(dict.fromkeys((broken[0], broken[-1])))
    text = f"on {merge} at λ = " + listed([f"{lambda_text(limits[label])} for {label}" for label in told])
    text += f" ({len(broken) - len(told)} in between)" if len(told) < len(broken) else ""
    if stable:
        text += f", while {listed(stable)} stay{'s' * (len(stable) == 1)} below it to {limits[stable[0]].top:g}"
    return text if brief else text + _against(analysis, limits)


def _against(analysis: SweepAnalysis, limits: dict[str, Crossing]) -> str:
    """How far apart ties (or the baseline) and LATA break, where both are there."""
    lata = reference(analysis)
    rival = next((label for label in ("ties", analysis.chosen.lineup.baseline) if label in limits), None)
    if lata not in limits or rival is None or rival == lata:
        return ""
    later, earlier = bounds(limits[rival], limits[lata])
    if later and earlier:
        return ""
    gap = difference(limits[rival], limits[lata])
    value, low, high = gap.value, gap.low, gap.high
    if value < 0:
        how = "at least " * earlier + "at most " * later
        return f"; {rival} breaks {how}{-value:.2f} [{-high:.2f}, {-low:.2f}] before {lata}".replace("-", "−")
    how = "at least " * later + "at most " * earlier
    return f"; {rival} breaks {how}{value:.2f} [{low:.2f}, {high:.2f}] after {lata}".replace("-", "−")


def _best(analysis: SweepAnalysis) -> Answer:
    """The answers for the study at the chosen points, in one."""
    question = "Which method is best at its own λ?"
    answers = findings(analysis.chosen).answers
    if len(answers) < 3:
        return Answer(question, answers[0].short, answers[0].text)
    which, much, noise = answers[:3]
    short = which.short if much.short == "not answerable" else f"{which.short}, {much.short}"
    return Answer(question, short, f"At its own λ {which.text} {much.text} {noise.text}", noise.good)


def _cost(analysis: SweepAnalysis) -> Answer:
    question = "What did choosing λ cost?"
    costs = {key: choice.cost for key, choice in analysis.choices.items() if choice.cost is not None}
    several = {key: cost for key, cost in costs.items() if len(analysis.curves[key].points) > 1}
    if not several:
        return Answer(question, "not answerable", "The test split was scored at the chosen λ alone.")
    mean = mean_cost(list(several.values()))
    shown = f"{100 * mean.value:.1f} points [{100 * mean.low:.1f}, {100 * mean.high:.1f}]"
    chosen = "choice on the development split" if analysis.by_development else f"λ {analysis.choosing}"
    text = f"Against the best λ in hindsight the {chosen} loses {shown} of the score on the test "
    text += f"split, on average over {len(several)} methods and merges"
    (merge, label), worst = max(several.items(), key=lambda item: item[1].value)
    if len(several) > 1:
        text += f", at most {100 * worst.value:.1f} ({label} on {merge})"
    clear = sum(cost.low > 0 for cost in several.values())
    which = f"only for {clear} of them" if clear else "for none of them"
    text += f"; the best of many is a noisy maximum, and {which} does the interval show that anything was lost."
    return Answer(question, f"{100 * mean.value:.1f} points", text)


def _selection(analysis: SweepAnalysis) -> Answer:
    question = "How was λ chosen?"
    selection = str(analysis.meta.get("selection", "grid"))
    ways = [SELECTIONS.get(selection, selection)] * bool(analysis.merges or not analysis.forgettings)
    ways += [FORGETTING.get(selection, SELECTIONS.get(selection, selection))] * bool(analysis.forgettings)
    how = "; ".join(dict.fromkeys(ways))
    text = how[0].upper() + how[1:]
    curves: dict[tuple[str, str], Curve] = {
        **analysis.curves,
        **{key: f.curve for key, f in analysis.forgettings.items()},
    }
    choices: dict[tuple[str, str], Choice | Forgotten] = {**analysis.choices}
    choices |= {key: one.choice for key, one in analysis.forgettings.items()}
    made = [(key, seed, p) for key, c in choices.items() for seed, p in c.chosen.items() if p is not None]
    none = sum(point is None for choice in choices.values() for point in choice.chosen.values())
    parts = []
    if selection in ("grid", "search") and made:
        ends = sum(_at_end(curves[key], point) for key, _, point in made)
        if ends:
            parts.append(f"{ends} of {len(made)} choices lie at the largest λ: a wider sweep may find better ones")
        swept = {key: curve.lam_P != 0 for key, curve in curves.items()}
        broken = sum(int(curve.unstable_PS[swept[key]].sum()) for key, curve in curves.items())
        total = sum(int(curve.present_PS[swept[key]].sum()) for key, curve in curves.items())
        if broken:
            parts.append(f"{broken} of {total} points were unstable and could not be chosen")
    if none:
        parts.append(f"for {none} nothing was stable, so nothing was chosen")
    late = sum(len(choice.unstable) for choice in choices.values())
    if late:
        parts.append(f"{late} choices are unstable on the test split")
    return Answer(question, _common(made) or selection, "; ".join([text, *parts]) + ".")


def _at_end(curve: Curve, point: str) -> bool:
    """Whether a choice is the largest of the λ that were swept."""
    lam, lams = one_lambda(point), curve.lam_P[curve.line]
    return len(lams) > 1 and lam == lams[-1]


def _common(made: list[tuple[tuple[str, str], int, str]]) -> str:
    """The range of the chosen λ."""
    lams = Counter(one_lambda(point) for _, _, point in made if one_lambda(point) == one_lambda(point))
    if not lams or len(made) != sum(lams.values()):
        return ""
    low, high = min(lams), max(lams)
    return f"λ = {low:g}" if low == high else f"λ from {low:g} to {high:g}"
