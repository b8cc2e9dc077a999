"""Settings are checked at once, and the fingerprint moves exactly with what decides the answers."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from eval.settings import EvalSettings, task_fingerprint


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"tasks": ("gsm8",)}, r"eval\.tasks: unknown value 'gsm8'; did you mean gsm8k"),
        ({"tasks": ()}, r"eval\.tasks is empty"),
        ({"tasks": ("gsm8k", "gsm8k")}, r"names a task twice"),
        ({"split": "tst"}, r"eval\.split: unknown value 'tst'; did you mean test"),
        ({"source": "hub"}, r"eval\.source: unknown value 'hub'"),
        ({"dtype": "float23"}, r"eval\.dtype: unknown value 'float23'; did you mean float32"),
        ({"backend": "vllm"}, r"eval\.backend"),
        ({"chat_template": "on"}, r"eval\.chat_template"),
        ({"batch_size": 0}, r"eval\.batch_size must be a whole number of at least 1, not 0"),
        ({"batch_size": True}, r"eval\.batch_size must be a whole number"),
        ({"threads": 1.5}, r"eval\.threads must be a whole number"),
        ({"limit": -3}, r"eval\.limit must be a whole number"),
        ({"num_fewshot": 5}, r"eval\.num_fewshot = 5: the miniature tasks have no shots"),
        ({"data_dir": None}, r"eval\.data_dir is not set"),
    ],
)
def test_a_wrong_setting_is_refused_with_its_key_and_value(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        EvalSettings(**{"data_dir": Path("data"), **wrong})
    assert "\n" not in str(caught.value)


def test_the_fingerprint_follows_the_content_of_the_data_not_their_place(data_dir: Path, tmp_path: Path) -> None:
    here = task_fingerprint(EvalSettings(data_dir=data_dir))
    copy = tmp_path / "copy"
    shutil.copytree(data_dir, copy)
    assert task_fingerprint(EvalSettings(data_dir=copy)) == here
    with (copy / "gsm8k_test.jsonl").open("a") as file:
        file.write("\n")
    assert task_fingerprint(EvalSettings(data_dir=copy)) != here
    without = EvalSettings(data_dir=copy, tasks=("wikitext",))
    assert task_fingerprint(without) == task_fingerprint(EvalSettings(data_dir=data_dir, tasks=("wikitext",)))


@pytest.mark.parametrize(
    "change",
    [{"limit": 3}, {"batch_size": 8}, {"split": "dev"}, {"threads": 2}, {"dtype": "bfloat16"}, {"tasks": ("gsm8k",)}],
)
def test_the_fingerprint_moves_with_every_setting_that_decides_answers(
    data_dir: Path, change: dict[str, Any]
) -> None:
    assert task_fingerprint(EvalSettings(data_dir=data_dir)) != task_fingerprint(
        EvalSettings(data_dir=data_dir, **change)
    )


def test_the_fingerprint_ignores_what_is_only_allowed(data_dir: Path) -> None:
    allowed = EvalSettings(data_dir=data_dir, allow_weaker_sandbox=True)
    assert task_fingerprint(allowed) == task_fingerprint(EvalSettings(data_dir=data_dir))


def test_the_fingerprint_of_missing_data_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"not found: .*wikitext_test\.jsonl"):
        task_fingerprint(EvalSettings(data_dir=tmp_path))


def test_importing_the_harness_and_fingerprinting_load_nothing_heavy(data_dir: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from eval.harness import EvalSettings, Evaluator, task_fingerprint; "
        f"task_fingerprint(EvalSettings(data_dir=Path({str(data_dir)!r}))); "
        "heavy = {'torch', 'transformers', 'lm_eval', 'datasets', 'pandas', 'numpy'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_the_fingerprint_takes_less_than_three_tenths_of_a_second(data_dir: Path) -> None:
    settings = EvalSettings(data_dir=data_dir)
    start = time.process_time()
    task_fingerprint(settings)
    assert time.process_time() - start < 0.3
