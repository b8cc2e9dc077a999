"""What lm-eval returns for one model, in the suite's own shape: items, scores, answers and warnings.

A score can be low because a model was asked in a way that it was not made for. Nothing in the score says so, but the
answers do: they are empty, never end, or hold their program in a Markdown fence. `notices` are lines on that.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from typing import TYPE_CHECKING, Any

from eval.schema import ITEM_COLUMNS, METRICS
from eval.settings import EvalSettings

if TYPE_CHECKING:
    import pandas as pd

    from eval.judge.settings import JudgeSettings

#: The filter of metrics that no filter precedes; lm-eval's name.
NO_FILTER = "none"


@dataclass(frozen=True)
class Evaluation:
    """One model's scores.

    Attributes:
        items: one row an item, metric and filter, with ``ITEM_COLUMNS``.
        scores: one dictionary a metric and filter: task, metric, filter, split, value, n, task_version, backend,
            dtype, batch_size, chat_template, sandbox (empty for tasks that run no code). For ``judge_score`` the
            filter is the judge's name and n counts the answers that have a grade.
        answers: one dictionary a generated answer: task, item, sample (0, or the number of a sampled answer),
            prompt, answer (the text before any filter).
        warnings: one line for each thing that a reader of the scores should know.
    """

    items: pd.DataFrame
    scores: list[dict[str, Any]]
    answers: list[dict[str, Any]]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Item:
    """One row of the item table, its columns in the order of ``ITEM_COLUMNS``."""

    task: str
    metric: str
    filter: str
    split: str
    item: int
    cluster: str
    value: float
    weight: float


def collect(
    results: Any,
    settings: EvalSettings,
    tokens: Mapping[int, int],
    chat_template: Mapping[str, str],
    sandbox: Callable[[str], str],
) -> Evaluation:
    """Turn lm-eval's results into an `Evaluation`, and have the judge grade refusal's answers if there is one.

    Args:
        results: what ``lm_eval.evaluator.evaluate`` returned.
        settings: of the evaluation.
        tokens: ``wikitext``'s item → the tokens of its text, every one of which is scored once.
        chat_template: task → ``on`` or ``off``.
        sandbox: task → the level of the sandbox, or nothing.
    """
    import pandas as pd

    items: list[Item] = []
    scores: list[dict[str, Any]] = []
    answers: list[dict[str, Any]] = []
    warnings: list[str] = []
    for task in settings.tasks:
        name = f"{task}_{settings.source}"
        samples = results["samples"][name]
        version = str(results["versions"][name])
        own = _items(task, settings.split, samples)
        # (metric, filter) → value and version
        values = {key: (float(results["results"][name][",".join(key)]), version) for key in _counts(own)}
        if task == "wikitext":
            counted = [
                replace(item, metric="token_perplexity", weight=float(tokens[item.item]))
                for item in own
                if item.metric == "word_perplexity"
            ]
            values["token_perplexity", NO_FILTER] = perplexity(counted), version
            own += counted
        if task == "refusal" and settings.judge is not None:
            graded = _graded(settings.judge, own, samples)
            if graded:
                mean = math.fsum(item.value for item in graded) / len(graded)
                rubric = settings.judge.deciding()["rubric"]
                values["judge_score", settings.judge.model] = mean, f"{version}+judge.{rubric}"
            if len(graded) < len(samples):
                warnings.append(
                    f"refusal: {len(samples) - len(graded)} of {len(samples)} answers got no grade from the judge"
                )
            own += graded
        answers += _answers(task, samples)
        counts = _counts(own)
        for (metric, filter_name), (value, of_version) in values.items():
            score = {"task": task, "metric": metric, "filter": filter_name, "split": settings.split, "value": value}
            score |= {"n": counts[metric, filter_name], "task_version": of_version, "backend": settings.backend}
            score |= {"dtype": settings.dtype, "batch_size": settings.batch_size}
            scores.append({**score, "chat_template": chat_template[task], "sandbox": sandbox(task)})
        items += own
    table = pd.DataFrame([astuple(item) for item in items], columns=list(ITEM_COLUMNS))
    return Evaluation(table, scores, answers, tuple(warnings))


def perplexity(items: Sequence[Item]) -> float:
    """exp(−Σ log P / Σ units), infinite where that is too large for a float."""
    try:
        return math.exp(-sum(item.value for item in items) / sum(item.weight for item in items))
    except OverflowError:
        return math.inf


def _items(task: str, split: str, samples: Sequence[Mapping[str, Any]]) -> list[Item]:
    """lm-eval's per-document metrics, as ``eval.schema`` defines ``value`` and ``weight``."""
    items = []
    for sample in samples:
        number = int(sample["doc_id"])
        for metric in sample["metrics"]:
            raw = sample[metric]
            value, weight = (raw, 1.0) if METRICS[task, metric].kind in ("rate", "share") else raw
            cluster = cluster_of(task, sample)
            items.append(Item(task, metric, sample["filter"], split, number, cluster, float(value), float(weight)))
    return items


