"""A sweep, end to end, on a real but very small family: its points, what is chosen, that nothing is done twice."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from small_study import command, environment, reproduce
from wandb.proto.wandb_internal_pb2 import Record
from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args
from wandb_log import records

import lata
from lata.checkpoints import open_checkpoint
from lata.checkpoints.digests import digest
from results.study.selection import best

METHODS = "methods=[ta, {name: dare, drop_rate: 0.5}]"
#: The last one breaks any model.
LAMBDAS = "lambdas=[0.5,1.0,1e6]"
ASKED = (METHODS, LAMBDAS, "merges=[math+code]")


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory, small_cache: Path) -> Path:
    """Folder of a finished sweep."""
    cwd = tmp_path_factory.mktemp("sweep")
    done = reproduce(cwd, small_cache, *ASKED, door="sweep")
    assert done.returncode == 0, done.stderr
    assert "Report:" in done.stdout
    return cwd / "runs" / "mini-sweep"


def scores(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(folder / "scores.parquet")


def files(folder: Path) -> dict[str, bytes]:
    """Everything that must not depend on when, where and how often a sweep ran."""
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name != "provenance.json" and "wandb" not in file.relative_to(folder).parts
    }


def test_every_method_is_scored_at_every_lambda_on_the_test_split(sweep: Path) -> None:
    found = scores(sweep)
    learned = found[(found.kind == "learn") & (found.split == "test")]
    assert set(learned.point) == {"0.5", "1", "1e+06"}
    assert set(learned.label) == {"ta", "dare"}
    assert set(learned.task) == {"wikitext", "gsm8k", "humaneval", "refusal"}
    assert (learned["lambda"] == learned.point.astype(float)).all()


def test_a_point_is_the_merge_that_is_written_to_disk_at_that_lambda(
    sweep: Path, small_cache: Path, tmp_path: Path
) -> None:
    record = json.loads((sweep / "provenance.json").read_text())
    folders = {name: folder_of(small_cache, name, known) for name, known in record["family_digests"]["0"].items()}
    for row in record["rows"]:
        if row["kind"] != "learn" or row["point"] == "1e+06":
            continue
        merged = lata.merge(
            pre=folders["pre"],
            experts={name: folders[name] for name in row["job"]["experts"]},
            method=row["job"]["method"],
            seed=row["job"]["seed"],
            lam=row["job"]["lam"],
            output=tmp_path / f"{row['label']}-{row['point']}",
            **dict(row["job"]["parameters"]),
        )
        with open_checkpoint(merged.output) as checkpoint:
            assert digest(checkpoint) == row["digest"]


def folder_of(cache: Path, name: str, wanted: str) -> Path:
    """The model of the family that has these weights."""
    for folder in (cache / "mini").glob(f"{name}-*"):
        with open_checkpoint(folder) as checkpoint:
            if digest(checkpoint) == wanted:
                return folder
    raise AssertionError(f"no {name} with these weights")


def test_lambda_is_the_best_stable_one_of_the_development_split_alone(sweep: Path) -> None:
    assert json.loads((sweep / "study.json").read_text())["meta"]["selection"] == "grid"
    found = scores(sweep)
    dev = found[
        (found.split == "dev")
        & (found.metric.isin(["exact_match", "pass@1"]))
        & (found["filter"] != "flexible-extract")
    ]
    experts = dev[dev.kind == "model"].set_index(["label", "task"])["value"]
    own = {"gsm8k": experts["math", "gsm8k"], "humaneval": experts["code", "humaneval"]}
    if not all(own.values()):
        own = dict.fromkeys(own, 1.0)
    choices = pd.read_csv(sweep / "choices.csv", dtype={"point": str})
    for (label, _), chosen in choices.set_index(["label", "seed"])["point"].items():
        rows = dev[(dev.kind == "learn") & (dev.label == label)]
        means = {point: sum(part.value / part.task.map(own)) / 2 for point, part in rows.groupby("point")}
        assert chosen == best(list(means.items()))


def test_a_broken_merge_is_marked_and_its_tasks_are_not_evaluated_on_the_development_split(sweep: Path) -> None:
    found = scores(sweep)
    broken = found[found.point == "1e+06"]
    assert broken.unstable.all()
    assert set(broken[broken.split == "dev"].task) == {"wikitext"}
    assert not found[found.point == "0.5"].unstable.any()


def test_a_second_run_evaluates_nothing_and_gives_the_same_bytes(sweep: Path, small_cache: Path) -> None:
    before = files(sweep)
    done = reproduce(sweep.parent.parent, small_cache, *ASKED, door="sweep")
    assert done.returncode == 0, done.stderr
    assert files(sweep) == before
    assert set(json.loads((sweep / "provenance.json").read_text())["computed"].values()) == {0}


def test_the_wandb_run_has_one_step_a_lambda(sweep: Path) -> None:
    (log,) = (sweep / "wandb").glob("offline-run-*/*.wandb")
    history: list[dict[str, float]] = []
    for record in records(log):
        assert isinstance(record, Record)
        if record.HasField("history"):
            items = {"/".join(item.nested_key) or item.key: item.value_json for item in record.history.item}
            history.append({key: json.loads(value) for key, value in items.items()})
    steps = [step for step in history if "lambda" in step]
    assert [step["lambda"] for step in steps] == [0.5, 1.0]
    assert {"math+code/ta/gsm8k", "math+code/dare/wikitext"} <= steps[0].keys()


def test_the_agent_of_wandb_drives_the_same_job(tmp_path: Path, small_cache: Path) -> None:
    import yaml

    from experiments import CONF

    said = yaml.safe_load((CONF / "wandb_sweep.yaml").read_text())
    asked = {"args": {name: {"value": 0.7} for name in said["parameters"]}}
    words = []
    for word in create_sweep_command(list(said["command"])):
        words += create_sweep_command_args(asked)[word[2:-1]] if word.startswith("${") else [word]
    run = environment(small_cache) | {"WANDB_RUN_ID": "abc"}
    done = subprocess.run(
        [command()[0], *words[1:], "--cfg", "job", "--resolve"], cwd=tmp_path, env=run, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    composed = yaml.safe_load(done.stdout)
    assert (composed["lambdas"], composed["out"]) == ([0.7], "runs/agent/abc")


def chosen_by(folder: Path, cache: Path, *words: str) -> tuple[list[str], set[str]]:
    """The points that a sweep of `ta` chose, and all that it visited."""
    done = reproduce(folder, cache, *words, "methods=[ta]", "merges=[math+code]", "logger=none", door="sweep")
    assert done.returncode == 0, done.stderr
    found = scores(folder / "runs" / "mini-sweep")
    choices = pd.read_csv(folder / "runs" / "mini-sweep" / "choices.csv", dtype={"point": str})
    return choices.point.tolist(), set(found[found.kind == "learn"].point)


@pytest.mark.slow
def test_a_search_visits_one_lambda_a_task(small_cache: Path, tmp_path: Path) -> None:
    _, visited = chosen_by(tmp_path, small_cache, "selection=search", "search.trials=2", "lambdas=[0.5,1.0]")
    assert {"0.5", "1"} < visited
    tried = [dict(part.split("=") for part in point.split(",")) for point in visited - {"0.5", "1"}]
    assert len(tried) == 2
    assert all(point.keys() == {"code", "math"} for point in tried)
    assert all(0.5 <= float(value) <= 1.0 for point in tried for value in point.values())


@pytest.mark.slow
def test_every_other_way_of_choosing_runs(small_cache: Path, tmp_path: Path) -> None:
    assert chosen_by(tmp_path, small_cache, "selection=fixed", "lambdas=[0.5]") == (["1"], {"0.5", "1"})
    (point,), visited = chosen_by(tmp_path, small_cache, "selection=metagpt", "lambdas=[0.5]")
    assert sum(float(part.split("=")[1]) for part in point.split(",")) == pytest.approx(1, abs=1e-5)
    assert visited == {"0.5", point}
    _, visited = chosen_by(tmp_path, small_cache, "lambdas={math: [0.5,1.0], code: [0.5]}")
    assert visited == {"code=0.5,math=0.5", "code=0.5,math=1"}


@pytest.mark.slow
@pytest.mark.parametrize("ways", [("grid", "fixed", "metagpt"), ("metagpt", "grid"), ("fixed", "search")])
def test_ways_of_choosing_stand_beside_each_other(small_cache: Path, tmp_path: Path, ways: tuple[str, ...]) -> None:
    words = ("methods=[ta]", "merges=[math+code]", "lambdas=[0.5]", "search.trials=1", "logger=none")
    asked = (f"selection={ways[0]}", f"also=[{','.join(ways[1:])}]")
    done = reproduce(tmp_path, small_cache, *words, *asked, door="sweep")
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "runs" / "mini-sweep"
    assert pd.read_csv(folder / "choices.csv").selection.tolist() == [ways[0]]
    header = (folder / "tables" / "choosing.csv").read_text().splitlines()[0]
    assert all(way in header for way in ways)
    found = scores(folder)
    points = [set(found[(found.kind == "learn") & (found.split == split)].point) for split in ("test", "dev")]
    assert points[0] == points[1]
    assert json.loads((folder / "provenance.json").read_text())["objective"] is not None


@pytest.mark.slow
def test_forgetting_is_swept_from_the_target_on(small_cache: Path, tmp_path: Path) -> None:
    words = ("mode=forget", "forget=[{target: target_ua, forget: ua}]", "forget_methods=[ta]", LAMBDAS, "logger=none")
    done = reproduce(tmp_path, small_cache, *words, door="sweep")
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "runs" / "mini-sweep"
    found = scores(folder)
    assert set(found[found.kind == "model"].label) == {"base", "pre", "ua", "target_ua"}
    forgotten = found[(found.kind == "forget") & (found.split == "test")]
    assert set(forgotten.point) == {"0.5", "1", "1e+06"}
    assert set(forgotten.task) == {"wikitext", "gsm8k", "humaneval", "refusal"}
    choices = pd.read_csv(folder / "choices.csv", dtype={"point": str})
    assert choices[["kind", "merge", "label"]].to_numpy().tolist() == [["forget", "target_ua-ua", "ta"]]
    assert choices.point[0] in ("0.5", "1")
    assert (folder / "tables" / "harm.md").is_file()
    jobs = [row["job"] for row in json.loads((folder / "provenance.json").read_text())["rows"] if row["merge"]]
    assert {(job["start"], job["lam"]) for job in jobs} == {("target_ua", lam) for lam in (-0.5, -1.0, -1e6)}


@pytest.mark.slow
def test_a_sweep_that_was_killed_again_and_again_gives_the_same_bytes(
    sweep: Path, small_cache: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "mini").symlink_to(small_cache / "mini")
    for seconds in (6, 9, 13):
        process = subprocess.Popen(
            command(*ASKED, door="sweep"),
            cwd=tmp_path,
            env=environment(cache),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
    done = reproduce(tmp_path, cache, *ASKED, door="sweep")
    assert done.returncode == 0, done.stderr
    assert files(tmp_path / "runs" / "mini-sweep") == files(sweep)
