"""Settings are checked at once, and the fingerprint moves exactly with what decides the answers."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import eval
from eval.fingerprint import task_fingerprint
from eval.judge.settings import JudgeSettings
from eval.settings import CODE_TASKS, CORE_TASKS, TASKS, EvalSettings, has_development_split
from lata.code_version import _read


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"tasks": ("gsm8",)}, r"eval\.tasks: unknown value 'gsm8'; did you mean gsm8k"),
        ({"tasks": ()}, r"eval\.tasks is empty"),
        ({"tasks": ("gsm8k", "gsm8k")}, r"names a task twice"),
        ({"split": "tst"}, r"eval\.split: unknown value 'tst'; did you mean test"),
        ({"source": "hubb"}, r"eval\.source: unknown value 'hubb'; did you mean hub"),
        ({"dtype": "float23"}, r"eval\.dtype: unknown value 'float23'; did you mean float32"),
        ({"backend": "vlm"}, r"eval\.backend: unknown value 'vlm'; did you mean vllm"),
        ({"chat_template": "yes"}, r"eval\.chat_template: unknown value 'yes'; Choose from: off, on, auto"),
        ({"batch_size": 0}, r"eval\.batch_size must be a whole number of at least 1, not 0"),
        ({"batch_size": True}, r"eval\.batch_size must be a whole number"),
        ({"threads": 1.5}, r"eval\.threads must be a whole number"),
        ({"limit": -3}, r"eval\.limit must be a whole number"),
        ({"num_fewshot": 5}, r"eval\.num_fewshot = 5: the miniature tasks have no shots"),
        ({"num_fewshot": -1, "source": "local"}, r"eval\.num_fewshot must be a whole number of at least 0"),
        ({"data_dir": None}, r"eval\.data_dir is not set"),
        ({"data_dir": None, "source": "local"}, r"eval\.data_dir is not set: eval\.source=local needs the folder"),
        (
            {"data_dir": None, "source": "hub"},
            r"refusal has no data set there; .*refusal_test\.jsonl",
        ),
        ({"split": "dev", "source": "local"}, r"HumanEval has a test split only; leave humaneval out of eval\.tasks"),
        ({"samples": 0}, r"eval\.samples must be a whole number of at least 1"),
        ({"temperature": 0.0}, r"eval\.temperature must be a number over 0, not 0\.0; eval\.samples=1 is greedy"),
        ({"temperature": float("nan")}, r"eval\.temperature must be a number over 0"),
        ({"k": ()}, r"eval\.k is empty"),
        ({"k": (10,), "samples": 5}, r"pass@10 needs eval\.samples of at least 10, not 5"),
        ({"k": (3,), "samples": 5}, r"eval\.k: unknown value 3; .*Choose from: 1, 2, 5, 10"),
        ({"k": (1, 1)}, r"eval\.k names a number twice"),
        ({"seed": -1}, r"eval\.seed must be a whole number of at least 0"),
        ({"tensor_parallel": 0}, r"eval\.tensor_parallel must be a whole number of at least 1"),
        ({"gpu_memory": 1.5}, r"eval\.gpu_memory must be over 0 and at most 1, not 1\.5"),
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
    [
        *({"limit": 3}, {"batch_size": 8}, {"split": "dev"}, {"threads": 2}, {"dtype": "bfloat16"}),
        *({"tasks": ("gsm8k",)}, {"chat_template": "auto"}, {"backend": "vllm"}, {"samples": 5}),
    ],
)
def test_the_fingerprint_moves_with_every_setting_that_decides_answers(
    data_dir: Path, change: dict[str, Any]
) -> None:
    assert task_fingerprint(EvalSettings(data_dir=data_dir)) != task_fingerprint(
        EvalSettings(data_dir=data_dir, **change)
    )


@pytest.mark.parametrize(
    "change",
    [{"allow_weaker_sandbox": True}, {"temperature": 0.2}, {"seed": 1}, {"tensor_parallel": 2}, {"num_fewshot": 0}],
)
def test_the_fingerprint_ignores_what_is_only_allowed_or_does_nothing(data_dir: Path, change: dict[str, Any]) -> None:
    plain = EvalSettings(data_dir=data_dir)
    assert task_fingerprint(replace(plain, **change)) == task_fingerprint(plain)


def test_what_decides_together_with_another_setting_moves_the_fingerprint(data_dir: Path) -> None:
    sampled = EvalSettings(data_dir=data_dir, samples=5)
    for change in ({"temperature": 0.2}, {"seed": 1}, {"k": (1, 5)}):
        assert task_fingerprint(replace(sampled, **change)) != task_fingerprint(sampled)
    engine = EvalSettings(data_dir=data_dir, backend="vllm")
    assert task_fingerprint(replace(engine, tensor_parallel=2)) != task_fingerprint(engine)
    text_only = EvalSettings(data_dir=data_dir, tasks=("wikitext",))
    assert task_fingerprint(replace(text_only, samples=5)) == task_fingerprint(text_only)


def test_a_judge_moves_the_fingerprint_by_what_decides_its_grades(data_dir: Path) -> None:
    judge = JudgeSettings(base_url="http://localhost:1/v1", model="a")
    judged = EvalSettings(data_dir=data_dir, judge=judge)
    assert task_fingerprint(judged) != task_fingerprint(replace(judged, judge=None))
    assert task_fingerprint(judged) != task_fingerprint(replace(judged, judge=replace(judge, model="b")))
    faster = replace(judge, requests_per_minute=600.0, cache=data_dir)
    assert task_fingerprint(judged) == task_fingerprint(replace(judged, judge=faster))


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of this package that fingerprints are taken of."""
    shutil.copytree(Path(eval.__file__).parent, tmp_path / "code" / "eval")
    monkeypatch.setattr("lata.code_version.ROOT", tmp_path / "code")
    monkeypatch.setattr("eval.fingerprint.TASK_FOLDER", tmp_path / "code" / "eval" / "tasks")
    return tmp_path / "code" / "eval"


