"""A family of checkpoints in folders runs the same study: one word of the command is another."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
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
    return ["family=local", *(f"family.models.{name}.source={folder}" for name, folder in folders.items())]


@pytest.mark.slow
def test_methods_without_randomness_are_run_once_for_all_seeds(
    sources: list[str], small_cache: Path, tmp_path: Path
) -> None:
    words = (
        "methods=[ta, dare]",
        "merges=[math+code]",
        "forget=[]",
        "forget_methods=[]",
        "seeds=[0,1]",
        "logger=none",
    )
    data = MiniFamily(cache=small_cache).data_dir()
    cache = tmp_path / "cache"
    done = reproduce(tmp_path, cache, *sources, *words, f"eval.data_dir={data}")
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "runs" / "mini" / "provenance.json").read_text())
    digests = {(row["label"], row["job"]["seed"]): row["digest"] for row in record["rows"] if row["kind"] == "learn"}
    assert digests["ta", 0] == digests["ta", 1]
    assert digests["dare", 0] != digests["dare", 1]
    # base, pre, math, code, ta, and dare with two masks.
    assert record["computed"]["merge"] == 7
    for name in ("provenance.json", "report.html", "study.json"):
        assert str(small_cache) not in (tmp_path / "runs" / "mini" / name).read_text()
    scores = pd.read_parquet(tmp_path / "runs" / "mini" / "scores.parquet")
    spread = scores[scores.kind == "learn"].groupby("label").value.agg(list)
    assert len(spread["ta"]) == len(spread["dare"])


def test_a_model_without_a_source_and_an_expert_that_is_not_there_are_refused_in_one_line(
    sources: list[str], small_cache: Path, tmp_path: Path
) -> None:
    for words, said in (
        (["merges=[ua+math]"], "merge 'ua+math': expert 'ua' is not one of math, code"),
        (["merges=[math+code]", "family.models.math.source=/nowhere/math"], "math: /nowhere/math is no folder"),
        (["merges=[math+code]", "family.expert_task={math: gsm8k, code: humanevl}"], "did you mean 'humaneval'"),
    ):
        done = reproduce(tmp_path, small_cache, *sources, "forget=[]", "logger=none", *words)
        assert done.returncode == 2
        assert said in done.stderr
        assert done.stderr.startswith("error: ")
        assert len(done.stderr.strip().splitlines()) == 1
