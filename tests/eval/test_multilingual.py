"""The multilingual tasks ask and score what lm-eval's own tasks do on the same rows; what is wrong is named."""

from __future__ import annotations

import gzip
import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from multilingual_documents import COUNT, rows, write

from eval.documents.loading import load_tasks
from eval.documents.multilingual_rows import DEV_ROWS, checked_row, hub, local, subjects
from eval.documents.stock import STOCK_ROOT
from eval.fingerprint import task_fingerprint
from eval.harness import EvalSettings, Evaluator
from eval.multilingual import scores
from eval.multilingual.entries import MULTILINGUAL, StockEntry
from eval.schema import METRICS, PRIMARY
from eval.settings import TASK_FOLDER

GENERATED = [task for task, entry in MULTILINGUAL.items() if "generation_kwargs" in entry.changed]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("multilingual"))


def settings(folder: Path, *tasks: str, **others: Any) -> EvalSettings:
    return EvalSettings(**{"tasks": tasks, "source": "local", "data_dir": folder, "device": "cpu", **others})


def ours(folder: Path, task: str, **others: Any) -> Any:
    (made,) = load_tasks(settings(folder, task, **others)).values()
    made.build_all_requests(rank=0, world_size=1)
    return made


def stock_config(task: str, functions: bool = False) -> dict[str, Any]:
    from lm_eval.tasks._yaml_loader import load_yaml

    return load_yaml(STOCK_ROOT / MULTILINGUAL[task].stock, resolve_func=functions)


def stock_task(task: str, config: dict[str, Any] | None = None, only: Callable[[Any], bool] = lambda _: True) -> Any:
    """lm-eval's own task on the same rows, its shots frozen, its splits named as in its YAML."""
    from datasets import Dataset
    from lm_eval.api.task import ConfigurableTask

    if config is None:
        config = stock_config(task, functions=not task.startswith("xquad"))
    config.pop("tag", None)
    scored = config.get("test_split") or config["validation_split"]
    data = {scored: Dataset.from_list([row for row in rows(task) if only(row)])}
    for key in ("training_split", "fewshot_split", "validation_split"):
        if config.get(key) == "train":
            data["train"] = Dataset.from_list([row for row in rows(task, "train") if only(row)])
    if task.startswith("xquad"):  # its module needs transformers 4
        config["process_results"] = scores.squad
    config["fewshot_config"] = {"sampler": "first_n"}
    built = ConfigurableTask(config={**config, "custom_dataset": lambda **_: data})
    built.build_all_requests(rank=0, world_size=1)
    return built


def arguments(task: Any) -> list[tuple[Any, ...]]:
    return [instance.args for instance in task.instances]