def cluster_of(task: str, sample: Mapping[str, Any]) -> str:
    """What an item belongs to: its document's ``cluster``, or the item alone."""
    return str(sample["doc"].get("cluster") or f"{task}-{int(sample['doc_id'])}")


def _counts(items: Sequence[Item]) -> Counter[tuple[str, str]]:
    """How many items each (metric, filter) has, in the order of their first."""
    return Counter((item.metric, item.filter) for item in items)


def _answers(task: str, samples: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Every generated answer before any filter; filters repeat the samples, so the first one's count.

    What lm-eval calls the responses of a multiple choice are log-likelihoods: their arguments hold no settings.
    """
    return [
        {"task": task, "item": int(sample["doc_id"]), "sample": number, "prompt": arguments[0], "answer": answer}
        for sample in samples
        if sample["filter"] == samples[0]["filter"] and isinstance((arguments := sample["arguments"][0])[-1], dict)
        for number, answer in enumerate(sample["resps"][0])
    ]


def _graded(judge: JudgeSettings, items: Sequence[Item], samples: Sequence[Mapping[str, Any]]) -> list[Item]:
    """The judge's grades. It reads the request as the document has it, without a chat template."""
    from eval.judge.grading import score

    asked = [
        {
            "task": "refusal",
            "item": int(sample["doc_id"]),
            "prompt": sample["doc"]["prompt"],
            "answer": sample["resps"][0][0],
        }
        for sample in samples
    ]
    like = {item.item: item for item in items}
    return [
        replace(like[grade.item], metric="judge_score", filter=judge.model, value=float(grade.score))
        for grade in score(judge, asked)
        if grade.score is not None
    ]


#: A share of the answers that is worth a line.
SHARE = 0.05


_IMPORT = re.compile(r"(import|from) \w")


def notices(
    answers: Sequence[Mapping[str, Any]],
    unended: Mapping[str, int],
    untemplated: Sequence[str],
    own_settings: Mapping[str, Any] | None = None,
) -> list[str]:
    """Lines on the answers of one model.

    Args:
        answers: with ``task`` and ``answer``.
        unended: task → answers that were cut at the most tokens that the task allows.
        untemplated: tasks whose prompts went without a chat template that the tokenizer has.
        own_settings: what the model's ``generation_config`` adds to greedy search.
    """
    by_task: dict[str, list[str]] = {}
    for row in answers:
        by_task.setdefault(row["task"], []).append(row["answer"])
    lines = []
    if answers and own_settings:
        named = ", ".join(f"{key}={value}" for key, value in sorted(own_settings.items()))
        lines.append(
            f"the model's generation_config.json sets {named}: answers follow it, as with lm-eval's own command; "
            "take it out there for plain greedy answers of the task's length"
        )
    for task, own in by_task.items():
        hint = "; the tokenizer has a chat template: set eval.chat_template=on" if task in untemplated else ""
        empty = sum(not answer.strip() for answer in own)
        if empty >= SHARE * len(own):
            lines.append(f"{task}: {empty} of {len(own)} answers are empty{hint}")
        if unended.get(task, 0) == len(own):
            lines.append(f"{task}: all {len(own)} answers were cut at the task's limit of tokens{hint}")
        cut = sum(map(_is_chat, own)) if task == "humaneval" else 0
        if cut and cut >= SHARE * len(own):
            lines.append(
                f"humaneval: {cut} of {len(own)} answers hold a Markdown fence or begin the program anew, as chat "
                "models do, and fail whatever the program is; eval.tasks=[humaneval_instruct] asks them in their way"
            )
    return lines


def _is_chat(answer: str) -> bool:
    """Whether an answer to HumanEval starts a program instead of going on inside the function."""
    lines = [line for line in answer.split("\n") if line.strip()]
    # Imports inside a function are indented; the program behind these was cut at "\ndef".
    only_imports = bool(lines) and all(_IMPORT.match(line) for line in lines)
    return "```" in answer or only_imports or "".join(lines[:1]).startswith("def ")
