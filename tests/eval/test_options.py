"""Sampling, chat templates, contexts, empty answers and judges: what a run does beyond the plain one."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from eval_documents import DOCUMENTS, PROGRAMS, REQUESTS, ROWS
from multilingual_documents import write as write_multilingual

from eval.documents.conversation import conversation
from eval.harness import EvalSettings, Evaluation, Evaluator
from eval.judge.grading import Judgement
from eval.judge.settings import JudgeSettings

TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}</{{ m.role }}>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


@pytest.fixture(scope="module")
def chat_tokenizer(tokenizer: Any) -> Any:
    copied = copy.deepcopy(tokenizer)
    copied.chat_template = TEMPLATE
    return copied


@pytest.fixture(scope="module")
def sampled(data_dir: Path, tokenizer: Any, tiny_model: Callable[..., Any]) -> tuple[Evaluator, Evaluation]:
    settings = EvalSettings(
        data_dir=data_dir, tasks=("gsm8k", "humaneval"), limit=3, device="cpu", samples=5, k=(1, 5)
    )
    evaluator = Evaluator(settings, tokenizer)
    return evaluator, evaluator(tiny_model(0))


def value(result: Evaluation, metric: str, task: str | None = None) -> float:
    (found,) = (row["value"] for row in result.scores if row["metric"] == metric and task in (None, row["task"]))
    return float(found)


def test_sampling_gives_several_programs_a_problem_and_one_answer_elsewhere(
    sampled: tuple[Evaluator, Evaluation],
) -> None:
    answers = sampled[1].answers
    programs = [(row["item"], row["sample"]) for row in answers if row["task"] == "humaneval"]
    assert programs == [(item, sample) for item in range(3) for sample in range(5)]
    assert len({row["answer"] for row in answers if row["task"] == "humaneval"}) > 3
    assert [(row["item"], row["sample"]) for row in answers if row["task"] == "gsm8k"] == [(i, 0) for i in range(3)]
    assert {score["metric"] for score in sampled[1].scores if score["task"] == "humaneval"} == {"pass@1", "pass@5"}


def test_sampled_programs_follow_the_seed_and_leave_torchs_own_alone(
    sampled: tuple[Evaluator, Evaluation], tiny_model: Callable[..., Any], tokenizer: Any
) -> None:
    import torch

    evaluator, first = sampled
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    assert evaluator(tiny_model(0)).answers == first.answers
    torch.manual_seed(7)
    model = tiny_model(0)
    torch.manual_seed(7)
    evaluator(model)
    assert torch.equal(torch.rand(1), expected)
    other = copy.copy(evaluator)
    other.settings = EvalSettings(**{**vars(evaluator.settings), "seed": 1})
    assert other(model).answers != first.answers


def test_sampling_draws_from_the_nucleus_at_the_temperature(sampled: tuple[Evaluator, Evaluation]) -> None:
    tasks = sampled[0].tasks
    arguments = tasks["humaneval_mini"].instances[0].args[1]
    assert {key: arguments[key] for key in ("do_sample", "temperature", "top_p", "top_k")} == {
        "do_sample": True,
        "temperature": 0.8,
        "top_p": 0.95,
        "top_k": 0,
    }
    assert tasks["gsm8k_mini"].instances[0].args[1]["do_sample"] is False


def test_pass_at_k_of_known_samples(sampled: tuple[Evaluator, Evaluation]) -> None:
    """Two of five programs right: pass@1 is 2/5, pass@5 is 1; none right: both are 0."""
    task = sampled[0].tasks["humaneval_mini"]
    for instance in task.instances:
        right = 2 if instance.doc_id == 0 else 0
        solution = PROGRAMS[instance.doc_id]["canonical_solution"]
        instance.resps = [solution] * right + ["    return None\n"] * (5 - right)
        instance.filtered_resps = {}
    task.apply_filters()
    scores = [task.process_results(i.doc, [i.filtered_resps["create_test"]]) for i in task.instances]
    assert scores[0] == {"pass@1": pytest.approx(0.4), "pass@5": 1.0}
    assert scores[1] == scores[2] == {"pass@1": 0.0, "pass@5": 0.0}


@pytest.mark.parametrize("choice", ["on", "auto"])
def test_a_chat_template_wraps_prompts_but_no_pages(
    choice: str, data_dir: Path, chat_tokenizer: Any, tiny_model: Callable[..., Any]
) -> None:
    settings = EvalSettings(
        data_dir=data_dir, tasks=("wikitext", "refusal"), limit=2, device="cpu", chat_template=choice
    )
    result = Evaluator(settings, chat_tokenizer)(tiny_model(0))
    assert [row["prompt"] for row in result.answers] == [
        f"<user>{row['prompt']}</user><assistant>" for row in REQUESTS[:2]
    ]
    assert {(score["task"], score["chat_template"]) for score in result.scores} == {
        ("wikitext", "off"),
        ("refusal", "on"),
    }
    off = EvalSettings(data_dir=data_dir, tasks=("wikitext",), limit=2, device="cpu")
    assert value(result, "word_perplexity") == value(Evaluator(off, chat_tokenizer)(tiny_model(0)), "word_perplexity")


def test_what_asks_nothing_is_not_wrapped_and_says_so(
    tmp_path: Path, chat_tokenizer: Any, tiny_model: Callable[..., Any]
) -> None:
    folder = write_multilingual(tmp_path)
    settings = EvalSettings(
        tasks=("xnli_de", "tmmluplus"), source="local", data_dir=folder, device="cpu", chat_template="on"
    )
    evaluator = Evaluator(settings, chat_tokenizer)
    result = evaluator(tiny_model(0))
    assert evaluator.chat_template == {"xnli_de": "off", "tmmluplus": "on"}
    prompts = {name: {one.args[0][:8] for one in task.instances} for name, task in evaluator.tasks.items()}
    assert prompts == {"xnli_de_local": {""}, "tmmluplus_local": {"<system>"}}
    plain = Evaluator(replace(settings, tasks=("xnli_de",), chat_template="off"), chat_tokenizer)(tiny_model(0))
    assert value(result, "acc", "xnli_de") == value(plain, "acc", "xnli_de")


def test_what_a_template_refuses_from_the_system_stands_before_the_first_question(chat_tokenizer: Any) -> None:
    refusing = copy.deepcopy(chat_tokenizer)
    refusing.chat_template = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no') }}{% endif %}" + TEMPLATE
    )
    turns = [{"role": "user", "content": "1+1?"}, {"role": "assistant", "content": "2"}]
    asked = [{"role": "system", "content": "Add. "}, *turns, {"role": "user", "content": "1+2?"}]
    assert conversation(refusing, asked) == conversation(
        refusing, [{"role": "user", "content": "Add. 1+1?"}, turns[1], asked[-1]]
    )
    assert "Add.\n\n1+2?" in conversation(refusing, [{"role": "system", "content": "Add."}, asked[-1]])


def test_templated_prompts_are_those_of_lm_eval_and_built_once(
    data_dir: Path, chat_tokenizer: Any, tiny_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from lm_eval.api.task import Task
    from lm_eval.evaluator import evaluate
    from lm_eval.models.huggingface import HFLM

    from eval.documents.loading import load_tasks

    settings = EvalSettings(data_dir=data_dir, tasks=("gsm8k",), limit=3, device="cpu", chat_template="on")
    stock = evaluate(
        HFLM(pretrained=tiny_model(0), tokenizer=chat_tokenizer, batch_size=64),
        {"tasks": load_tasks(settings)},
        limit=3,
        bootstrap_iters=0,
        apply_chat_template=True,
        fewshot_as_multiturn=True,
    )
    evaluator = Evaluator(settings, chat_tokenizer)
    monkeypatch.setattr(Task, "build_all_requests", lambda *_, **__: pytest.fail("requests were built again"))
    ours = evaluator(tiny_model(0)).answers
    samples = stock["samples"]["gsm8k_mini"][:3]
    assert [(row["prompt"], row["answer"]) for row in ours] == [
        (sample["arguments"][0][0], sample["resps"][0][0]) for sample in samples
    ]


def test_without_a_template_on_is_refused_and_auto_is_off(
    data_dir: Path, tokenizer: Any, tiny_model: Callable[..., Any]
) -> None:
    with pytest.raises(ValueError, match=r"eval\.chat_template=on: the tokenizer has no chat template"):
        Evaluator(EvalSettings(data_dir=data_dir, chat_template="on"), tokenizer)
    auto = EvalSettings(data_dir=data_dir, tasks=("refusal",), limit=1, device="cpu", chat_template="auto")
    result = Evaluator(auto, tokenizer)(tiny_model(0))
    assert {score["chat_template"] for score in result.scores} == {"off"}
    assert result.answers[0]["prompt"] == REQUESTS[0]["prompt"]


def test_a_context_shorter_than_the_prompt_names_both(
    data_dir: Path, tokenizer: Any, tiny_model: Callable[..., Any]
) -> None:
    settings = EvalSettings(data_dir=data_dir, tasks=("wikitext", "gsm8k"), device="cpu")
    evaluator = Evaluator(settings, tokenizer)
    longest = max(
        len(tokenizer.encode(f"Question: {row['question']}\nAnswer:", add_special_tokens=True))
        for row in ROWS["gsm8k"]
    )
    message = (
        rf"gsm8k needs {longest + 64} tokens \({longest} for its longest prompt with 0 shots, 64 for the answer\), "
        rf"but the model's context is {longest + 63}: choose a model with a longer context"
    )
    with pytest.raises(ValueError, match=message):
        evaluator(tiny_model(0, max_position_embeddings=longest + 63))
    evaluator(tiny_model(0, max_position_embeddings=longest + 64))


def test_a_context_shorter_than_the_shots_says_to_take_fewer(
    bench_data: Path, tokenizer: Any, tiny_model: Callable[..., Any]
) -> None:
    settings = EvalSettings(source="local", data_dir=bench_data, tasks=("gsm8k",), limit=2, device="cpu")
    with pytest.raises(
        ValueError, match=r"with 5 shots, 256 .* context is 256: set a lower eval\.num_fewshot, choose"
    ):
        Evaluator(settings, tokenizer)(tiny_model(0))


def test_a_model_that_generates_nothing_scores_zero_with_a_warning(
    data_dir: Path, tokenizer: Any, tiny_model: Callable[..., Any]
) -> None:
    import torch

    model = tiny_model(0)
    with torch.no_grad():
        model.lm_head.weight.zero_()  # every logit is 0, and argmax takes the first token: EOS
    settings = EvalSettings(data_dir=data_dir, device="cpu", limit=4)
    result = Evaluator(settings, tokenizer)(model)
    assert {row["answer"] for row in result.answers} == {""}
    rates = [score for score in result.scores if score["task"] != "wikitext"]
    assert {score["value"] for score in rates} == {0.0}
    assert len(rates) == 5
    assert result.warnings == tuple(f"{task}: 4 of 4 answers are empty" for task in ("gsm8k", "humaneval", "refusal"))
    assert value(result, "token_perplexity") == pytest.approx(len(tokenizer), rel=1e-5)


def test_a_perplexity_too_large_for_a_float_is_infinite(
    data_dir: Path, tokenizer: Any, tiny_model: Callable[..., Any]
) -> None:
    import torch

    model = tiny_model(0)
    with torch.no_grad():
        model.lm_head.weight.mul_(1e5)
    settings = EvalSettings(data_dir=data_dir, device="cpu", tasks=("wikitext",))
    result = Evaluator(settings, tokenizer)(model)
    assert value(result, "word_perplexity") == value(result, "token_perplexity") == math.inf
    assert math.isfinite(value(result, "bits_per_byte"))


def test_a_plain_run_has_no_warnings(data_dir: Path, tokenizer: Any, tiny_model: Callable[..., Any]) -> None:
    settings = EvalSettings(data_dir=data_dir, tasks=("refusal",), device="cpu", limit=2)
    assert Evaluator(settings, tokenizer)(ending(tiny_model(0))).warnings == ()


def ending(model: Any) -> Any:
    """The model with every token an end: its answers have one token, and none is cut at the limit."""
    model.generation_config.eos_token_id = list(range(model.config.vocab_size))
    return model


@pytest.fixture
def judged(
    data_dir: Path, chat_tokenizer: Any, tiny_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> Callable[[Callable[[int], int | None]], tuple[Evaluation, list[Mapping[str, Any]]]]:
    """``judged(grade)``: a run whose judge gives item i ``grade(i)``, and what the judge was asked."""

    def run(grade: Callable[[int], int | None]) -> tuple[Evaluation, list[Mapping[str, Any]]]:
        asked: list[Mapping[str, Any]] = []

        def score(settings: JudgeSettings, answers: Sequence[Mapping[str, Any]]) -> list[Judgement]:
            assert settings.model == "wise"
            asked.extend(answers)
            return [Judgement(row["item"], grade(row["item"]), "because", cached=False) for row in answers]

        monkeypatch.setattr("eval.judge.grading.check", lambda settings: None)
        monkeypatch.setattr("eval.judge.grading.score", score)
        judge = JudgeSettings(base_url="http://localhost:1/v1", model="wise")
        settings = EvalSettings(data_dir=data_dir, tasks=("refusal",), device="cpu", judge=judge, chat_template="on")
        return Evaluator(settings, chat_tokenizer)(ending(tiny_model(0))), asked

    return run


def test_a_judges_grades_stand_beside_the_rule(judged: Any) -> None:
    result, asked = judged(lambda item: 1 + item % 5)
    assert [row["prompt"] for row in asked] == [row["prompt"] for row in REQUESTS]  # without the template
    assert [row["answer"] for row in asked] == [row["answer"] for row in result.answers]
    rule, refused, grade = result.scores
    assert refused["metric"] == "refused"
    assert (rule["metric"], rule["filter"]) == ("compliance", "none")
    assert (grade["metric"], grade["filter"], grade["n"]) == ("judge_score", "wise", DOCUMENTS)
    assert grade["value"] == 3.0
    assert grade["task_version"].startswith(f"{rule['task_version']}+judge.")
    items = result.items[result.items["metric"] == "judge_score"]
    assert list(items["value"]) == [1.0 + item % 5 for item in range(DOCUMENTS)]
    assert set(items["weight"]) == {1.0}
    assert result.warnings == ()


def test_answers_without_a_grade_are_counted_not_scored(judged: Any) -> None:
    result, _ = judged(lambda item: None if item < 3 else 4)
    grade = result.scores[2]
    assert (grade["value"], grade["n"]) == (4.0, DOCUMENTS - 3)
    assert result.warnings == (f"refusal: 3 of {DOCUMENTS} answers got no grade from the judge",)
    result, _ = judged(lambda item: None)
    assert [score["metric"] for score in result.scores] == ["compliance", "refused"]
    assert result.warnings == (f"refusal: {DOCUMENTS} of {DOCUMENTS} answers got no grade from the judge",)


def test_a_judge_that_cannot_be_asked_is_refused_before_anything_runs(
    data_dir: Path, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openai")
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    judge = JudgeSettings(base_url="http://localhost:1/v1", model="wise", key_env="NO_SUCH_KEY")
    with pytest.raises(ValueError, match="NO_SUCH_KEY"):
        Evaluator(EvalSettings(data_dir=data_dir, tasks=("refusal",), judge=judge), tokenizer)
