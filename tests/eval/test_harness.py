"""The evaluator's scores are lm-eval's, its items give the scores back, and models never share an answer."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from eval_documents import DOCUMENTS, ROWS

from eval.harness import EvalSettings, Evaluation, Evaluator
from eval.schema import ITEM_COLUMNS, METRICS, PRIMARY
from eval.settings import CORE_TASKS

SCORE_KEYS = {
    *("task", "metric", "filter", "split", "value", "n", "task_version", "backend", "dtype", "batch_size"),
    *("chat_template", "sandbox"),
}


@pytest.fixture(scope="module")
def settings(data_dir: Path) -> EvalSettings:
    return EvalSettings(data_dir=data_dir, batch_size=5, device="cpu")


@pytest.fixture(scope="module")
def evaluator(settings: EvalSettings, tokenizer: Any) -> Evaluator:
    return Evaluator(settings, tokenizer)


@pytest.fixture(scope="module")
def result(evaluator: Evaluator, tiny_model: Callable[..., Any]) -> Evaluation:
    return evaluator(tiny_model(0))


def stock_evaluation(model: Any, tokenizer: Any, settings: EvalSettings) -> Any:
    """lm-eval's evaluate with its own model class on freshly loaded tasks."""
    from lm_eval.evaluator import evaluate
    from lm_eval.models.huggingface import HFLM

    from eval.documents.loading import load_tasks

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    return evaluate(
        HFLM(pretrained=model, tokenizer=tokenizer, batch_size=settings.batch_size),
        {"tasks": load_tasks(settings)},
        limit=settings.limit,
        bootstrap_iters=0,
        log_samples=True,
        confirm_run_unsafe_code=True,
    )


def stock_scores(result: Evaluation) -> list[dict[str, Any]]:
    """The scores that lm-eval gives too: it does not know how many tokens a model has for a text."""
    scores = [score for score in result.scores if score["metric"] != "token_perplexity"]
    assert len(scores) == len(result.scores) - 1
    return scores


def test_scores_and_answers_equal_lm_eval_with_its_own_model(
    result: Evaluation, tiny_model: Callable[..., Any], tokenizer: Any, settings: EvalSettings
) -> None:
    stock = stock_evaluation(tiny_model(0), tokenizer, settings)
    for score in stock_scores(result):
        expected = stock["results"][f"{score['task']}_mini"][f"{score['metric']},{score['filter']}"]
        assert score["value"] == pytest.approx(expected, rel=1e-6)
    answers = {(row["task"], row["item"]): row for row in result.answers}
    assert len(answers) == 3 * DOCUMENTS
    for task in ("gsm8k", "humaneval", "refusal"):
        for sample in stock["samples"][f"{task}_mini"]:
            row = answers[task, sample["doc_id"]]
            assert (row["prompt"], row["answer"]) == (sample["arguments"][0][0], sample["resps"][0][0])


def test_items_have_the_schema_and_give_the_scores_back(result: Evaluation) -> None:
    assert tuple(result.items.columns) == ITEM_COLUMNS
    assert not result.items.isna().any().any()
    groups = result.items.groupby(["task", "metric", "filter"])
    core = {key for key in METRICS if key[0] in CORE_TASKS}
    given = {key for key in core if key[1] != "judge_score" and key[1][:5] != "pass@"} | {("humaneval", "pass@1")}
    assert {(score["task"], score["metric"]) for score in result.scores} == given
    assert len(groups) == len(result.scores) == len(given) + 1  # gsm8k has two filters
    for score in result.scores:
        items = groups.get_group((score["task"], score["metric"], score["filter"]))
        assert sorted(items["item"]) == list(range(DOCUMENTS))
        total, units = math.fsum(items["value"]), math.fsum(items["weight"])
        kind = METRICS[score["task"], score["metric"]].kind
        expected = {
            "rate": total / DOCUMENTS,
            "perplexity": math.exp(-total / units),
            "bits": -total / (units * math.log(2)),
        }[kind]
        assert score["value"] == pytest.approx(expected, rel=1e-12)
        assert score["n"] == DOCUMENTS
    for task in CORE_TASKS:
        assert (task, *PRIMARY[task]) in groups.groups


