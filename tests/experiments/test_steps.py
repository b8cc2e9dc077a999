"""Which GPUs each worker gets, and what a study says of its evaluations."""

from __future__ import annotations

from pathlib import Path

import pytest

from eval.settings import EvalSettings
from experiments.steps.jobs import Job
from experiments.steps.queue import _groups, said_once


@pytest.mark.parametrize(
    ("devices", "options", "expected"),
    [
        ([], {}, []),
        (["0", "1", "2"], {}, ["0", "1", "2"]),
        (["0", "1", "2", "3", "4"], {"backend": "vllm", "tensor_parallel": 2}, ["0,1", "2,3"]),
        (["0", "1", "2"], {"device_map": "auto"}, ["0,1,2"]),
        (["GPU-a"], {"backend": "vllm", "tensor_parallel": 2}, []),
    ],
)
def test_every_model_gets_as_many_gpus_as_it_is_spread_over(
    devices: list[str], options: dict[str, object], expected: list[str]
) -> None:
    settings = EvalSettings(data_dir=Path(), device="cuda", **options)  # type: ignore[arg-type]
    assert _groups(devices, settings) == expected


def test_a_warning_of_several_models_is_one_line() -> None:
    merge = {lam: Job(0, "pre", "ta", ("code", "math"), lam=lam) for lam in (0.5, 1.0)}
    empty = "gsm8k: {} of 100 answers are empty"
    found = said_once(
        {
            Job(0, "base"): [empty.format(7), "refusal: all 100 answers were cut at the task's limit of tokens"],
            merge[0.5]: [],
            merge[1.0]: [empty.format(23)],
        }
    )
    assert found == [
        "base: gsm8k: 7 of 100 answers are empty (2 models in all)",
        "base: refusal: all 100 answers were cut at the task's limit of tokens",
    ]
    assert said_once({merge[1.0]: [empty.format(23)]}) == [f"ta of code+math: {empty.format(23)}"]
