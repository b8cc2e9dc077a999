"""The four questions of a reader, answered from the numbers: which method, by how much, noise, controls.

A study with layer weights of another family also says whether they carry over. One that only forgets, or only looks
at layers, has questions of its own.

A method's standing is its mean over all merged-task scores (every merge and every task that went into it), in per
cent; perplexity, averaged over merges, is told beside it. Differences are paired, with intervals over trainings, with
one seed over items. These contrasts are exploratory; those against the
baseline are corrected after Holm over the methods, because the best is picked among them.
"""

from __future__ import annotations

import math

import numpy as np

from results.analysis.analysis import Analysis
from results.analysis.layers import is_about_layers, layer_vectors, shares_under, threshold_of
from results.analysis.refusals import refusal_text
from results.answers.answer import Answer, Findings
from results.claims.forgetting import c3
from results.claims.layers import c4, c5
from results.claims.verdicts import INCONCLUSIVE, NOT_SUPPORTED, SUPPORTED
from results.statistics.closed_form import holm
from results.statistics.inference import ALPHA, Contrast
from results.study.lineup import Lineup, base_name
from results.study.wording import difference, listed, number, over, p_value, span


def findings(analysis: Analysis) -> Findings:
    """Answer the questions, or say what is missing."""
    lineup = analysis.lineup
    scores, ppl = analysis.task_means, analysis.ppl_means
    methods = [label for label in scores if not lineup.is_control(label)]
    if not methods:
        told = _without_learning(analysis)
        return Findings(told, " ".join(answer.text for answer in told))
    ranked = sorted(methods, key=lambda label: -scores[label].value)
    best = ranked[0]
    if scores[best].value == 0:
        text = f"No method solves any item of the {len(analysis.task_cells)} merged-task scores: none is the best."
        return Findings((Answer("Which method is best?", "none: all score 0", text),), text)
    answers = (
        _which(analysis, scores, ppl, ranked),
        _how_much(lineup, scores, ppl, ranked),
        _noise(lineup.baseline, scores, ranked, len(lineup.seeds)),
        _controls(lineup, scores, best),
        *_carried_over(analysis, scores),
    )
    return Findings(answers, " ".join(answer.text for answer in answers))


def _without_learning(analysis: Analysis) -> tuple[Answer, ...]:
    """What can be said of a study in which no method has a standing."""
    if analysis.lineup.merges("learn"):
        text = "No method was scored, and stable, on all merged tasks of this study, so none can be called best."
        return (Answer("Which method is best?", "not answerable", text),)
    if analysis.lineup.merges("forget"):
        found = c3(analysis)
        text = f"Forgetting (claim C3) is {found.verdict}: {found.numbers}. {refusal_text(analysis)}".rstrip()
        return (Answer("Is it forgotten, and nothing else?", found.verdict, text),)
    if is_about_layers(analysis):
        return _layers(analysis)
    text = "This study has no merges, only the models of the family."
    return (Answer("Which method is best?", "no merges", text),)


def _layers(analysis: Analysis) -> tuple[Answer, ...]:
    """Which layers look least like instruction following, and how many a threshold keeps."""
    vectors, threshold = layer_vectors(analysis.study), threshold_of(analysis.study)
    where, about = c4(analysis), c5(analysis)
    good = {SUPPORTED: True, NOT_SUPPORTED: False}
    short = {SUPPORTED: "the late ones", NOT_SUPPORTED: "not the late ones", INCONCLUSIVE: "not clear"}
    kept = {name: 100 * few / count for name, (few, count) in shares_under(vectors, threshold).items()}
    told = listed([f"{share:.1f} % by {name}" for name, share in kept.items()])
    return (
        Answer(
            "Which layers look least like instruction following?",
            short.get(where.verdict, "not answerable"),
            f"That these are the late layers (claim C4) is {where.verdict}: {where.numbers}.",
            good.get(where.verdict),
        ),
        Answer(
            f"How many does a threshold of {threshold:g} keep?",
            f"{next(iter(kept.values())):.1f} %",
            f"Of the layer vectors a threshold of {threshold:g} keeps {told}. That it is about a tenth (claim C5) is "
            f"{about.verdict}: {about.numbers}.",
            good.get(about.verdict),
        ),
    )


