"""Several processes by Hydra's launchers: what they do together, and how mistakes and Ctrl-C in them read."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from interrupts import hear_ctrl_c
from submitit.core.utils import FailedJobError, UncompletedJobError

from experiments.config.cli import explain
from tests.experiments.small_study import SMALL, environment

#: A command whose jobs say what they got, and do as their number tells.
DOOR = """
import multiprocessing, os, pathlib, signal
from experiments.config.cli import STUDY, run

def task(plan):
    number = plan.config.process
    pathlib.Path(f"job-{number}").write_text(f"{plan.config.family.recipe.hidden} {plan.config.eval.judge.model}")
    if number == 1:
        raise ValueError("one is not wanted")
    if number == 2:
        raise KeyError("a fault of ours")
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    if number == 4:
        child = multiprocessing.get_context("spawn").Process(target=len, args=("",))
        child.start()
        child.join()
        assert child.exitcode == 0
    if number > 9:
        signal.pause()

if __name__ == "__main__":
    run(STUDY, task)
"""


def command(folder: Path, *overrides: str) -> list[str]:
    (folder / "door.py").write_text(DOOR)
    return [sys.executable, "door.py", "family.recipe.hidden=64", *overrides]


def run(folder: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(folder, *overrides),
        cwd=folder,
        env=environment(folder / "cache"),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("launcher", ["joblib", "submitit_local", "basic"])
def test_a_mistake_in_one_job_ends_in_one_line_and_the_others_go_on(launcher: str, tmp_path: Path) -> None:
    done = run(tmp_path, "--multirun", f"hydra/launcher={launcher}", "process=0,1,4")
    assert done.returncode == 2, done.stderr
    told, last = done.stderr.splitlines()
    assert told == "Error executing job with overrides: ['family.recipe.hidden=64', 'process=1']"
    assert last == "error: one is not wanted"
    for number in (0, 1, 4):
        assert (tmp_path / f"job-{number}").read_text() == "64 None", "the configuration did not arrive as it was"
    left = {path.name for path in tmp_path.iterdir()}
    assert left <= {"door.py", "job-0", "job-1", "job-4", "runs", "cache"}
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["multirun"]


def test_a_fault_of_ours_shows_its_traceback_once(tmp_path: Path) -> None:
    done = run(tmp_path, "--multirun", "hydra/launcher=joblib", "process=2")
    assert done.returncode == 2
    assert done.stderr.count("Traceback") == 1
    assert 'raise KeyError("a fault of ours")' in done.stderr
    assert done.stderr.splitlines()[-1] == "error: KeyError: 'a fault of ours'"


@pytest.mark.parametrize(
    ("launcher", "message"),
    [
        ("joblib", "error: a worker process ended"),
        # submitit waits a quarter of a minute for the file of a job that ended.
        pytest.param("submitit_local", "ended before its work was done; its log is /", marks=pytest.mark.slow),
    ],
)
def test_a_job_that_is_killed_is_told_in_one_line(launcher: str, message: str, tmp_path: Path) -> None:
    done = run(tmp_path, "--multirun", f"hydra/launcher={launcher}", "process=3")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert message in last
    assert last.endswith("; the same command goes on from here")


def test_ctrl_c_ends_all_jobs_with_one_line(tmp_path: Path) -> None:
    process = subprocess.Popen(
        command(tmp_path, "--multirun", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "process=10,11"),
        cwd=tmp_path,
        env=environment(tmp_path / "cache"),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=hear_ctrl_c,
    )
    deadline = time.monotonic() + 60
    while len(list(tmp_path.glob("job-*"))) < 2:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.strip() == "interrupted; the same command goes on from here"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["hydra/launcher=jobli"], "hydra/launcher=jobli does not exist; did you mean 'joblib'?"),
        (["hydra/launcher=slurm", "hydra.launcher.time=3"], "unknown key 'hydra.launcher.time'; --cfg hydra lists"),
        (["process=4,x"], "process=x: Value 'x' of type 'str' could not be converted to Integer"),
    ],
)
def test_what_no_launcher_could_do_is_one_line(words: list[str], message: str, tmp_path: Path) -> None:
    done = run(tmp_path, "process=4,5", *words, "--multirun")
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert message in done.stderr


def test_what_a_cluster_says_of_a_dead_job_becomes_one_line_that_names_its_log() -> None:
    ended = UncompletedJobError(
        "Job 7_1 (task: 0) with path /shared/7_1/7_1_0_result.pkl\n"
        "has not produced any output (state: CANCELLED by 0)\n"
        "Error stream produced:\n----\nslurmstepd: error: *** STEP 8.0 ON n CANCELLED ***"
    )
    assert explain(ended) == (
        "job 7_1 ended before its work was done (cancelled); its log is /shared/7_1/7_1_0_log.err; "
        "the same command goes on from here"
    )
    failed = FailedJobError(
        "Job (task=0) failed during processing with trace:\n----\nTraceback …\nModuleNotFoundError: hydra\n\n----\n"
        "You can check full logs with 'job.stderr(0)' and 'job.stdout(0)'or at paths:\n"
        "  - /shared/7_1_0_log.err\n  - /shared/7_1_0_log.out"
    )
    assert explain(failed) == "a job failed; its log is /shared/7_1_0_log.err"
    refused = FailedJobError("sbatch: warning: x\nsbatch: error: Invalid partition name specified\n")
    assert explain(refused) == "sbatch: error: Invalid partition name specified"


@pytest.mark.slow
def test_two_processes_give_the_bytes_of_one(tmp_path: Path) -> None:
    study = ("methods=[ta,ties]", "merges=[math+code]", "lambdas=[0.4,0.8,1.2]", "workers=1")
    words = [sys.executable, "-m", "experiments.sweep", *SMALL, *study, "logger=none"]
    results = []
    for name, jobs in {"alone": [], "together": ["--multirun", "hydra/launcher=joblib", "process=0,1"]}.items():
        cwd = tmp_path / name
        cwd.mkdir()
        for more in [jobs, []] if jobs else [[]]:
            done = subprocess.run(
                [*words, *more], cwd=cwd, env=environment(cwd / "cache"), capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr
        (record,) = (cwd / "runs").glob("*/provenance.json")
        files = [path for path in record.parent.rglob("*") if path.is_file() and path != record]
        results.append({path.relative_to(record.parent): path.read_bytes() for path in files})
    alone, together = results
    assert len(alone) > 10
    assert alone.keys() == together.keys()
    assert [name for name in alone if alone[name] != together[name]] == []
