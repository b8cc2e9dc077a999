"""What a study hands over: scores, items, similarities, weights and what is known about them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

#: Names a model within one study: a family member, or a method's merge of some experts.
KEY = ("kind", "merge", "label")
ITEM_KEY = ("task", "metric", "filter", "split")

_SCORES = ("seed", *KEY, "method", "lambda", "task", "metric", "filter", "split", "value", "n")
_ITEMS = ("seed", *KEY, *ITEM_KEY, "item", "cluster", "value", "weight")
_SIMILARITY = ("family", "seed", "layer", "task", "similarity")
_WEIGHTS = ("family", "seed", "layer", "task", "schedule", "weight")
GRANULAR = ("family", "seed", "granularity", "layer", "depth", "task", "similarity")


@dataclass(frozen=True)
class Study:
    """Everything that `summarise` reads.

    Attributes:
        scores: one row a score, columns `SCORE_COLUMNS` without ``stderr``, ``ci_low``, ``ci_high``. Without any row
            only in a study of layers, which has similarities.
        items: one row an item and metric: ``seed``, ``kind``, ``merge``, ``label`` and `ITEM_COLUMNS`.
        similarity: ``family``, ``seed``, ``layer``, ``task``, ``similarity``; may be empty. Optional: the rest of
            `lata.quantities.MEASURED`, and ``outside``, the share of the task's ‖τ‖² outside the blocks.
        weights: ``family``, ``seed``, ``layer``, ``task``, ``schedule``, ``weight``; may be empty.
        meta: ``experiment``, ``family``, ``title``, ``command``, ``seeds``; ``merges`` {name: experts};
            ``forgets`` {name: {"target", "forget"}}; ``expert_task`` {expert: task}; ``models`` (labels in the
            order of rows); ``baseline``; ``provenance``. Optional: ``threshold`` {"kind": "quantile" | "value",
            "value": x}, ``harm_threshold``, ``utility_margin``, ``schedule`` {"learn": …, "forget": …} (the
            LATA schedule that claims are decided by), ``noise_floor`` {task: x} (`noise.primary_floors`; of other
            tasks no floor is known), ``miniature`` (whether the models are this suite's embedded family),
            ``groups`` {method: ``baseline``, ``lata`` or ``control``, as it was registered}, in the order of tables;
            ``controls`` (labels of further rows that are controls), ``method_notes`` {method: what a reader of its
            results must know}.
        granular: similarities of several granularities: ``family``, ``seed``, ``granularity`` (block, module or
            tensor), ``layer`` (its key), ``depth`` (index of its block, −1 outside blocks), ``task``,
            ``similarity``; may be empty. Optional: the rest of `lata.quantities.MEASURED`.
    """

    scores: pd.DataFrame
    items: pd.DataFrame
    similarity: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(_SIMILARITY)))
    weights: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(_WEIGHTS)))
    meta: dict[str, Any] = field(default_factory=dict)
    granular: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(GRANULAR)))

    def __post_init__(self) -> None:
        for name, needed in (
            ("scores", _SCORES),
            ("items", _ITEMS),
            ("similarity", _SIMILARITY),
            ("weights", _WEIGHTS),
            ("granular", GRANULAR),
        ):
            frame = getattr(self, name)
            missing = [column for column in needed if column not in frame.columns]
            if missing:
                raise ValueError(f"study.{name} lacks the columns {', '.join(missing)}; see eval/schema.py")
        if self.scores.empty and self.similarity.empty and self.granular.empty:
            raise ValueError("study.scores is empty: evaluate at least one model before summarising")


def rows_of(frame: pd.DataFrame) -> Iterator[Any]:
    """The rows of a frame as named tuples, without the index."""
    return iter(frame.itertuples(index=False))
