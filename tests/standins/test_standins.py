"""Every experiment on published checkpoints runs to its end, on stand-ins that lack nothing but size."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from standin_runs import Workshop, call, of_checkpoints

EXPERIMENTS = {experiment.name: experiment for experiment in of_checkpoints()}

#: Door and words of a command → what it printed.
Command = Callable[..., str]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """``command(door, *words)`` runs one to its end in an empty folder and returns what it printed."""

    def run(door: str, *words: str) -> str:
        status = call(door, list(words), tmp_path, monkeypatch)
        said = capsys.readouterr()
        assert status == 0, said.err
        return said.out

    return run


def names(entries: Any) -> list[str]:
    """Names of the methods in a configuration."""
    return [entry if isinstance(entry, str) else entry["name"] for entry in entries]


def expected_rows(config: Any) -> set[tuple[str, str, str]]:
    """Kind, merge and method of every merge that a configuration asks for."""
    mode = config.mode.value
    learn = [("learn", merge, method) for merge in config.merges for method in names(config.methods)]
    forget = [
        ("forget", f"{job.target}-{job.forget}", method)
        for job in config.forget
        for method in names(config.forget_methods)
    ]
    return {*(learn if mode in ("both", "learn") else []), *(forget if mode in ("both", "forget") else [])}


def checked(out: Path, config: Any) -> dict[str, Any]:
    """The record of a finished run, after a look at everything that must be there."""
    record: dict[str, Any] = json.loads((out / "provenance.json").read_text(encoding="utf-8"))
    assert {"report.html", "study.json", "claims.md"} <= record["files"].keys()
    for pattern in ("tables/*.csv", "tables/*.md", "tables/*.tex", "figures/*.svg", "figures/*.png"):
        assert list(out.glob(pattern)), pattern
    rows = [(row["kind"], row["merge"], row["job"]["method"]) for row in record["rows"]]
    wanted = expected_rows(config)
    assert {row for row in rows if row[0] != "model"} == wanted
    for row in record["rows"]:
        assert row["finite"]
        assert math.isfinite(row["distance"])
        assert row["distance"] > 0 or row["job"]["method"] != "ta"
    if wanted:
        scores = pd.read_parquet(out / "scores.parquet")
        models = {row["job"]["start"] for row in record["rows"] if row["kind"] == "model"}
        for task in config.eval.tasks:
            own = scores[(scores.task == task) & (scores.split == "test")]
            assert wanted <= set(zip(own["kind"], own["merge"], own["method"], strict=True)), task
            assert set(own[own.kind == "model"].label) == models, task
        assert scores.value.notna().all()
    return record


def twice(command: Command, door: str, words: list[str], out: Path, config: Any) -> None:
    """Run a command, then again: the second time nothing is computed and the same files are written."""
    command(door, *words)
    first = checked(out, config)
    command(door, *words)
    again = checked(out, config)
    assert not any(again["computed"].values())
    assert again["files"] == first["files"]


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_plans_runs_to_its_end_and_again_from_the_cache(
    name: str, workshop: Workshop, command: Command, tmp_path: Path
) -> None:
    experiment = EXPERIMENTS[name]
    words = workshop.words(experiment)
    assert "total" in command("plan", *words)
    twice(command, experiment.door, words, tmp_path / "runs" / name, experiment.config)


@pytest.mark.slow
def test_a_study_with_chat_templates_and_restricted_requests_runs(
    workshop: Workshop, command: Command, tmp_path: Path
) -> None:
    words = [*workshop.words(EXPERIMENTS["gemma2_2b_learning"]), "eval.tasks=[wikitext,gsm8k,humaneval,refusal]"]
    words += ["eval.chat_template=on", "methods=[ta,lata_linear]", "merges=[ua+math]"]
    assert "total" in command("plan", *words)
    command("reproduce", *words)
    scores = pd.read_parquet(tmp_path / "runs" / "gemma2_2b_learning" / "scores.parquet")
    wrapped = scores.groupby("task").chat_template.agg(set).to_dict()
    assert wrapped == {"wikitext": {"off"}, "gsm8k": {"on"}, "humaneval": {"on"}, "refusal": {"on"}}


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in EXPERIMENTS if "_forgetting_" in name][:1])
def test_a_forgetting_can_be_swept_with_the_same_words(
    name: str, workshop: Workshop, command: Command, tmp_path: Path
) -> None:
    words = [*workshop.words(EXPERIMENTS[name]), "selection=fixed", "lambdas=[0.5,1.0]"]
    assert "total" in command("plan", *words)
    twice(command, "sweep", words, tmp_path / "runs" / f"{name}-sweep", EXPERIMENTS[name].config)


def test_a_small_study_of_gemma_runs_to_its_end(workshop: Workshop, command: Command, tmp_path: Path) -> None:
    words = [*workshop.words(EXPERIMENTS["gemma2_2b_learning"]), "eval.tasks=[wikitext]", "eval.limit=3"]
    words += ["methods=[ta,lata_linear]", "merges=[math+code]"]
    assert "lata_linear" in command("reproduce", *words)
    record = json.loads((tmp_path / "runs" / "gemma2_2b_learning" / "provenance.json").read_text(encoding="utf-8"))
    merged = {row["job"]["method"]: row["distance"] for row in record["rows"] if row["kind"] == "learn"}
    assert merged["ta"] > merged["lata_linear"] > 0