def settings_of_all_kinds(data_dir: Path) -> dict[str, EvalSettings]:
    """The parts of the package that settings use → such settings."""
    judge = JudgeSettings(base_url="http://localhost:1/v1", model="a")
    return {
        "plain": EvalSettings(data_dir=data_dir, tasks=("wikitext", "gsm8k")),
        "programs": EvalSettings(data_dir=data_dir, tasks=("humaneval",)),
        "rule": EvalSettings(data_dir=data_dir, tasks=("refusal",)),
        "judge": EvalSettings(data_dir=data_dir, tasks=("refusal",), judge=judge),
        "vllm": EvalSettings(data_dir=data_dir, tasks=("wikitext",), backend="vllm"),
    }


def fingerprints(data_dir: Path) -> dict[str, str]:
    _read.cache_clear()
    return {kind: task_fingerprint(settings) for kind, settings in settings_of_all_kinds(data_dir).items()}


def test_comments_and_docstrings_leave_every_fingerprint_as_it_is(data_dir: Path, copied: Path) -> None:
    before = fingerprints(data_dir)
    for path in copied.rglob("*.py"):
        text = path.read_text()
        comment = "# A remark.\n"
        assert text.startswith('"""') or not text
        path.write_text(comment + ('"""Other words' + text[3:] if text else "") + comment)
    for path in copied.rglob("*.yaml"):
        path.write_text("# A remark.\n" + path.read_text())
    assert fingerprints(data_dir) == before


@pytest.mark.parametrize(
    ("file", "kinds"),
    [
        ("backends/batching.py", {"plain", "programs", "rule", "judge", "vllm"}),
        ("backends/generate.py", {"plain", "programs", "rule", "judge"}),
        ("backends/vllm_lm.py", {"vllm"}),
        ("sandbox/supervisor.py", {"programs"}),
        ("judge/rubric.py", {"judge"}),
        ("judge/pace.py", set()),
        ("multilingual/entries.py", set()),
        ("documents/stock.py", {"plain", "programs", "rule", "judge", "vllm"}),
        ("tasks/refusal/utils.py", {"rule", "judge"}),
        ("tasks/gsm8k/_gsm8k.yaml", {"plain"}),
    ],
)
def test_code_counts_in_the_fingerprints_of_what_it_decides(
    data_dir: Path, copied: Path, file: str, kinds: set[str]
) -> None:
    before = fingerprints(data_dir)
    with (copied / file).open("a") as stream:
        stream.write("more: 1\n" if file.endswith("yaml") else "MORE = 1\n")
    after = fingerprints(data_dir)
    assert {kind for kind in before if after[kind] != before[kind]} == kinds


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


def test_tasks_without_a_development_split_are_known() -> None:
    assert {task for task in TASKS if not has_development_split(task, "hub")} == {
        *("humaneval", "humaneval_instruct", "xquad_de", "xquad_ru", "xquad_th"),
        *("truthfulqa_de_mc2", "truthfulqa_ru_mc2", "truthfulqa_zh_mc2"),
    }
    assert {task for task in TASKS if not has_development_split(task, "local")} == {*CODE_TASKS}
    assert all(has_development_split(task, "mini") for task in CORE_TASKS)
