"""A run's folder: written and read without loss, small, the same each time; several runs as one, or refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from synthetic_study import make_study
from synthetic_sweep import METHODS, Truth, make_sweep

from results.analysis.analysis import analyse
from results.study import store as stored
from results.study.sweep import Sweep
from results.study.union import pool
from results.summaries.study import summarise

FEW = {name: METHODS[name] for name in ("ta", "lata_log")}
_KEYS = ["seed", "kind", "merge", "label", "point", "task", "metric", "filter", "split"]


def written(sweep: Sweep, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in stored.files(sweep).items():
        (folder / name).write_bytes(content)
    sweep.scores.to_parquet(folder / stored.SCORES)
    return folder


def same(a: pd.DataFrame, b: pd.DataFrame, keys: list[str]) -> None:
    columns = sorted(a.columns)
    assert sorted(b.columns) == columns
    one, two = (frame[columns].sort_values(keys, ignore_index=True) for frame in (a, b))
    pd.testing.assert_frame_equal(one, two, check_dtype=False, check_exact=True)


@pytest.fixture(scope="module")
def sweep() -> Sweep:
    return make_sweep(FEW, (0.4, 0.8, 1.2), seeds=(0, 1), items=40)


def test_a_sweep_comes_back_as_it_was(sweep: Sweep, tmp_path: Path) -> None:
    back = stored.load(written(sweep, tmp_path))
    same(back.scores, sweep.scores, _KEYS)
    same(back.items, sweep.items, [*_KEYS, "item"])
    same(back.choices, sweep.choices, ["seed", "label"])
    assert back.meta == sweep.meta
    assert list(back.meta["merges"]) == list(sweep.meta["merges"])


def test_the_same_run_gives_the_same_bytes_in_whatever_order_its_items_come(sweep: Sweep, tmp_path: Path) -> None:
    shuffled = replace(sweep, items=sweep.items.sample(frac=1, random_state=1))
    assert stored.files(shuffled) == stored.files(sweep)
    assert stored.files(stored.load(written(sweep, tmp_path))) == stored.files(sweep)


def test_a_study_comes_back_as_a_sweep_of_one_point_with_the_same_analysis(tmp_path: Path) -> None:
    study = make_study(items=60, methods=("ta", "lata_log"), merges=("math+code",))
    summarise(study, tmp_path)
    for name, content in stored.files(study).items():
        (tmp_path / name).write_bytes(content)
    back = stored.load(tmp_path)
    assert back.meta["selection"] == "fixed"
    assert back.meta["lambdas"] == ["1"]
    assert set(back.choices["point"]) == {"1"}
    assert set(back.choices["kind"]) == {"learn", "forget"}
    one, two = analyse(study).comparisons, analyse(back.at()).comparisons
    pd.testing.assert_frame_equal(one, two)


def test_a_folder_that_is_no_run_is_named_in_one_line(tmp_path: Path, sweep: Sweep) -> None:
    with pytest.raises(ValueError, match="is not a folder"):
        stored.load(tmp_path / "missing")
    with pytest.raises(ValueError, match=r"holds no run \(scores.parquet is missing\)"):
        stored.load(tmp_path)
    folder = written(sweep, tmp_path / "old")
    (folder / stored.ITEMS).unlink()
    with pytest.raises(ValueError, match=r"older version \(items.parquet is missing\); make the run again"):
        stored.load(folder)


@pytest.mark.parametrize("name", [stored.ITEMS, stored.STUDY, stored.SCORES])
def test_a_damaged_file_is_named_in_one_line(name: str, tmp_path: Path, sweep: Sweep) -> None:
    file = written(sweep, tmp_path) / name
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(ValueError, match=name) as caught:
        stored.load(tmp_path)
    assert "\n" not in str(caught.value)
    assert "make the run again" in str(caught.value)


def test_a_stranger_s_record_with_other_types_is_refused_in_one_line(tmp_path: Path, sweep: Sweep) -> None:
    file = written(sweep, tmp_path) / stored.STUDY
    record = json.loads(file.read_bytes())
    texts = {"choices": [], "digests": [], "meta": 5, "weights": {"a": 1}, "granular": None, "format": "1"}
    bad = [json.dumps({**record, key: value}) for key, value in texts.items()]
    for key, value in {"merges": {"a": "b"}, "baseline": [1], "expert_task": {"a": []}, "seeds": ["x"]}.items():
        bad.append(json.dumps({**record, "meta": {**record["meta"], key: value}}))
    for text in (*bad, "[" * 200_000, "5", "null", '{"format": 2}', "{}", "NaN", "\udcff"):
        file.write_bytes(text.encode("utf-8", "surrogateescape"))
        with pytest.raises(ValueError, match=r"cannot be read|is of another version") as caught:
            stored.load(tmp_path)
        assert "\n" not in str(caught.value)


def test_items_of_another_run_are_found_out(tmp_path: Path, sweep: Sweep) -> None:
    written(sweep, tmp_path)
    (tmp_path / stored.ITEMS).write_bytes(stored.files(make_sweep(FEW, (0.4,), items=30))[stored.ITEMS])
    with pytest.raises(ValueError, match=r"damaged or belongs to another study.json"):
        stored.load(tmp_path)


def test_a_run_pooled_with_itself_counts_once(sweep: Sweep) -> None:
    both = pool({"a": sweep, "b": sweep})
    same(both.scores, sweep.scores, _KEYS)
    same(both.items, sweep.items, [*_KEYS, "item"])
    assert both.meta["notes"] == []


def test_runs_that_add_seeds_methods_merges_or_lambdas_give_what_one_run_gives() -> None:
    whole = make_sweep(FEW, (0.4, 0.8), seeds=(0, 1), merges=("math+code", "ua+math"), items=30)

    def part(seeds: tuple[int, ...], methods: tuple[str, ...], lambdas: tuple[float, ...], merge: str) -> Sweep:
        chosen = {name: FEW[name] for name in methods}
        return make_sweep(chosen, lambdas, seeds, (merge,), items=30)

    parts = {
        "seed 0": part((0,), ("ta", "lata_log"), (0.4, 0.8), "math+code"),
        "seed 1, ta": part((1,), ("ta",), (0.4, 0.8), "math+code"),
        "seed 1, 0.4": part((1,), ("lata_log",), (0.4,), "math+code"),
        "seed 1, 0.8": part((1,), ("lata_log",), (0.8,), "math+code"),
        "other merge": part((0, 1), ("ta", "lata_log"), (0.4, 0.8), "ua+math"),
    }
    made = pool(parts)
    # A model of the family is scored on the tasks of its own run's merges alone.
    same(*(run.scores[run.scores["kind"] == "learn"] for run in (made, whole)), _KEYS)
    same(*(run.items[run.items["kind"] == "learn"] for run in (made, whole)), [*_KEYS, "item"])
    assert made.meta["seeds"] == [0, 1]
    assert made.meta["merges"] == whole.meta["merges"]
    assert made.meta["lambdas"] == ["0.4", "0.8"]


def test_where_runs_chose_differently_the_first_counts_and_a_note_says_so() -> None:
    low, high = (make_sweep({"ta": Truth(9, 1)}, (lam,), items=30) for lam in (0.4, 0.8))
    made = pool({"low": low, "high": high})
    assert made.choices["point"].tolist() == ["0.4"]
    assert made.meta["notes"] == ["ta: runs chose different λ; the choice of the run named first counts."]


def test_runs_at_different_fixed_lambdas_are_compared_at_the_one_that_all_methods_have() -> None:
    low, both = (make_sweep(FEW, lams, items=30) for lams in ((0.4, 0.8), (0.8, 1.2)))

    def fixed(sweep: Sweep, point: str, *labels: str) -> Sweep:
        choices = sweep.choices[sweep.choices["label"].isin(labels)].assign(selection="fixed", point=point)
        return replace(sweep, choices=choices)

    runs = {"a": fixed(low, "0.4", "ta"), "b": fixed(both, "0.8", "ta", "lata_log")}
    made = pool(runs)
    assert set(made.choices["point"]) == {"0.8"}
    assert made.meta["notes"] == ["ta: runs fix different λ; compared at λ = 0.8, which all methods have."]
    apart = pool({"a": fixed(low, "0.4", "ta"), "b": fixed(both, "0.8", "lata_log")})
    assert dict(zip(apart.choices["label"], apart.choices["point"], strict=True)) == {"ta": "0.4", "lata_log": "0.8"}


def changed(sweep: Sweep, table: str, column: str, value: object, **rows: object) -> Sweep:
    frame = getattr(sweep, table).copy()
    hit = pd.Series(True, frame.index)
    for name, wanted in rows.items():
        hit &= frame[name] == wanted
    assert hit.any()
    frame.loc[hit, column] = value
    return replace(sweep, **{table: frame})


@pytest.mark.parametrize(
    ("made", "what"),
    [
        (lambda s: replace(s, meta={**s.meta, "family": "other"}), "their families are mini and other"),
        (lambda s: changed(s, "scores", "weights_digest", "1" * 16, label="pre", seed=1), "pre has other weights"),
        (
            lambda s: changed(s, "scores", "dtype", "bfloat16", task="gsm8k"),
            "dtype of gsm8k is float32 in one and bfl",
        ),
        (
            lambda s: changed(s, "scores", "value", 0.5, label="pre", task="gsm8k", split="test"),
            "with the same weights",
        ),
        (lambda s: changed(s, "items", "item", "x", item="3", task="gsm8k"), "40 and 40 items of gsm8k"),
        (lambda s: replace(s, meta={**s.meta, "merges": {"math+code": ["code"]}}), "merge math\\+code is"),
    ],
)
def test_runs_that_cannot_be_compared_are_refused_with_both_names_and_what_differs(
    made: Callable[[Sweep], Sweep], what: str, sweep: Sweep
) -> None:
    with pytest.raises(ValueError, match=f"^runs/a and runs/b cannot be compared: .*{what}.*; .+") as caught:
        pool({"runs/a": sweep, "runs/b": made(sweep)})
    assert "\n" not in str(caught.value)


def test_a_difference_within_the_noise_floor_is_the_same_score(sweep: Sweep) -> None:
    value = sweep.scores.query("label == 'pre' and task == 'gsm8k' and split == 'test'")["value"].iloc[0]
    moved = changed(sweep, "scores", "value", value + 0.01, label="pre", task="gsm8k", split="test", seed=0)
    pool({"a": sweep, "b": replace(moved, meta={**moved.meta, "noise_floor": {"gsm8k": 0.02}})})


def test_one_label_with_other_parameters_in_another_run_keeps_apart() -> None:
    sweep = make_sweep({"ta": METHODS["ta"], "ties": METHODS["ties"]}, (0.4,), items=30)
    other = changed(sweep, "scores", "params", "density=0.3", label="ties")
    other = changed(other, "scores", "weights_digest", "2" * 16, label="ties")
    plain = changed(sweep, "scores", "params", "", label="ties")
    made = pool({"a": plain, "b": other})
    assert {label for _, _, label in made.methods} == {"ta", "ties", "ties(density=0.3)"}
    assert set(made.choices["label"]) == {"ta", "ties", "ties(density=0.3)"}
    assert set(made.items["label"]) >= {"ties", "ties(density=0.3)"}