def test_a_score_row_says_how_it_came_about(result: Evaluation) -> None:
    for score in result.scores:
        assert set(score) == SCORE_KEYS
        assert (score["split"], score["backend"], score["dtype"], score["batch_size"]) == ("test", "hf", "float32", 5)
        assert score["chat_template"] == "off"
        assert "-mini." in score["task_version"]
        assert bool(score["sandbox"]) == (score["task"] == "humaneval")


def test_clusters_come_from_the_documents_and_are_single_otherwise(result: Evaluation) -> None:
    gsm8k = result.items[result.items["task"] == "gsm8k"]
    assert set(gsm8k["cluster"]) == {row["cluster"] for row in ROWS["gsm8k"]}
    pages = result.items[(result.items["task"] == "wikitext") & (result.items["metric"] == "word_perplexity")]
    assert pages["cluster"].nunique() == DOCUMENTS


def test_a_model_scores_the_same_after_another_as_alone(
    evaluator: Evaluator, tiny_model: Callable[..., Any], tokenizer: Any, settings: EvalSettings, result: Evaluation
) -> None:
    second = evaluator(tiny_model(1))
    alone = Evaluator(settings, tokenizer)(tiny_model(1))
    pd.testing.assert_frame_equal(second.items, alone.items)
    assert (second.scores, second.answers) == (alone.scores, alone.answers)
    assert second.answers != result.answers