def plain(asked: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Requests without the length of an answer, which the stock tasks leave to the model's default."""
    return [
        (text, {key: value for key, value in more.items() if key != "max_gen_toks"})
        if isinstance(more, dict)
        else (text, more)
        for text, more in asked
    ]


def responses(instance: Any) -> Any:
    """Something that a model could have said, by the request alone."""
    if instance.request_type == "loglikelihood":
        return (-float(sum(map(ord, "".join(instance.args))) % 97) / 7, False)
    return (" ein Fluss", "der Fluss, ja", "川", "")[instance.doc_id % 4]


def scored(task: Any) -> list[dict[str, float]]:
    """lm-eval's way from responses to metrics."""
    for instance in task.instances:
        instance.resps = [responses(instance)]
    task.apply_filters()
    found = []
    for filter_name in task.instances[0].filtered_resps:
        by_document: dict[int, list[Any]] = {}
        for instance in task.instances:
            by_document.setdefault(instance.doc_id, []).append(instance)
        for number, own in by_document.items():
            own.sort(key=lambda instance: instance.idx)
            given = [instance.filtered_resps[filter_name] for instance in own]
            found.append({"filter": filter_name, **task.process_results(task.eval_docs[number], given)})
    return found


@pytest.mark.parametrize("task", [task for task in MULTILINGUAL if task != "tmmluplus"])
def test_requests_and_scores_are_those_of_lm_evals_own_task(folder: Path, task: str) -> None:
    made, stock = ours(folder, task), stock_task(task)
    assert len(made.eval_docs) == COUNT
    assert plain(arguments(made)) == plain(arguments(stock))
    assert made.config.num_fewshot == (stock.config.num_fewshot or 0)
    assert made.config.metric_list == stock.config.metric_list
    found, expected = scored(made), scored(stock)
    assert [score.keys() for score in found] == [score.keys() for score in expected]
    for score, other in zip(found, expected, strict=True):
        assert score.pop("filter") == other.pop("filter")
        assert score == pytest.approx(other, rel=1e-12)
    assert {name for score in found for name in score} == {name for of, name in METRICS if of == task}
    assert len({score[PRIMARY[task][0]] for score in found}) > 1, "all alike: the test would prove nothing"


def test_every_subject_of_tmmluplus_is_asked_as_lm_evals_own_task_asks_it(folder: Path) -> None:
    from lm_eval.tasks._yaml_loader import load_yaml

    made = ours(folder, "tmmluplus")
    found = {number: [] for number in range(COUNT)}
    for instance in made.instances:
        found[instance.doc_id].append(instance.args)
    by_number = dict(enumerate(scored(made)))
    for subject in ("accounting", "physics", "ttqav2"):
        own = load_yaml(STOCK_ROOT / f"tmmluplus/default/tmmluplus_{subject}.yaml", resolve_func=True)
        stock = stock_task("tmmluplus", own, only=lambda row, subject=subject: row["subject"] == subject)
        numbers = [number for number, row in enumerate(rows("tmmluplus")) if row["subject"] == subject]
        assert numbers
        asked = arguments(stock)
        for place, number in enumerate(numbers):
            assert found[number] == asked[4 * place : 4 * place + 4]
        assert [by_number[number] for number in numbers] == scored(stock)


def test_all_subjects_of_lm_eval_are_known_with_their_descriptions() -> None:
    known = subjects(MULTILINGUAL["tmmluplus"])
    assert len(known) == 67
    assert known["accounting"]["description"] == "以下為會計學的單選題，請提供正確答案的選項。\n\n"
    for name, own in known.items():
        assert own["task"] == f"tmmluplus_{name}"
        assert own["dataset_name"] == name or own["dataset_kwargs"]["data_files"]["test"].endswith(f"{name}_test.csv")


@pytest.mark.parametrize("task", MULTILINGUAL)
def test_an_entry_says_what_the_stock_yaml_says(task: str) -> None:
    entry, stock = MULTILINGUAL[task], stock_config(task)
    assert entry.hub == (stock["dataset_path"], stock.get("dataset_name"))
    assert entry.scored == (stock.get("test_split") or stock["validation_split"])
    assert entry.shots == stock.get("num_fewshot", 0)
    assert (task in GENERATED) is (stock["output_type"] == "generate_until")
    assert entry.dev in (None, "train", "validation")
    assert entry.dev != "train" or stock["training_split"] == "train"
    assert set(entry.changed) <= {"generation_kwargs", "process_results", "description"}
    metric, name = PRIMARY[task]
    assert metric in {each["metric"] for each in stock["metric_list"]}
    assert name == stock.get("filter_list", [{"name": "none"}])[0]["name"]


def test_readme_and_table_name_every_task_its_data_and_its_version(folder: Path) -> None:
    readme = (TASK_FOLDER / "multilingual" / "README.md").read_text(encoding="utf-8")
    for task, entry in MULTILINGUAL.items():
        assert f"`{task}`" in readme
        assert f"`{entry.hub[0]}`" in readme
        for field in entry.fields:
            assert f"`{field.rstrip('0123456789')}" in readme, field
        version = ours(folder, task).VERSION
        assert version == f"{stock_config(task)['metadata']['version']}-local.{entry.revision}"


@pytest.mark.parametrize("backend", ["hf", "vllm"])
def test_both_backends_score_all_tasks(
    folder: Path,
    backend: str,
    tokenizer: Any,
    tiny_model: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import types

    import stub_vllm

    chosen = settings(folder, *MULTILINGUAL, backend=backend, batch_size=5, limit=3)
    model: Any = tiny_model(0, max_position_embeddings=2048)
    if backend == "vllm":
        from eval.backends.vllm import Engine

        module = types.ModuleType("vllm")
        module.LLM, module.SamplingParams = stub_vllm.LLM, stub_vllm.SamplingParams  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "vllm", module)
        monkeypatch.setenv("VLLM_ALLOW_LONG_MAX_MODEL_LEN", "1")
        model.save_pretrained(tmp_path)
        tokenizer.save_pretrained(tmp_path)
        model = Engine(tmp_path, chosen, tokenizer)
        chosen = settings(folder, "tmmluplus", "xnli_de", "xquad_de", backend=backend, batch_size=5, limit=3)
    result = Evaluator(chosen, tokenizer)(model)
    assert {(score["task"], score["metric"], score["filter"]) for score in result.scores} >= {
        (task, *PRIMARY[task]) for task in chosen.tasks
    }
    for score in result.scores:
        assert 0 <= score["value"] <= 1
        assert (score["n"], score["backend"], score["batch_size"]) == (3, backend, 5)
        own = result.items[(result.items["task"] == score["task"]) & (result.items["metric"] == score["metric"])]
        assert own["value"].mean() == pytest.approx(score["value"], rel=1e-12)
    assert {answer["task"] for answer in result.answers} == {task for task in chosen.tasks if task in GENERATED}
    premises = result.items[result.items["task"] == "xnli_de"]
    assert premises["cluster"].nunique() == 1, "three hypotheses about one premise"


def test_scores_equal_lm_evals_own_on_its_own_model(
    folder: Path, tokenizer: Any, tiny_model: Callable[..., Any]
) -> None:
    from lm_eval.evaluator import evaluate
    from lm_eval.models.huggingface import HFLM

    model = tiny_model(3, max_position_embeddings=1024)
    tasks = ("xnli_ru", "truthfulqa_de_mc2", "ja_leaderboard_jcommonsenseqa")
    result = Evaluator(settings(folder, *tasks), tokenizer)(model)
    stock = evaluate(
        HFLM(pretrained=model, tokenizer=tokenizer, batch_size=4),
        {"tasks": {task: stock_task(task) for task in tasks}},
        bootstrap_iters=0,
    )
    for score in result.scores:
        assert score["value"] == pytest.approx(stock["results"][score["task"]]["acc,none"], rel=1e-5)


def test_the_shots_are_the_first_training_rows_and_their_number_can_be_set(folder: Path) -> None:
    task = "ja_leaderboard_jcommonsenseqa"
    (first, *_), _ = arguments(ours(folder, task))[0], None
    for row in rows(task, "train")[:3]:
        assert row["question"] in first
    assert rows(task, "train")[3]["question"] not in first
    (none, *_), _ = arguments(ours(folder, task, num_fewshot=0))[0], None
    assert first.endswith(none.removeprefix(stock_config(task)["description"]))
    assert rows(task, "train")[0]["question"] not in none
    with pytest.raises(ValueError, match=rf"{task}': 7 shots need more than the 6 training rows .*num_fewshot"):
        ours(folder, task, num_fewshot=7)


def test_the_development_file_is_read_for_that_split(folder: Path) -> None:
    made = ours(folder, "xnli_th", split="dev")
    assert [doc["hypothesis"] for doc in made.eval_docs] == [row["hypothesis"] for row in rows("xnli_th", "dev")]


def test_a_compressed_file_gives_the_same_rows_and_fingerprint(folder: Path, tmp_path: Path) -> None:
    name = "xquad_ru_test.jsonl"
    (tmp_path / f"{name}.gz").write_bytes(gzip.compress((folder / name).read_bytes()))
    assert arguments(ours(tmp_path, "xquad_ru")) == arguments(ours(folder, "xquad_ru"))
    assert task_fingerprint(settings(tmp_path, "xquad_ru")) == task_fingerprint(settings(folder, "xquad_ru"))


def test_the_fingerprint_covers_rows_shots_and_lm_evals_files(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = write(tmp_path)
    chosen = settings(copy, "ja_leaderboard_jsquad")
    before = task_fingerprint(chosen)
    assert before == task_fingerprint(settings(folder, "ja_leaderboard_jsquad"))
    none = task_fingerprint(settings(copy, "ja_leaderboard_jsquad", num_fewshot=0))
    for part, moved in (("train", True), ("dev", False), ("test", True)):
        file = copy / f"ja_leaderboard_jsquad_{part}.jsonl"
        file.write_text(file.read_text() + "\n")
        assert (task_fingerprint(chosen) != before) is moved
        before = task_fingerprint(chosen)
    assert none != before
    given = list(MULTILINGUAL["ja_leaderboard_jsquad"].content())
    assert "ja_leaderboard_jsquad.yaml" in {name.rpartition("/")[2] for name, _ in given}
    monkeypatch.setattr(StockEntry, "content", lambda _: iter([(name, body + b" ") for name, body in given]))
    assert task_fingerprint(chosen) != before


def test_fingerprinting_loads_nothing_heavy(folder: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from eval.harness import EvalSettings, task_fingerprint; "
        "from eval.multilingual.entries import MULTILINGUAL; "
        f"task_fingerprint(EvalSettings(tuple(MULTILINGUAL), 'local', Path({str(folder)!r}))); "
        "heavy = {'torch', 'transformers', 'lm_eval', 'datasets', 'pandas', 'numpy'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_neither_evaluate_nor_the_network_is_needed(folder: Path) -> None:
    tasks = ("xquad_th", "ja_leaderboard_jsquad", "truthfulqa_zh_mc2")
    code = (
        "import socket, sys; sys.modules['evaluate'] = None; "
        "socket.socket.connect = lambda *_: sys.exit('the network was reached'); "
        "from pathlib import Path; from eval.settings import EvalSettings; "
        "from eval.documents.loading import load_tasks; "
        f"load_tasks(EvalSettings({tasks!r}, 'local', Path({str(folder)!r})))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2], timeout=120)


@pytest.mark.parametrize(
    ("task", "change", "message"),
    [
        ("xnli_de", {"premise": None}, r"field 'premise' must be a string\. Needed: premise, hypothesis, label\."),
        ("xnli_de", {"label": 3}, r"field 'label' must be one of 0, 1, 2"),
        ("xnli_de", {"label": True}, r"field 'label' must be one of 0, 1, 2"),
        ("xnli_de", {"cluster": 5}, r"field 'cluster' is a int, not a string"),
        ("xquad_de", {"answers": {"text": []}}, r"field 'answers\.text' must be a list of strings, not an empty one"),
        ("xquad_de", {"answers": "x"}, r"field 'answers\.text' must be a list of strings"),
        ("tmmluplus", {"answer": "E"}, r"field 'answer' must be one of A, B, C, D"),
        (
            "truthfulqa_de_mc2",
            {"mc2_targets_labels": ["1"]},
            r"field 'mc2_targets_labels' must be a list of whole numbers",
        ),
    ],
)
def test_a_wrong_row_is_refused_by_its_line(task: str, change: dict[str, Any], message: str, tmp_path: Path) -> None:
    lines = [json.dumps({**row, **(change if number == 2 else {})}) for number, row in enumerate(rows(task))]
    (tmp_path / f"{task}_test.jsonl").write_text("\n".join(lines))
    with pytest.raises(ValueError, match=rf"{task}_test\.jsonl, line 3: {message}"):
        local(name=task, data_dir=str(tmp_path))


def test_an_unknown_subject_is_named_with_those_there_are(tmp_path: Path) -> None:
    row = {**rows("tmmluplus")[0], "subject": "acounting"}
    (tmp_path / "tmmluplus_test.jsonl").write_text(json.dumps(row))
    with pytest.raises(ValueError, match=r"unknown subject 'acounting'\. lm-eval has: accounting, admin"):
        local(name="tmmluplus", data_dir=str(tmp_path))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"not found: xnli_de_test\.jsonl \(or \.gz\) in .*Set eval\.data_dir"):
        local(name="xnli_de", data_dir=str(tmp_path))
    (tmp_path / "ja_leaderboard_jsquad_test.jsonl").write_text(json.dumps(rows("ja_leaderboard_jsquad")[0]))
    with pytest.raises(ValueError, match=r"ja_leaderboard_jsquad_train\.jsonl .*or set eval\.num_fewshot=0"):
        local(name="ja_leaderboard_jsquad", data_dir=str(tmp_path))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"source": "mini"}, r"eval\.source=mini: xquad_de is a task of lm-eval.*xquad_de_test\.jsonl"),
        ({"source": "hub", "split": "dev"}, r"eval\.split=dev: xquad_de has one split only.*xquad_de_dev\.jsonl"),
    ],
)
def test_what_a_source_has_not_is_refused_at_once(folder: Path, wrong: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        settings(folder, "xquad_de", **wrong)
    assert "\n" not in str(caught.value)


@pytest.fixture
def asked_hub(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str | None, str]]:
    """What is asked of the hub, which answers with the task's rows."""
    import datasets

    asked: list[tuple[str, str | None, str]] = []

    def load(path: str, name: str | None, *, split: str, data_files: Any = None) -> Any:
        asked.append((path, name, split))
        of = [task for task, entry in MULTILINGUAL.items() if entry.hub in ((path, name), (path, None))]
        task = of[0] if of else "tmmluplus"
        given = rows(task, "train" if "train" in split else "test")
        if task == "tmmluplus":
            given = [{key: value for key, value in given[0].items() if key != "subject"}]
        if data_files is not None:
            assert data_files[split].endswith("data/linear_algebra_test.csv")
            given[0]["A"] = 4
        return datasets.Dataset.from_list(given)

    monkeypatch.setattr(datasets, "load_dataset", load)
    return asked


