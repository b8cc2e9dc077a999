"""Everything computed once from a sweep; its tables, figures, claims and report read it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

from results.analysis.choice import Choice, Way, choice_of, ways_of
from results.analysis.crossings import Break, break_of
from results.analysis.curves import NORMALISED, RAW, Curve, forgetting_curves, learning_curves
from results.analysis.forgetting import Forgotten, Passage, forgotten_of, passage_of
from results.analysis.points import Points, all_scores, lineup_of, references
from results.analysis.snapshot import Analysis, analyse
from results.study.run import rows_of
from results.study.selection import harm_threshold
from results.study.sweep import DEV, TEST, Sweep, one_lambda


@dataclass(frozen=True)
class Forgetting:
    """One method on one target: its points, without their bootstrap draws, and what becomes of them.

    Attributes:
        curve: the points.
        passage: where harm falls to the threshold; None where the target was not scored.
        choice: the λ that was chosen.
    """

    curve: Curve
    passage: Passage | None
    choice: Forgotten


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
        fixed: the study at λ = 1, where that was swept; the claims that name this λ are decided by it. Where only
            one of learning and forgetting was swept there, the other stands in it at its chosen points.
        forgettings: (merge, label) → what forgets there.
        ways: (merge, label) → what each way of choosing λ made of it; empty where there is one way alone.
    """

    sweep: Sweep
    scores: pd.DataFrame
    curves: dict[tuple[str, str], Curve]
    breaks: dict[tuple[str, str], Break]
    choices: dict[tuple[str, str], Choice]
    objective: str
    chosen: Analysis
    fixed: Analysis | None
    forgettings: dict[tuple[str, str], Forgetting]
    ways: dict[tuple[str, str], dict[str, Way]]

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

    @property
    def forgets(self) -> list[str]:
        """Forgetting merges, in order."""
        return list(dict.fromkeys(merge for merge, _ in self.forgettings))

    @property
    def forgetting_labels(self) -> list[str]:
        """Methods that forget, in the order of tables."""
        return list(dict.fromkeys(label for _, label in self.forgettings))

    @property
    def threshold(self) -> float:
        """The harm that is still acceptable."""
        return harm_threshold(self.meta)

    def of(self, merge: str) -> Iterator[Curve]:
        """The curves of one merge."""
        return (curve for (other, _), curve in self.curves.items() if other == merge)

    def forgetting(self, merge: str) -> dict[str, Forgetting]:
        """The methods of one forgetting."""
        return {label: one for (other, label), one in self.forgettings.items() if other == merge}

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
    ways: dict[tuple[str, str], dict[str, Way]] = {}
    forgettings: dict[tuple[str, str], Forgetting] = {}
    for merge in merges + lineup.merges("forget") or [""]:
        dev = Points(sweep, merge, DEV) if sweep.rows("scores", DEV) else None
        test = Points(sweep, merge, TEST, dev.lineup if dev else None)
        parts += [part.scores for part in (test, dev) if part is not None]
        del dev
        for curve in learning_curves(test, references(sweep, merge) if normalise else None):
            key = (merge, curve.label)
            if (one := break_of(curve)) is not None:
                breaks[key] = one
            choices[key] = choice_of(sweep, curve)
            ways[key] = ways_of(sweep, curve)
            found[key] = curve.light()
        for harmful in forgetting_curves(test):
            passage, choice = passage_of(harmful, harm_threshold(sweep.meta)), forgotten_of(sweep, harmful)
            forgettings[merge, harmful.label] = Forgetting(harmful.light(), passage, choice)
    rank = {label: place for place, label in enumerate(lineup.labels("learn"))}
    order = sorted(found, key=lambda key: (merges.index(key[0]), rank[key[1]]))
    found, choices = ({key: own[key] for key in order} for own in (found, choices))  # type: ignore[assignment]
    breaks = {key: breaks[key] for key in order if key in breaks}
    ways = {key: ways[key] for key in order if ways[key]}
    order = [(merge, label) for merge in lineup.merges("forget") for label in lineup.labels("forget", merge)]
    forgettings = {key: forgettings[key] for key in order}
    scores = all_scores(sweep, lineup, parts)
    chosen, fixed = analyse(sweep.at()), _at_one(sweep)
    objective = NORMALISED if normalise else RAW
    return SweepAnalysis(sweep, scores, found, breaks, choices, objective, chosen, fixed, forgettings, ways)


def _at_one(sweep: Sweep) -> Analysis | None:
    """The study at λ = 1, of the merges that were scored there, and at the choices of a kind that never was."""
    found = {key[:4]: key[4] for key in sweep.rows("scores", TEST) if key[4] and one_lambda(key[4]) == 1.0}
    if not found:
        return None
    kinds = {key[1] for key in found}
    others = (row for row in rows_of(sweep.choices) if row.kind not in kinds)
    chosen = {(int(row.seed), str(row.kind), str(row.merge), str(row.label)): str(row.point) for row in others}
    return analyse(sweep.at(found | chosen))


def section_of(found: SweepAnalysis, merge: str) -> str:
    """`target_l2 forgets ua`."""
    entry = found.meta.get("forgets", {}).get(merge, {})
    return f"{entry.get('target', merge)} forgets {entry.get('forget', 'ua')}"
