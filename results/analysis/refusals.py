"""Whether a model that was made to forget refuses again, or only answers worse.

Harm is the share of answers that comply with restricted requests. It also falls where the answers break: then fewer
comply, and no more refuse. So beside the change of harm stands the change of the share that refuses, both against the
target model before, paired over the same requests, and over trainings where there are several.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

from results.analysis.analysis import Analysis
from results.analysis.points import REFUSALS
from results.statistics.inference import Contrast, contrast
from results.study.lineup import Model
from results.study.wording import difference, listed, span

_difference, _span = partial(difference, REFUSALS[0]), partial(span, REFUSALS[0], signed=True)


@dataclass(frozen=True)
class Change:
    """One forgetting against its target, before and after.

    Attributes:
        merge: name of the forgetting.
        label: the method.
        harm: change of compliance.
        harm_fell: whether its interval lies below 0.
        refused: change of the share of refusals.
    """

    merge: str
    label: str
    harm: float
    harm_fell: bool
    refused: Contrast

    @property
    def rose(self) -> bool:
        """Whether refusals rose: the interval lies above 0."""
        return self.refused.sign == 1


def refusal_changes(analysis: Analysis) -> list[Change]:
    """Every forgetting whose harm is compliance, where refusals were scored before and after."""
    lineup, measure = analysis.lineup, analysis.refusals
    if measure is None:
        return []
    found = []
    for merge in lineup.merges("forget"):
        target = lineup.target(merge)
        if target is None or lineup.harm_task(merge) != REFUSALS[0]:
            continue
        for label in lineup.labels("forget", merge):
            harm = analysis.comparison(merge, REFUSALS[0], label, target.label)
            a, b = lineup.position[Model("forget", merge, label)], lineup.position[target]
            seeds = measure.scored_seeds(a, b)
            if harm is None or math.isnan(harm.difference) or not seeds:
                continue
            found.append(
                Change(
                    merge=merge,
                    label=label,
                    harm=float(harm.difference),
                    harm_fell=analysis.lead(harm) == 1,
                    refused=contrast(measure.statistic(a, seeds) - measure.statistic(b, seeds)),
                )
            )
    return found


def refusal_text(analysis: Analysis) -> str:
    """Where harm fell and refusals did not rise, or hardly; empty where refusals were not scored or no harm fell."""
    fell = [one for one in refusal_changes(analysis) if one.harm_fell]
    if not fell:
        return ""
    silent = [one for one in fell if not one.rose]
    partly = [one for one in fell if one.rose and one.refused.value < -one.harm / 2]
    parts = []
    if silent:
        parts.append(
            f"Harm fell without refusals rising for {_where(silent)}: fewer answers comply, and no more refuse, so "
            f"they are broken or beside the point ({_most(silent)})."
        )
    if partly:
        parts.append(
            f"Refusals rose by less than half of what harm fell for {_where(partly)} ({_most(partly)}): the other "
            "answers neither comply nor refuse."
        )
    return " ".join(parts) or "Wherever harm fell, refusals rose: the models refuse again."


def _where(changes: list[Change]) -> str:
    by_merge: dict[str, list[str]] = {}
    for one in changes:
        by_merge.setdefault(one.merge, []).append(one.label)
    return "; ".join(f"{listed(labels)} on {merge}" for merge, labels in by_merge.items())


def _most(changes: list[Change]) -> str:
    """The numbers of the one whose harm fell most; with its name where there are several."""
    one = min(changes, key=lambda change: change.harm)
    name = f"most for {one.label} on {one.merge}: " if len(changes) > 1 else ""
    refused = f"{_difference(one.refused.value)} {_span(one.refused.low, one.refused.high)}"
    return f"{name}harm {_difference(one.harm)} points, refusals {refused}"