def test_the_hub_is_asked_for_the_stock_split_and_the_first_training_rows(asked_hub: Any) -> None:
    data = hub(name="ja_leaderboard_jcommonsenseqa")
    assert asked_hub == [
        ("Rakuten/JGLUE", "JCommonsenseQA", "validation"),
        ("Rakuten/JGLUE", "JCommonsenseQA", "train[:3]"),
    ]
    assert (len(data["test"]), len(data["train"])) == (COUNT, 3)


def test_the_development_split_on_the_hub_shares_no_row_with_test_or_shots(asked_hub: Any) -> None:
    hub(name="ja_leaderboard_jcommonsenseqa", split="dev")
    assert [split for *_, split in asked_hub] == [f"train[3:{3 + DEV_ROWS}]", "train[:3]"]
    asked_hub.clear()
    hub(name="xnli_de", split="dev")
    assert [split for *_, split in asked_hub] == [f"train[0:{DEV_ROWS}]"]
    asked_hub.clear()
    hub(name="tmmluplus", split="dev")
    assert {split for *_, split in asked_hub} == {"validation"}


def test_tmmluplus_comes_from_the_hub_subject_by_subject(asked_hub: Any) -> None:
    data = hub(name="tmmluplus")["test"].to_list()
    assert len(data) == len(asked_hub) == 67
    assert {(path, split) for path, _, split in asked_hub} == {("ikala/tmmluplus", "test"), ("csv", "test")}
    assert [row["subject"] for row in data] == [name or "linear_algebra" for _, name, _ in asked_hub]
    (numbers,) = (row for row in data if row["subject"] == "linear_algebra")
    assert (numbers["A"], numbers["description"]) == ("4", "以下為線代的單選題，請提供正確答案的選項。\n\n")