def _points(found: Contrast) -> str:
    return f"{difference('gsm8k', found.value)} points {span('gsm8k', found.low, found.high, True)}"


def _which(analysis: Analysis, scores: dict[str, Contrast], ppl: dict[str, Contrast], ranked: list[str]) -> Answer:
    best, cells = ranked[0], len(analysis.task_cells)
    text = f"{best} has the highest mean over the {cells} merged-task scores, {number('gsm8k', scores[best].value)} %"
    lata = [label for label in ranked if analysis.lineup.is_lata(label)]
    if lata and best not in lata:
        place = ranked.index(lata[0]) + 1
        text += f" (the best LATA schedule, {lata[0]}, is number {place} of {len(ranked)} with "
        text += f"{number('gsm8k', scores[lata[0]].value)} %)"
    low = [label for label in ppl if not analysis.lineup.is_control(label)]
    if low:
        lowest = min(low, key=lambda label: ppl[label].value)
        whose = (
            "it also has the lowest mean perplexity" if lowest == best else f"{lowest} has the lowest mean perplexity"
        )
        text += f"; {whose}, {number('wikitext', ppl[lowest].value)}"
    labels = analysis.lineup.labels("learn")
    left_out = [label for label in labels if label not in scores and not analysis.lineup.is_control(label)]
    if left_out:
        text += f"; unstable or incomplete and left out: {', '.join(left_out)}"
    return Answer("Which method is best?", best, text + ".")


def _how_much(lineup: Lineup, scores: dict[str, Contrast], ppl: dict[str, Contrast], ranked: list[str]) -> Answer:
    question = "By how much?"
    best, baseline = ranked[0], lineup.baseline
    if baseline not in scores:
        text = f"There is no complete row `{baseline}` to measure a distance from."
        return Answer(question, "not answerable", text)
    if best == baseline:
        text = f"No method has a higher mean than {baseline} itself."
        lata = [label for label in ranked if lineup.is_lata(label)]
        if not lata:
            return Answer(question, "no gain", text, False)
        gap = scores[lata[0]].against(scores[baseline])
        text += f" {lata[0]}, the best LATA schedule, stands at {_points(gap)} from it"
        short = f"LATA {difference('gsm8k', gap.value)} points"
        return Answer(question, short, f"{text}{_perplexity_too(ppl, lata[0], baseline)}.", False)
    gap = scores[best].against(scores[baseline])
    text = f"Over {baseline} that is {_points(gap)}{_perplexity_too(ppl, best, baseline)}."
    return Answer(question, f"{difference('gsm8k', gap.value)} points over {baseline}", text, gap.value > 0)


def _perplexity_too(ppl: dict[str, Contrast], label: str, baseline: str) -> str:
    if label not in ppl or baseline not in ppl:
        return ""
    gap = ppl[label].against(ppl[baseline])
    shown = f"{difference('wikitext', gap.value)} {span('wikitext', gap.low, gap.high, True)}"
    return f", at a perplexity that differs by {shown}"


