"""Every point of a forgetting with its scores, intervals and bootstrap draws, from the target itself (λ = 0) on.

Legend: P points, S seeds, B replicates.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from results.analysis.curves import RAW, Curve, estimate_of, fewest, mean_of, pre_of, scored_at, skips
from results.analysis.points import REFUSED, Points, name_of
from results.statistics.estimates import Estimate, Measure
from results.study.lineup import Model
from results.study.selection import utilities
from results.study.sweep import TEST, Sweep, one_lambda
from results.study.wording import heading_of

#: The point of the target itself.
BEFORE = "0"


@dataclass(frozen=True)
class HarmCurve(Curve):
    """One method on one target. The first point is the target itself, where it was scored.

    Of `Curve`: `scored` has every task, `REFUSED` where refusals were counted, and `RAW`, the mean utility, where
    there are several utility tasks.

    Attributes:
        harm: the task whose score should fall.
        utilities: the tasks whose scores should stay (`selection.utilities`).
    """

    harm: str
    utilities: tuple[str, ...]

    kind: ClassVar[str] = "forget"

    @property
    def utility(self) -> str | None:
        """The name of the mean utility, or of the only utility task."""
        return RAW if len(self.utilities) > 1 else next(iter(self.utilities), None)

    @property
    def started(self) -> bool:
        """Whether the target was scored."""
        return self.points[0] == BEFORE


def harm_curves(sweep: Sweep, merge: str, test: Points, dev: Points | None) -> Iterator[HarmCurve]:
    """The curves of one forgetting, a method each.

    Args:
        sweep: where the points come from.
        merge: a forgetting.
        test: its points on the test split.
        dev: its points on the development split, whose instability counts as well.
    """
    skip = skips(test, dev)
    measures = dict(test.measures) | ({REFUSED: test.refused} if test.refused else {})
    found = {name: measure.estimates(test.lineup.models, skip) for name, measure in measures.items()}
    for label in dict.fromkeys(name for kind, other, name in sweep.methods if (kind, other) == ("forget", merge)):
        yield _curve(sweep, merge, label, test, skip, measures, found)


def _curve(
    sweep: Sweep,
    merge: str,
    label: str,
    test: Points,
    skip: dict[int, list[int]],
    measures: dict[str, Measure],
    found: dict[str, list[Estimate | None]],
) -> HarmCurve:
    lineup, seeds = test.lineup, tuple(test.lineup.seeds)
    target, rows = lineup.target(merge), sweep.rows("scores", TEST)
    own = [point for point in sweep.points("forget", merge, label) if target is None or one_lambda(point) != 0]
    models = [Model("forget", merge, name_of(label, point)) for point in own]
    present = [[(s, "forget", merge, label, point) in rows for s in seeds] for point in own]
    if target is not None:
        own, models = [BEFORE, *own], [target, *models]
        present = [[(s, *target, "") in rows for s in seeds], *present]
    places = [lineup.position[model] for model in models]
    present_PS = np.array(present)
    broken_PS = np.array([[s in skip[place] for s in range(len(seeds))] for place in places])
    scored = {name: scored_at(measure, places) for name, measure in measures.items()}
    # A task that the models of the family alone were scored on has no curve.
    scored = {name: one for name, one in scored.items() if np.isfinite(one.value_PS[target is not None :]).any()}
    estimates = {name: [found[name][place] for place in places] for name in scored}
    drawn = {name: measures[name].units((0,)) for name in scored}
    harm = lineup.harm_task(merge)
    useful = utilities([task for task in scored if task != REFUSED], harm)
    if len(useful) > 1:
        scored[RAW] = mean_of([scored[task] for task in useful], [np.ones(len(seeds))] * len(useful))
        estimates[RAW] = [estimate_of(scored[RAW], place, present_PS, broken_PS) for place in range(len(places))]
        drawn[RAW] = fewest(drawn, useful)
    distance_P = np.array([0.0 if model == target else lineup.distance(model) for model in models])
    return HarmCurve(
        merge, label, tuple(own), seeds, present_PS, broken_PS, scored, estimates, distance_P, pre_of(test), drawn,
        harm, tuple(useful),
    )  # fmt: skip


def heading(name: str, curve: HarmCurve) -> str:
    """What a quantity of a forgetting is called, with its unit."""
    if name == curve.harm:
        return f"harm: {heading_of(name)}"
    return {RAW: "mean utility (%)", REFUSED: "refused (%)"}.get(name) or heading_of(name)
