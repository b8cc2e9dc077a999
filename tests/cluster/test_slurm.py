"""A sweep on a real SLURM, one of whose jobs is killed, ends with the bytes of a sweep in one process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.slurm import cluster, missing, queue, until
from tests.experiments.small_study import SMALL, environment

pytestmark = [pytest.mark.slow, pytest.mark.slurm]

STUDY = (
    "methods=[ta,ties]",
    "merges=[math+code]",
    "lambdas=[0.3,0.6,0.9,1.2]",
    "selection=fixed",
    "workers=1",
    "logger=none",
)

#: Seconds that anything here may take on a busy machine.
PATIENCE = 600.0


@pytest.fixture(scope="module")
def slurm() -> Iterator[dict[str, str]]:
    """The environment of those who send jobs."""
    if absent := missing():
        reason = f"SLURM is not installed ({', '.join(absent)}): apt-get install slurm-wlm munge"
        if os.environ.get("LATA_REQUIRE_SLURM") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    with cluster() as variables:
        yield variables


def on_cluster(slurm: dict[str, str], cache: Path) -> dict[str, str]:
    return {**environment(cache), **{name: slurm[name] for name in ("SLURM_CONF", "PATH")}}


def command(*overrides: str) -> list[str]:
    return [sys.executable, "-m", "experiments.sweep", *SMALL, *STUDY, *overrides]


def run(cwd: Path, *overrides: str) -> Path:
    """The command in this one process, with its cache and results below `cwd`; the folder of the results."""
    variables = environment(cwd / "cache")
    done = subprocess.run(command(*overrides), cwd=cwd, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (out,) = (path.parent for path in (cwd / "runs").glob("*/provenance.json"))
    return out


def contents(folder: Path) -> dict[str, bytes]:
    """Every file but the record of where and how fast."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "provenance.json"]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def at_work(cache: Path) -> dict[str, int]:
    """Job of SLURM → a process of it that evaluates right now."""
    found = {}
    for claim in (cache / "store" / "claims" / "evaluation").glob("[!.]*"):
        try:
            pid = json.loads(claim.read_bytes())["pid"]
            said = Path(f"/proc/{pid}/environ").read_text().split("\0")
        except (OSError, ValueError):
            continue  # released or ended while it was read
        variables = dict(entry.split("=", 1) for entry in said if entry.startswith("SLURM_ARRAY_"))
        found[f"{variables['SLURM_ARRAY_JOB_ID']}_{variables['SLURM_ARRAY_TASK_ID']}"] = pid
    return found


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of one process, in a cache of its own."""
    return run(tmp_path_factory.mktemp("alone"))


@pytest.mark.parametrize("end", ["scancel", "kill -9"])
def test_a_sweep_one_of_whose_jobs_is_killed_gives_the_bytes_of_one_process(
    end: str, slurm: dict[str, str], alone: Path, tmp_path: Path
) -> None:
    cache, log = tmp_path / "cache", tmp_path / "launcher.log"
    with log.open("wb") as stream:
        launcher = subprocess.Popen(
            command("--multirun", "hydra/launcher=slurm", "process=range(0,2)"),
            cwd=tmp_path,
            env=on_cluster(slurm, cache),
            stderr=stream,
        )
    try:
        until(lambda: len(at_work(cache)) == 2, PATIENCE, launcher)
        victim, pid = sorted(at_work(cache).items())[-1]
        if end == "scancel":
            subprocess.run(["scancel", victim], env=slurm, check=True)
        else:
            os.killpg(os.getpgid(pid), signal.SIGKILL)
        launcher.wait(PATIENCE)
    except TimeoutError:
        pytest.fail(f"the jobs did not begin\n{log.read_text()}")
    finally:
        launcher.kill()
    errors = log.read_text()
    assert launcher.returncode == 2, errors
    last = errors.strip().splitlines()[-1]
    assert last.startswith("error: "), errors
    assert last.endswith("; the same command goes on from here")
    assert "Traceback" not in errors
    if end == "kill -9":  # A job that is cancelled can have time to say that it lost its workers.
        assert last.startswith(f"error: job {victim} ended before its work was done ("), errors
        assert Path(last.split("its log is ")[1].split(";")[0]).is_file()
    # The other job takes over what the dead one had.
    until(lambda: not queue(slurm), PATIENCE)
    assert not list(tmp_path.glob("runs/*/scores.parquet")), "a job of several wrote results"
    together = run(tmp_path)
    record = json.loads((together / "provenance.json").read_text(encoding="utf-8"))
    assert set(record["computed"].values()) == {0}, "the job that went on left work undone"
    ours, theirs = contents(together), contents(alone)
    assert len(theirs) > 10
    assert ours.keys() == theirs.keys()
    assert [name for name in theirs if ours[name] != theirs[name]] == []


def test_what_the_cluster_refuses_is_one_line_and_leaves_no_job(slurm: dict[str, str], tmp_path: Path) -> None:
    done = subprocess.run(
        command("--multirun", "hydra/launcher=slurm", "hydra.launcher.partition=none", "process=0,1"),
        cwd=tmp_path,
        env=on_cluster(slurm, tmp_path / "cache"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert "Invalid partition" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert queue(slurm) == []