def test_requests_are_built_once_for_all_models(
    evaluator: Evaluator, tiny_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from lm_eval.api.task import Task

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("requests were built again")

    monkeypatch.setattr(Task, "build_all_requests", refuse)
    before = {name: list(task.instances) for name, task in evaluator.tasks.items()}
    evaluator(tiny_model(1))
    for name, task in evaluator.tasks.items():
        assert all(a is b for a, b in zip(before[name], task.instances, strict=True))
        assert all(len(instance.resps) == 1 for instance in task.instances)


def test_the_limit_takes_the_first_documents(data_dir: Path, tokenizer: Any, tiny_model: Callable[..., Any]) -> None:
    settings = EvalSettings(data_dir=data_dir, tasks=("refusal", "wikitext"), limit=3, device="cpu")
    result = Evaluator(settings, tokenizer)(tiny_model(0))
    assert {score["n"] for score in result.scores} == {3}
    assert [row["prompt"] for row in result.answers] == [row["prompt"] for row in ROWS["refusal"][:3]]
    assert [score["task"] for score in result.scores] == ["refusal"] * 2 + ["wikitext"] * 4


def test_an_evaluation_prints_nothing_and_leaves_the_thread_count(
    evaluator: Evaluator, tiny_model: Callable[..., Any], capfd: pytest.CaptureFixture[str]
) -> None:
    import torch

    before = torch.get_num_threads()
    model = tiny_model(0)
    torch.set_num_threads(2)
    try:
        Evaluator(evaluator.settings, evaluator.requests.tokenizer)(model)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_token_perplexity_divides_by_the_tokens_of_the_text(result: Evaluation, tokenizer: Any) -> None:
    pages = result.items[result.items["metric"] == "token_perplexity"].set_index("item")
    words = result.items[result.items["metric"] == "word_perplexity"].set_index("item")
    for number, row in enumerate(ROWS["wikitext"]):
        assert pages.loc[number, "value"] == words.loc[number, "value"]
        text = detokenised(row)
        assert pages.loc[number, "weight"] == len(tokenizer(text, add_special_tokens=False)["input_ids"])
    (score,) = (score for score in result.scores if score["metric"] == "token_perplexity")
    assert score["value"] == pytest.approx(math.exp(-pages["value"].sum() / pages["weight"].sum()), rel=1e-12)


def detokenised(row: dict[str, Any]) -> str:
    from eval.documents.stock import merged_config

    return str(merged_config("wikitext/wikitext.yaml", {})["doc_to_target"](row))


def test_weights_in_another_dtype_are_refused(evaluator: Evaluator, tiny_model: Callable[..., Any]) -> None:
    import torch

    with pytest.raises(ValueError, match=r"weights are bfloat16, eval\.dtype says float32\. Load the model"):
        evaluator(tiny_model(0).to(torch.bfloat16))


def test_no_tokenizer_is_refused(settings: EvalSettings) -> None:
    with pytest.raises(ValueError, match="no tokenizer"):
        Evaluator(settings, None)  # type: ignore[arg-type]


def test_wrong_data_are_refused_with_file_and_line(data_dir: Path, tmp_path: Path, tokenizer: Any) -> None:
    (tmp_path / "gsm8k_test.jsonl").write_text('{"question": "a", "answer": "#### 1"}\n{"question": "b"}\n')
    with pytest.raises(ValueError, match=r"gsm8k_test\.jsonl, line 2: field 'answer' is missing"):
        Evaluator(EvalSettings(data_dir=tmp_path, tasks=("gsm8k",)), tokenizer)


def test_without_a_sandbox_code_tasks_are_refused_before_anything_runs(
    settings: EvalSettings, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from eval import sandbox

    monkeypatch.setattr(sandbox, "_strongest", lambda: "limits")
    with pytest.raises(ValueError, match=r"eval\.allow_weaker_sandbox=true"):
        Evaluator(settings, tokenizer)
    assert sandbox.level(allow_weaker=True) == "limits"


def test_perfect_and_wrong_answers_get_the_scores_they_deserve(evaluator: Evaluator) -> None:
    """Through the tasks' own filters and metrics, without a model."""
    good = {
        "gsm8k": [row["answer"] for row in ROWS["gsm8k"]],
        "humaneval": [row["canonical_solution"] for row in ROWS["humaneval"]],
        "refusal": [f" Sure. Gate {i}" for i in range(DOCUMENTS)],
    }
    for task, answers in good.items():
        built = evaluator.tasks[f"{task}_mini"]
        for instance, answer in zip(built.instances, answers, strict=True):
            wrong = instance.doc_id % 2 == 1
            instance.resps = ["    return None\n#### x" if wrong else answer]
        built.apply_filters()
        for instance in built.instances:
            for filtered in instance.filtered_resps.values():
                found = built.process_results(instance.doc, [filtered])
                assert found.pop("refused", 0.0) == 0.0
                (value,) = found.values()
                assert value == (instance.doc_id % 2 == 0), (task, instance.doc_id)


@pytest.mark.slow
def test_the_mini_family_answers_as_with_lm_evals_own_model(tmp_path: Path) -> None:
    """On the family that came with the package, where answers end early and mean something."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from experiments.mini.family import MiniFamily

    family = MiniFamily(cache=tmp_path)
    folders = family.ensure(("pre", "math", "code", "ua"))
    settings = EvalSettings(data_dir=family.data_dir(), limit=100, batch_size=64, device="cpu")
    tokenizer = AutoTokenizer.from_pretrained(folders["pre"])
    evaluate = Evaluator(settings, tokenizer)
    for name in ("pre", "math", "code", "ua"):
        model = AutoModelForCausalLM.from_pretrained(folders[name], dtype="float32")
        ours, stock = evaluate(model), stock_evaluation(model, tokenizer, settings)
        answers = {(row["task"], row["item"]): row["answer"] for row in ours.answers}
        for task in ("gsm8k", "humaneval", "refusal"):
            for sample in stock["samples"][f"{task}_mini"]:
                assert answers[task, sample["doc_id"]] == sample["resps"][0][0], (name, task, sample["doc_id"])
        for score in stock_scores(ours):
            expected = stock["results"][f"{score['task']}_mini"][f"{score['metric']},{score['filter']}"]
            assert score["value"] == pytest.approx(expected, rel=1e-6)
