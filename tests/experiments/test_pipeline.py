"""The whole study, end to end, on a real but very small family: what comes out, and that nothing is done twice."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from interrupts import hear_ctrl_c
from small_study import command, environment, reproduce
from wandb.proto.wandb_internal_pb2 import Record
from wandb_log import records

import lata
from eval.schema import SCORE_COLUMNS
from experiments import CONF
from experiments.config.evaluate import evaluate_plan, register_schemas
from experiments.evaluate import evaluate

METHODS = "methods=[ta, ties, dare, lata_linear, lata_threshold, ta_half]"
MERGES = "merges=[math+code, ua+math+code]"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, small_cache: Path) -> Path:
    """Folder of a finished study."""
    cwd = tmp_path_factory.mktemp("study")
    done = reproduce(cwd, small_cache, METHODS, MERGES)
    assert done.returncode == 0, done.stderr
    assert "Report:" in done.stdout
    return cwd / "runs" / "mini"


def evaluations(cache: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in (cache / "store" / "evaluation").rglob("items.parquet")}


def test_every_promised_file_is_there(study: Path) -> None:
    for name in ("scores.parquet", "scores.csv", "claims.md", "report.html", "provenance.json"):
        assert (study / name).stat().st_size > 0
    for suffix in (".md", ".tex", ".csv"):
        assert list((study / "tables").glob(f"*{suffix}"))
    for suffix in (".svg", ".png"):
        assert len(list((study / "figures").glob(f"*{suffix}"))) >= 3


def test_a_study_of_layers_evaluates_nothing(small_cache: Path, study: Path, tmp_path: Path) -> None:
    before = evaluations(small_cache)
    done = reproduce(tmp_path, small_cache, "mode=layers", "logger=none")
    assert done.returncode == 0, done.stderr
    assert evaluations(small_cache) == before
    folder = tmp_path / "runs" / "mini"
    assert pd.read_parquet(folder / "scores.parquet").empty
    assert (folder / "tables" / "layers.csv").is_file()
    assert json.loads((folder / "provenance.json").read_text())["rows"] == []


def test_scores_have_a_row_for_every_model_and_metric(study: Path) -> None:
    scores = pd.read_parquet(study / "scores.parquet")
    assert list(scores.columns) == list(SCORE_COLUMNS)
    models = scores[scores.kind == "model"].label.unique().tolist()
    assert models == ["base", "pre", "ua", "math", "code", "target_ua", "target_ua_math"]
    learned = scores[scores.kind == "learn"]
    assert set(learned["merge"]) == {"math+code", "ua+math+code"}
    assert set(learned.label) == {"ta", "ties", "dare", "lata_linear", "lata_threshold", "ta_half"}
    assert set(scores[scores.kind == "forget"]["merge"]) == {"target_ua-ua", "target_ua_math-ua"}
    assert set(scores.task) == {"wikitext", "gsm8k", "humaneval", "refusal"}
    per_model = scores.groupby(["kind", "merge", "label"]).size()
    assert per_model.nunique() == 1
    rates = scores[scores.task != "wikitext"]
    assert (rates.ci_low <= rates.value + 1e-9).all()
    assert (rates.value <= rates.ci_high + 1e-9).all()
    assert (scores.n == 12).all()
    assert scores.weights_digest.str.fullmatch("[0-9a-f]{64}").all()
    distance = learned.groupby(["merge", "label"]).distance.first()
    # Steps as small as these are rounded in fp16.
    assert distance["math+code", "ta_half"] == pytest.approx(distance["math+code", "ta"] / 2, rel=0.05)
    pd.testing.assert_frame_equal(
        pd.read_csv(study / "scores.csv").drop(columns=["sandbox", "params", "variant", "merge", "point"]),
        scores.drop(columns=["sandbox", "params", "variant", "merge", "point"]),
        check_dtype=False,
        check_exact=False,
    )


def test_a_second_run_evaluates_nothing_and_gives_the_same_bytes(study: Path, small_cache: Path) -> None:
    before = {
        path: path.read_bytes()
        for path in study.rglob("*")
        if path.suffix in (".csv", ".md", ".tex", ".svg", ".html")
    }
    marks = evaluations(small_cache)
    done = reproduce(study.parents[1], small_cache, METHODS, MERGES)
    assert done.returncode == 0, done.stderr
    assert evaluations(small_cache) == marks
    record = json.loads((study / "provenance.json").read_text(encoding="utf-8"))
    assert set(record["computed"].values()) == {0}
    assert {path: path.read_bytes() for path in before} == before
    assert len(list((study / "wandb").glob("offline-run-*"))) == 1


def test_other_comments_and_docstrings_find_everything_in_the_cache(
    study: Path, small_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, families = tmp_path / "code", sorted((small_cache / "mini").iterdir())
    for part in ("lata", "eval", "results", "experiments", "conf"):
        shutil.copytree(CONF.parent / part, code / part)
    for path in (path for part in ("lata", "eval", "experiments") for path in (code / part).rglob("*.py")):
        text = re.sub(r'\n    """(?=[A-Z])', '\n    """Remarks. ', path.read_text(encoding="utf-8"))
        path.write_text(f"# A remark.\n{text}# Another.\n", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(code))
    done = reproduce(tmp_path, small_cache, METHODS, MERGES, "logger=none")
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "runs" / "mini" / "provenance.json").read_text(encoding="utf-8"))
    assert set(record["computed"].values()) == {0}
    assert sorted((small_cache / "mini").iterdir()) == families


def test_the_command_that_scores_one_model_finds_what_a_study_scored(
    study: Path, small_cache: Path, tmp_path: Path
) -> None:
    rows = json.loads((study / "provenance.json").read_text(encoding="utf-8"))["rows"]
    (row,) = [row for row in rows if (row["merge"], row["label"]) == ("math+code", "ta")]
    folders = {name: str(next((small_cache / "mini").glob(f"{name}-*"))) for name in ("pre", "math", "code")}
    pre, math, code = folders.values()
    lata.merge(pre, {"math": math, "code": code}, method="ta", lam=row["job"]["lam"], output=tmp_path / "merged")
    scores = pd.read_parquet(study / "scores.parquet")
    register_schemas()
    for model, own in (
        (math, scores[scores.label == "math"]),
        (str(tmp_path / "merged"), scores[scores.label == "ta"]),
    ):
        given = [
            f"model={model}",
            "eval=mini",
            "eval.limit=12",
            "eval.batch_size=12",
            f"cache={small_cache}",
            f"out={tmp_path / 'o'}",
        ]
        with initialize_config_dir(str(CONF), version_base="1.3"):
            evaluate(evaluate_plan(compose("evaluate", overrides=given)))
        record = json.loads((tmp_path / "o" / "provenance.json").read_text(encoding="utf-8"))
        assert record["computed"] is False
        found = pd.read_parquet(tmp_path / "o" / "scores.parquet")
        own = own[own.weights_digest == record["weights_digest"]]
        assert found.value.tolist() == own.value.tolist()


def test_files_of_an_earlier_choice_do_not_stay(study: Path, small_cache: Path, tmp_path: Path) -> None:
    def tables(out: Path) -> set[str]:
        return {path.name for path in (out / "tables").iterdir()}

    assert reproduce(tmp_path, small_cache, METHODS, MERGES, "logger=none").returncode == 0
    both = tables(tmp_path / "runs" / "mini")
    assert reproduce(tmp_path, small_cache, METHODS, "merges=[math+code]", "logger=none").returncode == 0
    assert tables(tmp_path / "runs" / "mini") < both
    assert not (tmp_path / "runs" / "mini" / "wandb").exists()


def test_provenance_names_every_weight_and_file(study: Path) -> None:
    record = json.loads((study / "provenance.json").read_text(encoding="utf-8"))
    scores = pd.read_parquet(study / "scores.parquet")
    assert set(scores.weights_digest) == {row["digest"] for row in record["rows"]}
    used = {"base", "pre", "math", "code", "ua", "target_ua", "target_ua_math"}
    assert set(record["family_digests"]["0"]) == used
    assert record["config"]["eval"]["limit"] == 12
    assert record["packages"]["lm_eval"] == "0.4.13"
    assert "report.html" in record["files"]
    assert set(record["seconds"]) >= {"find or train models", "merge", "evaluate"}


def test_the_offline_wandb_run_holds_config_tables_figures_and_artifact(study: Path) -> None:
    (folder,) = (study / "wandb").glob("offline-run-*")
    record = json.loads((study / "provenance.json").read_text(encoding="utf-8"))
    assert folder.name.endswith(record["run_key"][:16])
    (log,) = folder.glob("*.wandb")
    kinds: dict[str | None, list[Record]] = {}
    for parsed in records(log):
        kinds.setdefault(parsed.WhichOneof("record_type"), []).append(parsed)
    assert kinds["run"][0].run.run_id == record["run_key"][:16]
    assert {"family", "methods", "merges"} <= {update.key for update in kinds["run"][0].run.config.update}
    logged = {item.key or item.nested_key[0] for row in kinds["history"] for item in row.history.item}
    assert {"scores", "claims", "similarity"} <= logged
    assert any(key.startswith("figures/") for key in logged)
    (results,) = [entry.artifact for entry in kinds["artifact"] if entry.artifact.type == "results"]
    files = {file.path for file in results.manifest.contents}
    assert {"scores.parquet", "report.html"} <= files


def test_a_damaged_step_is_made_again_with_a_warning(study: Path, small_cache: Path) -> None:
    scores = pd.read_parquet(study / "scores.parquet")
    for victim in (small_cache / "store" / "similarity").rglob("similarity.json"):
        victim.write_bytes(b"damaged")
    done = reproduce(study.parents[1], small_cache, METHODS, MERGES)
    assert done.returncode == 0, done.stderr
    assert "damaged cache entry" in done.stderr
    pd.testing.assert_frame_equal(pd.read_parquet(study / "scores.parquet"), scores)


@pytest.mark.slow
def test_another_seed_of_the_family_gives_other_weights(study: Path, small_cache: Path, tmp_path: Path) -> None:
    done = reproduce(
        tmp_path, small_cache, "methods=[ta]", "merges=[math+code]", "forget=[]", "family.seed=1", "logger=none"
    )
    assert done.returncode == 0, done.stderr
    other = pd.read_parquet(tmp_path / "runs" / "mini" / "scores.parquet")
    mine = pd.read_parquet(study / "scores.parquet")
    assert not set(other.weights_digest) & set(mine.weights_digest)
    assert set(other.seed) == {1}


def test_wandb_that_fails_costs_a_warning_and_no_result(study: Path, small_cache: Path, tmp_path: Path) -> None:
    (tmp_path / "runs" / "mini").mkdir(parents=True)
    (tmp_path / "runs" / "mini" / "wandb").write_text("a file where W&B wants a folder")
    done = reproduce(tmp_path, small_cache, METHODS, MERGES)
    assert done.returncode == 0, done.stderr
    assert "warning: not logged to Weights & Biases" in done.stderr
    assert (tmp_path / "runs" / "mini" / "report.html").is_file()


@pytest.mark.slow
def test_a_study_killed_at_any_moment_goes_on_to_the_same_numbers(study: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    for seconds in (1.0, 3.0, 6.0, 9.0, 12.0, 15.0):
        process = subprocess.Popen(
            command(METHODS, MERGES),
            cwd=tmp_path,
            env=environment(cache),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        process.wait()
    deadline = time.monotonic() + 120  # a worker that is still importing notices later
    while _orphans(cache) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _orphans(cache)
    done = reproduce(tmp_path, cache, METHODS, MERGES)
    assert done.returncode == 0, done.stderr
    pd.testing.assert_frame_equal(
        pd.read_parquet(tmp_path / "runs" / "mini" / "scores.parquet"), pd.read_parquet(study / "scores.parquet")
    )


def _orphans(cache: Path) -> list[str]:
    """Processes that still work on a cache."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            variables = (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if f"LATA_CACHE={cache}".encode() in variables:
            found.append(re.sub(rb"\0", b" ", (folder / "cmdline").read_bytes()).decode())
    return found


