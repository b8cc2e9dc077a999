"""What choosing λ in another way changes, in a sentence."""

from __future__ import annotations

from results.analysis.analysis import SweepAnalysis
from results.analysis.choice import reference_of
from results.answers.answer import Answer
from results.study.wording import difference, listed
from results.tables.choosing import NAMES, _alike, _gaps, _mean, _methods, _names, _shown
from results.tables.sweep import RATE


def choosing_answers(analysis: SweepAnalysis) -> tuple[Answer, ...]:
    """Whether another way than a fixed λ pays, in a sentence; nothing where the sweep has one way alone."""
    reference, question = reference_of(analysis.sweep), "Does another way of choosing λ pay?"
    gaps = {name: _gaps(analysis, name) for name in _names(analysis) if name != reference}
    means = {name: mean for name, own in gaps.items() if (mean := _mean(own))}
    if not means:
        return ()
    parts = [
        f"{NAMES.get(name, name)} stands at {_shown(gap)}, {'not ' * (not gap.clear)}clear of noise (mean over "
        f"{_methods(len(gaps[name]))})"
        for name, gap in means.items()
    ]
    text = f"Against {NAMES.get(reference, reference)}, {listed(parts)}."
    alike, count = _alike({name: gaps[name] for name in means})
    if not alike:
        return (Answer(question, "not comparable", f"{text} No method has all of these ways for one seed."),)
    top = max(alike, key=lambda name: alike[name].value)
    best = alike[top]
    if any((len(gaps[name]), list(gap.names)) != (count, list(best.names)) for name, gap in means.items()):
        seeds = f"seed{'s' * (len(best.names) > 1)} {listed([str(seed) for seed in best.names])}"
        text += (
            f" Over what all of them have, {_methods(count)} for {seeds}, {top} stands highest, at {_shown(best)}."
        )
    gain = best.value
    short = f"{top} {difference(RATE, gain)} points" if gain > 0 else f"no better than {reference}"
    return (Answer(question, short, text, best.clear and gain > 0),)
