"""Which GPUs each worker gets, and what a study says of its evaluations."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from eval.settings import EvalSettings
from experiments.steps.jobs import Context, Job
from experiments.steps.queue import Steps, _groups, said_once
from lata import code_version


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


@pytest.mark.parametrize(
    ("file", "methods"),
    [
        ("lata/methods/baselines/ties.py", {"ties", "dare_ties"}),
        ("lata/methods/sums.py", {"ta", "ties", "dare_ties", "model"}),
        ("lata/engine/stream.py", {"ta", "ties", "dare_ties", "model"}),
        ("lata/output/writer.py", set()),
        ("experiments/steps/scoring.py", set()),
        ("experiments/steps/worker.py", set()),
    ],
)
def test_code_counts_in_the_keys_of_the_merges_that_it_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, methods: set[str]
) -> None:
    for part in ("lata", "experiments/steps"):
        shutil.copytree(code_version.ROOT / part, tmp_path / part)
    settings = EvalSettings(data_dir=tmp_path, device="cpu")
    steps = Steps(Context({0: {}}, {"test": settings}, tmp_path / "store"))
    steps.digests = {0: dict.fromkeys(("base", "pre", "math"), "0" * 64)}
    monkeypatch.setattr(code_version, "ROOT", tmp_path)

    def keys() -> dict[str, str]:
        code_version._read.cache_clear()
        jobs = {method: Job(0, "pre", method, ("math",)) for method in ("ta", "ties", "dare_ties")}
        return {name: steps._merge_key(job) for name, job in {**jobs, "model": Job(0, "math")}.items()}

    before = keys()
    with (tmp_path / file).open("a") as stream:
        stream.write("MORE = 1\n")
    after = keys()
    assert {name for name in before if after[name] != before[name]} == methods
