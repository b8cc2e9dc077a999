"""Claim C3, on forgetting, brought to the rules of `decisions`."""

from __future__ import annotations

from results.analysis.analysis import Analysis
from results.claims.verdicts import (
    INCONCLUSIVE,
    NOT_RUN,
    NOT_SUPPORTED,
    SUPPORTED,
    Verdict,
    harm_verdict,
    harmless_before,
    utility_rows,
    utility_verdict,
    with_alternatives,
    worst,
)
from results.study.lineup import Model
from results.study.selection import harm_threshold, utility_margin
from results.study.wording import difference, listed, number, span, title_of


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
            f"points) {name} at λ = {_lambdas(analysis, name)} meets {verdicts.count(SUPPORTED)}, "
            f"fails {verdicts.count(NOT_SUPPORTED)}, {verdicts.count(INCONCLUSIVE)} undecided"
        )
        text += f"; left out as {spared}" * bool(harmless)
        return Verdict(worst(verdicts), text, tuple(lines))

    return with_alternatives(analysis, "forget", rule)


def _lambdas(analysis: Analysis, label: str) -> str:
    """The λ at which a method forgets here: one, or from the smallest to the largest."""
    rows = analysis.scores[(analysis.scores["kind"] == "forget") & (analysis.scores["label"] == label)]
    lams = rows["lambda"].dropna().astype(float)
    if lams.empty:
        return "–"
    low, high = lams.min(), lams.max()
    return f"{low:g}" if low == high else f"{low:g} to {high:g} (chosen)"