def test_ctrl_c_ends_with_one_line_and_status_130(tmp_path: Path) -> None:
    process = subprocess.Popen(
        command(METHODS, MERGES),
        cwd=tmp_path,
        env=environment(tmp_path / "cache"),
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=hear_ctrl_c,
    )
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(4)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.rstrip().endswith("interrupted; the same command goes on from here")
    assert "Traceback" not in errors


@pytest.mark.slow
def test_a_study_of_one_method_without_thresholds_works(study: Path, small_cache: Path, tmp_path: Path) -> None:
    choice = (
        "methods=[ta]",
        "forget_methods=[ta]",
        "merges=[math+code]",
        "eval.tasks=[wikitext, gsm8k]",
        "logger=none",
    )
    done = reproduce(tmp_path, small_cache, *choice)
    assert done.returncode == 0, done.stderr
    scores = pd.read_parquet(tmp_path / "runs" / "mini" / "scores.parquet")
    assert set(scores.task) == {"wikitext", "gsm8k"}


@pytest.mark.slow
def test_another_context_of_the_same_weights_is_evaluated_anew(
    study: Path, small_cache: Path, tmp_path: Path
) -> None:
    choice = ("methods=[ta]", "merges=[math+code]", "forget=[]", "logger=none", "family.recipe.context=256")
    done = reproduce(tmp_path, small_cache, *choice)
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "runs" / "mini" / "provenance.json").read_text(encoding="utf-8"))
    assert record["computed"]["evaluation"] == 7  # five models, and two of them again with another batch size
    assert set(pd.read_parquet(study / "scores.parquet").weights_digest) >= {row["digest"] for row in record["rows"]}
