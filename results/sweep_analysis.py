"""Everything computed once from a sweep; its tables, figures, claims and report read it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from results.analysis import Analysis, analyse
from results.claims import check_claims
from results.sweep import DEV, TEST, Sweep, one_lambda
from results.sweep_breaks import Break, break_of
from results.sweep_choice import Choice, choice_of
from results.sweep_curves import NORMALISED, RAW, Curve, Scored, curves
from results.sweep_points import all_scores, lineup_of, points_of, references


@dataclass(frozen=True)
class SweepAnalysis:
    """A sweep with its intervals, breaks and choices.

    Attributes:
        sweep: what was handed over.
        scores: every score with its interval, both splits.
        curves: (merge, label) → its points, without their bootstrap draws.
        breaks: (merge, label) → where it breaks; absent where no λ was swept.
        choices: (merge, label) → what was chosen, and the cost.
        objective: what λ is chosen by, the same for all merges: `NORMALISED`, or `RAW` where an expert has no score.
        chosen: the study at the chosen points, with all its comparisons.
        fixed: the study at λ = 1, where that was swept; the claims that name this λ are decided by it.
        claims: see `results.claims.check_claims`.
    """

    sweep: Sweep
    scores: pd.DataFrame
    curves: dict[tuple[str, str], Curve]
    breaks: dict[tuple[str, str], Break]
    choices: dict[tuple[str, str], Choice]
    objective: str
    chosen: Analysis
    fixed: Analysis | None
    claims: pd.DataFrame

    @property
    def meta(self) -> dict[str, Any]:
        return self.sweep.meta

    @property
    def by_development(self) -> bool:
        """Whether λ was chosen on the development split."""
        return self.meta.get("selection", "grid") in ("grid", "search")

    @property
    def choosing(self) -> str:
        """Where a method's λ comes from, as words that follow it."""
        if self.by_development:
            return "chosen on the development split"
        return "from the norms of the task vectors" if self.meta["selection"] == "metagpt" else "set beforehand"

    @property
    def seeds(self) -> list[int]:
        return self.chosen.lineup.seeds

    @property
    def merges(self) -> list[str]:
        """Learning merges, in order."""
        return list(dict.fromkeys(merge for merge, _ in self.curves))

    def labels(self, merge: str | None = None) -> list[str]:
        """Methods of one merge, or of all, in the order of tables."""
        return list(dict.fromkeys(label for other, label in self.curves if merge in (None, other)))

    def of(self, merge: str) -> Iterator[Curve]:
        """The curves of one merge."""
        return (curve for (other, _), curve in self.curves.items() if other == merge)

    def members(self, merge: str) -> list[str]:
        """Tasks that were merged, in table order."""
        return self.chosen.lineup.members(merge)


def analyse_sweep(sweep: Sweep) -> SweepAnalysis:
    """Intervals of every point, where each method breaks, what was chosen and what that cost.

    Raises:
        ValueError: the tables do not belong together.
    """
    lineup = lineup_of(sweep)
    merges = lineup.merges("learn")
    normalise = bool(merges) and all(references(sweep, merge) is not None for merge in merges)
    parts: list[pd.DataFrame] = []
    found: dict[tuple[str, str], Curve] = {}
    breaks: dict[tuple[str, str], Break] = {}
    choices: dict[tuple[str, str], Choice] = {}
    for merge in merges + lineup.merges("forget") or [""]:
        dev = replace(points_of(sweep, merge, DEV), measures={}) if sweep.rows("scores", DEV) else None
        test = points_of(sweep, merge, TEST)
        parts += [part.scores for part in (test, dev) if part is not None]
        for curve in curves(sweep, merge, test, dev, normalise):
            key = (merge, curve.label)
            if (one := break_of(curve)) is not None:
                breaks[key] = one
            choices[key] = choice_of(sweep, curve)
            found[key] = _light(curve)
    rank = {label: place for place, label in enumerate(lineup.labels("learn"))}
    order = sorted(found, key=lambda key: (merges.index(key[0]), rank[key[1]]))
    found, choices = ({key: own[key] for key in order} for own in (found, choices))  # type: ignore[assignment]
    breaks = {key: breaks[key] for key in order if key in breaks}
    scores = all_scores(sweep, lineup, parts)
    chosen, fixed = analyse(sweep.at()), _at_one(sweep)
    objective = NORMALISED if normalise else RAW
    claims = check_claims(fixed or chosen, swept=scores)
    return SweepAnalysis(sweep, scores, found, breaks, choices, objective, chosen, fixed, claims)


def _light(curve: Curve) -> Curve:
    """The curve without its draws, which are a hundred times larger than everything else."""
    shape = (*curve.present_PS.shape, 0)
    return replace(
        curve, pre=None, scored={name: Scored(own.value_PS, np.zeros(shape)) for name, own in curve.scored.items()}
    )


def _at_one(sweep: Sweep) -> Analysis | None:
    """The study at λ = 1, of the merges that were scored there."""
    found = {key[:4]: key[4] for key in sweep.rows("scores", TEST) if key[4] and one_lambda(key[4]) == 1.0}
    return analyse(sweep.at(found)) if found else None
