"""A family of checkpoints in folders runs the same study: one word of the command is another."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file, save_file
from small_study import reproduce

from experiments.mini.family import MiniFamily

#: The recipe of `small_study.SMALL`.
RECIPE = {"hidden": 32, "layers": 3, "heads": 2, "ffn": 48, "base_documents": 300, "pre_requests": 80}
EXAMPLES = ("math", "code", "ua", "target_ua", "target_math")


@pytest.fixture(scope="module")
def sources(small_cache: Path) -> list[str]:
    """Overrides that name the small family's folders as a user's own checkpoints."""
    family = MiniFamily(cache=small_cache, **RECIPE, **{f"{name}_examples": 48 for name in EXAMPLES})  # type: ignore[arg-type]
    folders = family.ensure(("base", "pre", "math", "code"), progress=False)
    return [
        "experiment=local",
        "eval=mini",
        *(f"family.models.{name}.source={folder}" for name, folder in folders.items()),
    ]


@pytest.mark.slow
def test_methods_without_randomness_are_run_once_for_all_seeds(
    sources: list[str], small_cache: Path, tmp_path: Path
) -> None:
    words = ("methods=[ta, dare]", "seeds=[0,1]", "logger=none")
    data = MiniFamily(cache=small_cache).data_dir()
    cache = tmp_path / "cache"
    done = reproduce(tmp_path, cache, *sources, *words, f"eval.data_dir={data}")
    assert done.returncode == 0, done.stderr
    run = tmp_path / "runs" / "local_methods"
    record = json.loads((run / "provenance.json").read_text())
    digests = {(row["label"], row["job"]["seed"]): row["digest"] for row in record["rows"] if row["kind"] == "learn"}
    assert digests["ta", 0] == digests["ta", 1]
    assert digests["dare", 0] != digests["dare", 1]
    # base, pre, math, code, ta, and dare with two masks.
    assert record["computed"]["merge"] == 7
    for name in ("provenance.json", "report.html", "study.json"):
        assert str(small_cache) not in (run / name).read_text()
    scores = pd.read_parquet(run / "scores.parquet")
    assert "miniature family" not in (run / "report.html").read_text()
    spread = scores[scores.kind == "learn"].groupby("label").value.agg(list)
    assert len(spread["ta"]) == len(spread["dare"])


@pytest.mark.slow
def test_a_study_of_methods_that_compare_no_layers_runs_without_theta_base(
    sources: list[str], small_cache: Path, tmp_path: Path
) -> None:
    own = [word for word in sources if not word.startswith("family.models.base")]
    data = MiniFamily(cache=small_cache).data_dir()
    words = ("methods=[ta, ties]", "logger=none", f"eval.data_dir={data}", "family.blocks=model.layers")
    done = reproduce(tmp_path, tmp_path / "cache", *own, *words)
    assert done.returncode == 0, done.stderr
    run = tmp_path / "runs" / "local_methods"
    record = json.loads((run / "provenance.json").read_text())
    assert [row["label"] for row in record["rows"]] == ["pre", "math", "code", "ta", "ties"]
    assert record["computed"]["similarity"] == 0
    assert record["config"]["title"] == "Merging methods on your own models"


@pytest.mark.slow
def test_vocabularies_that_differ_are_refused_or_merged_as_far_as_they_are_shared(
    sources: list[str], small_cache: Path, tmp_path: Path
) -> None:
    (found,) = [Path(word.split("=")[1]) for word in sources if word.startswith("family.models.code")]
    larger = tmp_path / "larger"
    shutil.copytree(found, larger)
    tensors = load_file(larger / "model.safetensors")
    (name,) = [name for name in tensors if "embed" in name]
    tensors[name] = np.concatenate([tensors[name], np.ones_like(tensors[name][:2])])
    save_file(tensors, larger / "model.safetensors", {"format": "pt"})
    config = json.loads((larger / "config.json").read_text())
    (larger / "config.json").write_text(json.dumps(config | {"vocab_size": len(tensors[name])}))
    data = MiniFamily(cache=small_cache).data_dir()
    words = ["methods=[ta, lata_linear]", "logger=none", "eval.tasks=[wikitext]", f"eval.data_dir={data}"]

    def done(*more: str) -> subprocess.CompletedProcess[str]:
        return reproduce(tmp_path, tmp_path / "cache", *sources, *words, *more)

    refused = done(f"family.models.code.source={larger}")
    assert refused.returncode == 2
    assert "set vocab=common" in refused.stderr
    shared = done(f"family.models.code.source={larger}", "vocab=common", "out=shared")
    assert shared.returncode == 0, shared.stderr
    same = done("out=same")
    assert same.returncode == 0, same.stderr
    # Rows that the others lack take no part, not even in the score of the expert that has them.
    runs = [tmp_path / "shared", tmp_path / "same"]
    scores = [pd.read_parquet(run / "scores.parquet").set_index("label").value for run in runs]
    pd.testing.assert_series_equal(*scores)
    rows = [json.loads((run / "provenance.json").read_text())["rows"] for run in runs]
    digests = [{row["label"]: row["digest"] for row in own} for own in rows]
    assert {label for label in digests[0] if digests[0][label] != digests[1][label]} == {"code"}


def test_a_model_without_a_source_and_an_expert_that_is_not_there_are_refused_in_one_line(
    sources: list[str], small_cache: Path, tmp_path: Path
) -> None:
    for words, said in (
        (["merges=[ua+math]"], "merge 'ua+math': expert 'ua' is not one of math, code"),
        (["merges=[math+code]", "family.models.math.source=/nowhere/math"], "math: /nowhere/math is no folder"),
        (["merges=[math+code]", "family.expert_task={math: gsm8k, code: humanevl}"], "did you mean 'humaneval'"),
    ):
        done = reproduce(tmp_path, small_cache, *sources, "logger=none", *words)
        assert done.returncode == 2
        assert said in done.stderr
        assert done.stderr.startswith("error: ")
        assert len(done.stderr.strip().splitlines()) == 1