def _noise(baseline: str, scores: dict[str, Contrast], ranked: list[str], seeds: int) -> Answer:
    question = "More than noise?"
    best, parts, good = ranked[0], [], None
    if baseline in scores and best != baseline:
        rivals = [label for label in ranked if label != baseline]
        gaps = [scores[label].against(scores[baseline]) for label in rivals]
        corrected = dict(zip(rivals, holm(np.array([gap.p for gap in gaps])), strict=True))
        good = bool(corrected[best] < ALPHA)
        word = f"is more than noise {over(seeds)}" if good else f"may be noise {over(seeds)}"
        among = f", Holm over {len(rivals)} methods" if len(rivals) > 1 else ""
        parts.append(f"the lead over {baseline} {word} ({p_value(float(corrected[best]))}{among})")
    if len(ranked) > 1 and ranked[1] != baseline:
        gap = scores[best].against(scores[ranked[1]])
        if best == baseline:
            good = gap.clear
        word = "is clear of noise" if gap.clear else "is not clear of noise"
        parts.append(f"the lead over the runner-up {ranked[1]} {word}, {_points(gap)}")
    if not parts:
        return Answer(question, "not answerable", "There is no second method to compare with.")
    if baseline in scores and (rival := best if best != baseline else ranked[1]) in scores:
        parts.append(_signs(scores[rival].against(scores[baseline])))
    text = "; ".join(filter(None, parts))
    text = text[0].upper() + text[1:] + "."
    yes = f"yes, against {baseline if best != baseline else ranked[1]}"
    return Answer(question, {True: yes, False: "not shown", None: "not answerable"}[good], text, good)


def _signs(gap: Contrast) -> str:
    """How many seeds agree, and what could have been seen; nothing of the first for one seed."""
    agree = f"{gap.same_sign} of {gap.seeds} seeds have its sign, and " * (gap.seeds > 1)
    return f"{agree}a difference of {100 * gap.detectable:.1f} points would have been found with 80 % power"


def _controls(lineup: Lineup, scores: dict[str, Contrast], best: str) -> Answer:
    question = "Does it survive the controls?"
    controls = [label for label in scores if lineup.is_control(label)]
    if not controls:
        return Answer(question, "no controls", "No control was scored, so the gain may be shrinkage or depth alone.")
    gaps = {label: scores[best].against(scores[label]) for label in controls}
    beaten = [label for label, gap in gaps.items() if gap.clear and gap.value > 0]
    top = max(controls, key=lambda label: scores[label].value)
    text = f"Against the best control, {top} ({number('gsm8k', scores[top].value)} %), "
    text += f"{best} stands at {_points(gaps[top])}"
    text += f"; it is clearly ahead of {len(beaten) or 'none'} of the {len(controls)} controls"
    rest = [label for label in controls if label not in beaten]
    if not rest:
        return Answer(question, f"yes, all {len(controls)}", text + ".", True)
    text += f", not of {listed(rest)}." if beaten else "."
    return Answer(question, f"no: {top} does as well" if _even(gaps[top]) else f"no: {top} is ahead", text, False)


def _carried_over(analysis: Analysis, scores: dict[str, Contrast]) -> tuple[Answer, ...]:
    """Where a study has LATA's weights of another family: how they do beside the family's own, and beside LiNeS."""
    methods, gaps, lines = analysis.meta.get("methods", {}), [], []
    for label in scores:
        own = methods.get(label, {}).get("schedule")
        if base_name(label) != "lata_transferred" or own not in scores:
            continue
        gaps.append(scores[label].against(scores[own]))
        text = f"{label} stands at {_points(gaps[-1])} from {own}, which has the family's own"
        if "lines" in scores:
            text += f", and at {_points(scores[label].against(scores['lines']))} from lines, which has depth alone"
        lines.append(text)
    if not gaps:
        return ()
    clear = {gap.value > 0 for gap in gaps if gap.clear}
    short, good = {
        frozenset(): ("no difference shown", None),
        frozenset({True}): ("yes: they do better than its own", True),
        frozenset({False}): ("not fully: its own do better", False),
    }.get(frozenset(clear), ("by schedule", None))
    text = f"With layer weights of another family {'; '.join(lines)}."
    return (Answer("Do layer weights carry over?", short, text, good),)


def _even(gap: Contrast) -> bool:
    return not (gap.clear and gap.value < 0) and not math.isnan(gap.value)
