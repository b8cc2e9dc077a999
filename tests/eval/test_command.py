"""lm-eval's own command, run on our task folder, gives our answers item by item and our scores within 1e-6."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from eval_documents import DOCUMENTS, REQUESTS, write_lines

from eval.harness import EvalSettings, Evaluation, Evaluator
from eval.settings import TASK_FOLDER


def command(settings: EvalSettings, model: Path, out: Path) -> list[str]:
    """The command that asks lm-eval for what ``settings`` ask for."""
    words = [sys.executable, "-m", "lm_eval", "--model", "hf", "--device", "cpu"]
    words += ["--model_args", f"pretrained={model},dtype={settings.dtype}", "--batch_size", str(settings.batch_size)]
    words += ["--include_path", str(TASK_FOLDER), "--metadata", json.dumps(settings.metadata())]
    words += ["--tasks", ",".join(f"{task}_{settings.source}" for task in settings.tasks)]
    words += ["--confirm_run_unsafe_code", "--log_samples", "--output_path", str(out)]
    words += ["--limit", str(settings.limit)] if settings.limit else []
    return words + (["--apply_chat_template"] if settings.chat_template == "on" else [])


def compare(ours: Evaluation, settings: EvalSettings, model: Path, out: Path) -> int:
    """Run the command and hold its scores and answers against ours; returns how many answers were compared."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command(settings, model, out), env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    (report,) = out.glob("*/results_*.json")
    results = json.loads(report.read_text())["results"]
    for score in ours.scores:
        if score["metric"] == "token_perplexity":  # lm-eval does not count tokens
            continue
        expected = results[f"{score['task']}_{settings.source}"][f"{score['metric']},{score['filter']}"]
        assert score["value"] == pytest.approx(expected, rel=1e-6), score
    answers = {(row["task"], row["item"]): (row["prompt"], row["answer"]) for row in ours.answers}
    items = {(row.task, row.metric, row.filter, row.item): row.value for row in ours.items.itertuples()}
    compared = 0
    for task in settings.tasks:
        (samples,) = out.glob(f"*/samples_{task}_{settings.source}_*.jsonl")
        for line in samples.read_text().splitlines():
            sample = json.loads(line)
            for metric in sample["metrics"]:
                value = items[task, metric, sample["filter"], sample["doc_id"]]
                if task == "wikitext":
                    assert value == pytest.approx(sample[metric][0], rel=1e-6)
                else:
                    assert value == sample[metric]
            if task != "wikitext":
                given = sample["arguments"]["gen_args_0"]["arg_0"], sample["resps"][0][0]
                assert given == answers[task, sample["doc_id"]], (task, sample["doc_id"])
                compared += 1
    return compared


def saved(model: Any, tokenizer: Any, folder: Path) -> Path:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.slow
def test_on_the_miniature_tasks(
    data_dir: Path, tiny_model: Callable[..., Any], tokenizer: Any, tmp_path: Path
) -> None:
    model = tiny_model(2)
    settings = EvalSettings(data_dir=data_dir, batch_size=4, device="cpu")
    ours = Evaluator(settings, tokenizer)(model)
    folder = saved(model, tokenizer, tmp_path / "model")
    assert compare(ours, settings, folder, tmp_path / "out") == 4 * DOCUMENTS  # gsm8k has two filters


@pytest.mark.slow
def test_on_the_real_benchmark_files(
    bench_data: Path, tiny_model: Callable[..., Any], tokenizer: Any, tmp_path: Path
) -> None:
    """Five shots, 256 and 1,024 new tokens, whole pages; and requests of our own, for no public file has them."""
    for file in bench_data.iterdir():
        if not file.name.endswith("md"):
            shutil.copy(file, tmp_path)
    write_lines(tmp_path / "refusal_test.jsonl", REQUESTS)
    model = tiny_model(3, max_position_embeddings=4096)
    settings = EvalSettings(source="local", data_dir=tmp_path, batch_size=3, device="cpu", limit=3)
    ours = Evaluator(settings, tokenizer)(model)
    folder = saved(model, tokenizer, tmp_path / "model")
    assert compare(ours, settings, folder, tmp_path / "out") == 4 * 3
    assert max(len(tokenizer.encode(row["answer"])) for row in ours.answers) > 100


@pytest.mark.slow
def test_with_other_shots_and_a_chat_template(
    bench_data: Path, tiny_model: Callable[..., Any], tokenizer: Any, tmp_path: Path
) -> None:
    import copy

    chat = copy.deepcopy(tokenizer)
    chat.chat_template = (
        "{% for m in messages %}<{{ m.role }}>{{ m.content }}</{{ m.role }}>{% endfor %}"
        "{% if add_generation_prompt %}<assistant>{% endif %}"
    )
    model = tiny_model(4, max_position_embeddings=4096)
    settings = EvalSettings(
        source="local",
        data_dir=bench_data,
        tasks=("gsm8k", "humaneval_instruct"),
        batch_size=2,
        device="cpu",
        limit=3,
        num_fewshot=2,
        chat_template="on",
    )
    ours = Evaluator(settings, chat)(model)
    assert {(row["task"], row["prompt"].count("<assistant>")) for row in ours.answers} == {
        ("gsm8k", 3),
        ("humaneval_instruct", 1),
    }
    folder = saved(model, chat, tmp_path / "model")
    assert compare(ours, settings, folder, tmp_path / "out") == 3 * 3
