"""Where a method stands over all merges: the mean of many scores, with paired intervals of differences.

The scores of a mean know which test items they share (`inference.Statistic`), and so does a difference of two means.
"""

from __future__ import annotations

from dataclasses import dataclass

from results.statistics.estimates import Measure
from results.statistics.inference import Contrast, Statistic, contrast, mean_of
from results.study.lineup import Lineup, Model


@dataclass(frozen=True)
class Standing:
    """A label's mean over cells: its value with its interval, and the statistic behind it."""

    label: str
    statistic: Statistic
    own: Contrast

    @property
    def value(self) -> float:
        return self.own.value

    def against(self, other: Standing) -> Contrast:
        """The paired difference from another one."""
        return contrast(self.statistic - other.statistic)


def standings(lineup: Lineup, measures: dict[str, Measure], cells: list[tuple[str, str]]) -> dict[str, Standing]:
    """Every label's mean over (merge, task) cells; labels that lack a cell or are unstable in one are left out."""
    found = {}
    everywhere = list(range(len(lineup.seeds)))
    for label in lineup.labels("learn"):
        parts = []
        for merge, task in cells:
            key, measure = Model("learn", merge, label), measures.get(task)
            if measure is None or key not in lineup.position or lineup.unstable_seeds(key):
                break
            place = lineup.position[key]
            if len(measure.scored_seeds(place)) < len(everywhere):
                break
            parts.append(measure.statistic(place, everywhere))
        else:
            if parts:
                mean = mean_of(parts)
                found[label] = Standing(label, mean, contrast(mean))
    return found
