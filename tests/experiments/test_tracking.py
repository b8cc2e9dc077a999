"""What is logged beside scores, similarities and claims."""

from __future__ import annotations

import pandas as pd

from eval.schema import ITEM_COLUMNS, SCORE_COLUMNS
from experiments.study.tracking import optional_tables
from results.study.run import GRANULAR, Study
from results.study.sweep import Sweep

ITEMS = pd.DataFrame(columns=["seed", "kind", "merge", "label", "point", *ITEM_COLUMNS])
LAYERS = pd.DataFrame([("mini", 0, "block", "0", 0, "math", 0.9)], columns=list(GRANULAR))
CHOICES = ["seed", "kind", "merge", "label", "selection", "point"]


def test_a_study_has_its_layers_where_it_looked_at_them() -> None:
    study = Study(pd.DataFrame(columns=list(SCORE_COLUMNS)), ITEMS, granular=LAYERS)
    found = optional_tables(study)
    assert list(found) == ["granular"]
    pd.testing.assert_frame_equal(found["granular"], LAYERS)


def test_a_sweep_has_the_choices_of_every_way() -> None:
    row = {"seed": 0, "kind": "learn", "merge": "math+code", "label": "ta", "lambda": 1.0, "point": "1"}
    score = {**row, "task": "gsm8k", "metric": "exact_match", "filter": "strict-match", "split": "test"}
    scores = pd.DataFrame([{**score, "value": 0.5, "n": 2}])
    own, other = (pd.DataFrame([{**row, "selection": way}])[CHOICES] for way in ("grid", "fixed"))
    empty = Study(pd.DataFrame(columns=list(SCORE_COLUMNS)), ITEMS, granular=LAYERS)
    sweep = Sweep(scores, ITEMS, own, empty.similarity, empty.weights, others=other)
    found = optional_tables(sweep)
    assert list(found) == ["choices"]
    assert found["choices"]["selection"].tolist() == ["grid", "fixed"]
