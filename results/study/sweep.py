"""What a λ sweep hands over: the scores and items of every point, and what was chosen on the development split.

A *point* names the λ of a row: ``""`` for a model as it is, ``"0.6"`` for one λ, ``"code=0.4,math=0.6"`` for one λ a
task (tasks sorted, numbers written with ``:g``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from results.study.run import GRANULAR, ITEM_KEY, KEY, Study, rows_of

Key = tuple[int, str, str, str]  # seed, kind, merge, label
TEST, DEV = "test", "dev"

_KEY = ("seed", *KEY)
_CHOICES = (*_KEY, "selection", "point")


@dataclass(frozen=True)
class Sweep:
    """Everything that `summaries.sweep.summarise_sweep` reads.

    Attributes:
        scores: one row a score, columns `eval.schema.SCORE_COLUMNS` without ``stderr``, ``ci_low``, ``ci_high``;
            rows of the splits ``test`` and ``dev``. Models of the family have the point ``""``.
        items: one row an item and metric: ``seed``, ``kind``, ``merge``, ``label``, ``point`` and `ITEM_COLUMNS`.
        choices: ``seed``, ``kind``, ``merge``, ``label``, ``selection``, ``point``: what the development split chose.
            A method without a stable point has no row.
        similarity: as `results.study.run.Study`.
        weights: as `results.study.run.Study`.
        meta: as `results.study.run.Study`, and ``selection`` (fixed, grid, metagpt or search) and ``lambdas`` (points
            in the order of tables).
        granular: as `results.study.run.Study`.
        others: as `choices`: what other ways of choosing λ (``selection``) chose. May be empty.
    """

    scores: pd.DataFrame
    items: pd.DataFrame
    choices: pd.DataFrame
    similarity: pd.DataFrame
    weights: pd.DataFrame
    meta: dict[str, Any] = field(default_factory=dict)
    granular: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(GRANULAR)))
    others: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(_CHOICES)))

    def __post_init__(self) -> None:
        for name, needed in (
            ("scores", (*_KEY, "point", "lambda", *ITEM_KEY, "value", "n")),
            ("items", (*_KEY, "point", *ITEM_KEY, "item", "cluster", "value", "weight")),
            ("choices", _CHOICES),
            ("granular", GRANULAR),
            ("others", _CHOICES),
        ):
            missing = [column for column in needed if column not in getattr(self, name).columns]
            if missing:
                raise ValueError(f"sweep.{name} lacks the columns {', '.join(missing)}; see eval/schema.py")
        layers_only = self.scores.empty and not (self.similarity.empty and self.granular.empty)
        if not layers_only and not (self.scores["split"] == TEST).any():
            raise ValueError("sweep.scores has no row of the test split: evaluate at least one point on it")
        for name, unique, rule in (
            ("scores", (*_KEY, "point", *ITEM_KEY), "every point is scored once"),
            ("choices", _KEY, "one λ is chosen"),
            ("others", (*_KEY, "selection"), "each way of choosing chooses one λ"),
        ):
            rows = getattr(self, name)[list(unique)]
            twice = rows[rows.duplicated()].to_numpy()
            if len(twice):
                raise ValueError(f"sweep.{name} has two rows of {_words(twice[0])}; {rule}")
        for frame in (self.choices, self.others):
            for row in rows_of(frame[frame["kind"] != "model"]):
                self._known((row.seed, row.kind, row.merge, row.label), row.point)

    def _known(self, key: Key, point: str) -> None:
        if (*key, point) not in self.rows("scores", TEST):
            raise ValueError(f"no test score of {_words(key)} at λ = {point}; evaluate this point on the test split")

    @cached_property
    def _places(self) -> dict[tuple[str, str], dict[tuple[Any, ...], np.ndarray]]:
        return {}

    def rows(self, table: str, split: str) -> dict[tuple[Any, ...], np.ndarray]:
        """(seed, kind, merge, label, point) → places of its rows of one split in `scores` or `items`."""
        if (table, split) not in self._places:
            frame = getattr(self, table)
            wanted = np.flatnonzero((frame["split"] == split).to_numpy())
            columns = [*_KEY, "point"]
            part = frame[columns].iloc[wanted]
            found = part.groupby(columns, sort=False, observed=True).indices if len(part) else {}
            self._places[table, split] = {_plain(key): wanted[places] for key, places in found.items()}
        return self._places[table, split]

    def at(self, points: Mapping[Key, str] | None = None) -> Study:
        """The test scores with one point for each merge, and the family's own: what `results.summaries.study`
        summarises.

        Args:
            points: (seed, kind, merge, label) → point. Merges that are not named are left out. Default: `choices`.

        Raises:
            ValueError: a point has no test score.
        """
        if points is None:
            points = {
                (int(row.seed), str(row.kind), str(row.merge), str(row.label)): str(row.point)
                for row in rows_of(self.choices)
            }
        wanted = {(*key, point) for key, point in points.items() if key[1] != "model"}
        for seed, kind, merge, label, point in sorted(wanted):
            self._known((seed, kind, merge, label), point)
        scores, items = (
            self.part(table, TEST, lambda key: key[1] == "model" or key in wanted) for table in ("scores", "items")
        )
        return Study(scores, items, self.similarity, self.weights, self.meta, self.granular)

    def part(self, table: str, split: str, wanted: Callable[[tuple[Any, ...]], bool]) -> pd.DataFrame:
        """The rows of one split in `scores` or `items` whose (seed, kind, merge, label, point) is wanted."""
        parts = [places for key, places in self.rows(table, split).items() if wanted(key)]
        places = np.sort(np.concatenate(parts)) if parts else np.zeros(0, dtype=np.int64)
        return getattr(self, table).iloc[places].reset_index(drop=True)

    @cached_property
    def methods(self) -> list[tuple[str, str, str]]:
        """(kind, merge, label) of everything that was swept, in the order of the score table."""
        keys = self.scores.loc[self.scores["kind"] != "model", list(KEY)].drop_duplicates()
        return [(str(kind), str(merge), str(label)) for kind, merge, label in keys.itertuples(index=False)]

    def points(self, kind: str, merge: str, label: str) -> list[str]:
        """The points of one method on one merge that were scored on the test split for any seed, in order."""
        found = {key[4] for key in self.rows("scores", TEST) if key[1:4] == (kind, merge, label)}
        return self.ordered(found)

    def ordered(self, points: Iterable[str]) -> list[str]:
        """Points by `meta["lambdas"]`, those not named there after them by their numbers."""
        listed = {str(point): place for place, point in enumerate(self.meta.get("lambdas", []))}
        return sorted(points, key=lambda point: (listed.get(point, len(listed)), point_key(point)))

    def choice(self, seed: int, kind: str, merge: str, label: str) -> str | None:
        """What was chosen for a merge; None where nothing was."""
        return self._choices.get((seed, kind, merge, label))

    @cached_property
    def _choices(self) -> dict[tuple[Any, ...], str]:
        return dict(zip(map(_plain, self.choices[list(_KEY)].to_numpy()), self.choices["point"], strict=True))


def lambdas_of(point: str) -> dict[str, float]:
    """``"code=0.4,math=0.6"`` → {"code": 0.4, "math": 0.6}; ``"0.6"`` → {"": 0.6}; ``""`` → {}.

    Raises:
        ValueError: not a point.
    """
    if not point:
        return {}
    try:
        if "=" not in point:
            return {"": float(point)}
        pairs = [part.split("=") for part in point.split(",")]
        return {task: float(value) for task, value in pairs}
    except ValueError as error:
        raise ValueError(f"`{point}` is not a point; write 0.6, or code=0.4,math=0.6") from error


def one_lambda(point: str) -> float:
    """λ of a point that has one for all tasks, else NaN."""
    return lambdas_of(point).get("", math.nan)


def point_key(point: str) -> tuple[bool, list[float], str]:
    """Sorts points by number, those with one λ first."""
    found = lambdas_of(point)
    return "" not in found, [found[task] for task in sorted(found)], point


def _plain(key: Iterable[Any]) -> tuple[Any, ...]:
    seed, *names = key
    return (int(seed), *map(str, names))


def _words(names: Iterable[Any]) -> str:
    seed, *rest = names
    return f"{' '.join(str(name) for name in rest if str(name))}, seed {seed}"
