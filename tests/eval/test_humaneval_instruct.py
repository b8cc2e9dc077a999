"""humaneval_instruct asks and reads as lm-eval's stock task does, on humaneval's documents and in its sandbox."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from eval_documents import PROGRAMS
from hypothesis import given
from hypothesis import strategies as st

from eval.fingerprint import task_fingerprint
from eval.settings import TASK_FOLDER, EvalSettings, documents_of

TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}</{{ m.role }}>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
TASK = "humaneval_instruct"


def ours() -> Any:
    """The task's ``utils.py``, which lm-eval loads by its path."""
    spec = importlib.util.spec_from_file_location("instruct_utils", TASK_FOLDER / TASK / "utils.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def stock() -> Iterator[Any]:
    """lm-eval's own functions; the metric that they would fetch from the hub is not needed here."""
    with pytest.MonkeyPatch.context() as patched:
        import evaluate

        class Metric:
            def compute(self, **_: Any) -> tuple[dict[str, float]]:
                return ({},)

        patched.setattr(evaluate, "load", lambda *_: Metric())
        yield importlib.import_module("lm_eval.tasks.humaneval.utils")


def instruct(data_dir: Path, tokenizer: Any = None, source: str = "mini") -> Any:
    from eval.documents.loading import build_requests, load_tasks

    tasks = load_tasks(EvalSettings(data_dir=data_dir, tasks=(TASK,), source=source))
    build_requests(tasks, templated=tokenizer)
    return tasks[f"{TASK}_{source}"]


@pytest.mark.parametrize("templated", [False, True])
def test_prompts_equal_those_of_the_stock_task(
    bench_data: Path,
    human_eval: list[dict[str, str]],
    stock: Any,
    templated: bool,
    tokenizer: Any,
    tiny_model: Callable[..., Any],
) -> None:
    import copy

    from datasets import Dataset
    from lm_eval.api.task import ConfigurableTask
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks._yaml_loader import load_yaml

    from eval.documents.stock import STOCK_ROOT

    chat = copy.deepcopy(tokenizer)
    chat.chat_template = TEMPLATE
    config = load_yaml(STOCK_ROOT / "humaneval" / f"{TASK}.yaml")
    config |= {"dataset_path": None, "custom_dataset": lambda **_: {"test": Dataset.from_list(human_eval)}}
    expected = ConfigurableTask(config=config)
    template = HFLM(pretrained=tiny_model(0), tokenizer=chat).apply_chat_template if templated else None
    expected.build_all_requests(
        rank=0, world_size=1, apply_chat_template=templated, fewshot_as_multiturn=templated, chat_template=template
    )
    task = instruct(bench_data, chat if templated else None, "local")
    prompts = [instance.args for instance in task.instances]
    assert prompts == [instance.args for instance in expected.instances]
    assert len(prompts) == 164
    beginning = "<user>Write a solution to the following problem" if templated else "Write a solution to"
    assert all(prompt.startswith(beginning) for prompt, _ in prompts)
    for (prompt, _), row in zip(prompts, human_eval, strict=True):
        assert prompt.rstrip().endswith(row["prompt"].rstrip())
    assert [f["name"] for f in task.config.filter_list] == [f["name"] for f in expected.config.filter_list]


@given(st.lists(st.text(alphabet="`\n ab", max_size=12), min_size=1, max_size=4), st.text(max_size=5))
def test_programs_equal_those_of_the_stock_filter(stock: Any, answers: list[str], prompt: str) -> None:
    documents = [{"prompt": prompt}]
    found = ours().build_predictions([answers], documents)
    assert found == stock.build_predictions_instruct([answers], documents)


@pytest.mark.parametrize("explained", ["", "```", "\n```\n\nThis adds the numbers.", "\n```\nprint(`x`)"])
def test_a_fenced_answer_passes_and_a_wrong_one_fails(data_dir: Path, explained: str) -> None:
    task = instruct(data_dir)
    for instance in task.instances:
        right = instance.doc_id % 2 == 0
        instance.resps = [instance.doc["canonical_solution"] * right + "    return None" * (not right) + explained]
    task.apply_filters()
    for instance in task.instances:
        scores = task.process_results(instance.doc, [instance.filtered_resps["create_test"]])
        assert scores == {"pass@1": float(instance.doc_id % 2 == 0)}


def test_it_is_scored_beside_humaneval_on_the_same_documents(
    data_dir: Path, tokenizer: Any, tiny_model: Callable[..., Any]
) -> None:
    from eval.harness import Evaluator

    settings = EvalSettings(data_dir=data_dir, tasks=("humaneval", TASK), device="cpu", limit=2, samples=2, k=(1, 2))
    result = Evaluator(settings, tokenizer)(tiny_model(0, max_position_embeddings=1024))
    rows = {(row["task"], row["metric"]): row for row in result.scores}
    assert set(rows) == {(task, f"pass@{k}") for task in ("humaneval", TASK) for k in (1, 2)}
    assert all(row["sandbox"] for row in result.scores)
    assert rows[TASK, "pass@1"]["task_version"].startswith("4.0-mini.")
    plain, chat = ([r["prompt"] for r in result.answers if r["task"] == task] for task in ("humaneval", TASK))
    assert all(prompt in asked for prompt, asked in zip(plain, chat, strict=True))
    assert plain[::2] == [row["prompt"] for row in PROGRAMS[:2]]


def test_its_fingerprint_covers_humanevals_files_and_documents(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    assert documents_of(TASK) == "humaneval"
    copied = Path(shutil.copytree(TASK_FOLDER, tmp_path / "tasks"))
    monkeypatch.setattr("eval.fingerprint.TASK_FOLDER", copied)
    documents = Path(shutil.copytree(data_dir, tmp_path / "data"))
    settings = EvalSettings(data_dir=documents, tasks=(TASK,))
    found = [task_fingerprint(settings)]
    for path in (copied / TASK / "utils.py", copied / "humaneval" / "utils.py", documents / "humaneval_test.jsonl"):
        path.write_text(path.read_text() + ("MORE = 1\n" if path.suffix == ".py" else "\n"))
        found.append(task_fingerprint(settings))
    assert len(set(found)) == 4


def test_a_development_split_is_refused_where_humaneval_has_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"HumanEval has a test split only; leave {TASK} out"):
        EvalSettings(tasks=(TASK,), source="local", data_dir=tmp_path, split="dev")
