"""What a study hands over: the noise floor of evaluations that were made again."""

from __future__ import annotations

import io
import json

import pandas as pd
import pytest

from eval.schema import ITEM_COLUMNS
from experiments.steps.jobs import AGAIN, TEST, Job
from experiments.study.frames import facts_of_noise


def files(right: int, batch_size: int, n: int = 8) -> dict[str, bytes]:
    rows = [("gsm8k", "exact_match", "strict-match", "test", str(i), "", float(i < right), 1.0) for i in range(n)]
    buffer = io.BytesIO()
    pd.DataFrame(rows, columns=list(ITEM_COLUMNS)).to_parquet(buffer)
    return {
        "items.parquet": buffer.getvalue(),
        "scores.json": json.dumps([{"task": "gsm8k", "n": n, "batch_size": batch_size}]).encode(),
    }


@pytest.mark.parametrize(("half", "floor"), [(4, {"gsm8k": 0.25}), (8, {}), (16, {})])
def test_a_floor_is_known_only_where_the_batches_were_others(half: int, floor: dict[str, float]) -> None:
    job = Job(0, start="pre")
    made = {(job, TEST): files(4, 2 * half), (job, AGAIN): files(6, half)}
    assert facts_of_noise(made) == floor
