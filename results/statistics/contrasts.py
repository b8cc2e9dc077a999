"""The mean score of a method over all merges, with paired intervals of differences.

The scores of a mean know which test items they share (`inference.Statistic`), and so does a difference of two means.
"""

from __future__ import annotations

from results.statistics.estimates import Measure
from results.statistics.inference import Contrast, contrast, mean_of
from results.study.lineup import Lineup, Model


def mean_scores(lineup: Lineup, measures: dict[str, Measure], cells: list[tuple[str, str]]) -> dict[str, Contrast]:
    """Every label's mean over (merge, task) cells; labels that lack a cell or are unstable in one are left out."""
    means = {}
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
                means[label] = contrast(mean_of(parts))
    return means
