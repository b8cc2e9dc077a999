"""Where a method stands over all merges: the mean of many scores, with paired intervals of differences.

All scores of a replicate come from one draw of items a task and one draw of seeds, so that means over merges keep the
correlation between merges that share items.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from results.bootstrap import interval, two_sided_p
from results.estimates import Measure
from results.lineup import Lineup, Model
from results.statistics import FloatArray


@dataclass(frozen=True)
class Standing:
    """A label's mean over cells: its value, one value a seed, and bootstrap replicates."""

    label: str
    value: float
    seeds_S: FloatArray
    draws_B: FloatArray


@dataclass(frozen=True)
class Contrast:
    """Difference of two standings, a − b."""

    a: str
    b: str
    value: float
    low: float
    high: float
    p: float
    same_sign: bool

    @property
    def clear(self) -> bool:
        """Whether the interval excludes 0 and all seeds agree in sign."""
        return self.same_sign and (self.low > 0 or self.high < 0)


def contrast(a: Standing, b: Standing) -> Contrast:
    """Paired difference of two standings."""
    gap = (a.draws_B - b.draws_B)[None, :]
    low, high = interval(gap)
    signs = np.sign(a.seeds_S - b.seeds_S)
    same = bool(signs[0] != 0 and (signs == signs[0]).all())
    return Contrast(
        a.label, b.label, a.value - b.value, float(low[0]), float(high[0]), float(two_sided_p(gap)[0]), same
    )


def standings(lineup: Lineup, measures: dict[str, Measure], cells: list[tuple[str, str]]) -> dict[str, Standing]:
    """Every label's mean over (merge, task) cells; labels that lack a cell or are unstable in one are left out."""
    found = {}
    everywhere = list(range(len(lineup.seeds)))
    for label in lineup.labels("learn"):
        values, draws = [], []
        for merge, task in cells:
            key, measure = Model("learn", merge, label), measures.get(task)
            if measure is None or key not in lineup.position or lineup.unstable_seeds(key):
                break
            place = lineup.position[key]
            if len(measure.scored_seeds(place)) < len(everywhere):
                break
            values.append(measure.point_MS[place])
            draws.append(measure.replicates.mean([place], everywhere)[0])
        else:
            if cells:
                seeds = np.mean(values, axis=0)
                found[label] = Standing(label, float(seeds.mean()), seeds, np.mean(draws, axis=0))
    return found