@pytest.mark.parametrize(("task", "program"), [("ja_leaderboard_jaqket_v2", True), ("xnli_de", False)])
def test_a_hub_that_cannot_be_reached_says_how_to_do_without(task: str, program: bool) -> None:
    for call in (lambda: hub(name=task), lambda: task_fingerprint(EvalSettings(tasks=(task,), source="hub"))):
        with pytest.raises(ValueError, match=r"from the Hugging Face hub .*eval\.source=local") as caught:
            call()
        assert ("made by a program" in str(caught.value)) is program
        assert "\n" not in str(caught.value)


def test_a_question_that_the_context_cannot_hold_is_refused(
    folder: Path, tokenizer: Any, tiny_model: Callable[..., Any]
) -> None:
    evaluator = Evaluator(settings(folder, "ja_leaderboard_jcommonsenseqa"), tokenizer)
    with pytest.raises(
        ValueError, match=r"longest question with a choice and 3 shots\), but the model's context is 256"
    ):
        evaluator(tiny_model(0))


@pytest.mark.parametrize("task", MULTILINGUAL)
def test_only_what_a_task_needs_is_kept_of_a_row(task: str) -> None:
    entry, row = MULTILINGUAL[task], rows(task)[0]
    kept = checked_row(entry, {**row, "more": 1}, "here")
    assert set(kept) == {path.partition(".")[0] for path in entry.fields} | {"cluster"}
    assert bool(kept["cluster"]) is (entry.cluster is not None)
    assert checked_row(entry, {**row, "cluster": "own"}, "here")["cluster"] == "own"


