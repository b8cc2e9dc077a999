"""Which GPUs each worker gets."""

from __future__ import annotations

from pathlib import Path

import pytest

from eval.settings import EvalSettings
from experiments.steps import _groups


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