@pytest.mark.parametrize(
    ("reference", "answer", "exact", "f1"),
    [
        ("der Fluss Ona", "Der Fluss, Ona!", 1, 1),
        ("der Fluss Ona", "Fluss Ona im Norden", 0, 2 * 2 / (3 + 4)),
        ("a b b", "b b b", 0, 2 * 2 / (2 + 3)),  # the article a is no word
        ("Ona", "Tom", 0, 0),
        ("", "the", 1, 1),
        ("", "Ona", 0, 0),
        ("แม่น้ำ", "แม่น้ำโอนา", 0, 0),
    ],
)
def test_by_hand_squad_counts_the_words_that_both_have(reference: str, answer: str, exact: int, f1: float) -> None:
    assert scores.squad({"answers": {"text": [reference, answer]}}, [answer]) == {"exact_match": exact, "f1": f1}


def test_probability_mass_is_lm_evals_where_that_is_a_number_and_0_to_1_elsewhere() -> None:
    from lm_eval.tasks._yaml_loader import load_yaml

    theirs = load_yaml(STOCK_ROOT / MULTILINGUAL["truthfulqa_de_mc2"].stock, resolve_func=True)["process_results"]
    labels = [1, 0, 1, 0]
    for values in ([-1.0, -2.0, -3.0, -4.0], [-700.0, -701.5, -690.0, -720.0], [0.0, -math.inf, -5.0, -1.0]):
        given = [(value, False) for value in values]
        found = scores.mc2({"mc2_targets": {"labels": labels}}, given)["acc"]
        assert found == pytest.approx(float(theirs({"mc2_targets": {"labels": labels}}, given)["acc"]), rel=1e-12)
    assert scores.mass([-1000.0, -1000.0], [1, 0]) == 0.5
    assert scores.mass([-5.0, math.nan], [1, 0]) == 1.0
    assert scores.mass([math.nan, math.nan], [1, 0]) == 0.0
