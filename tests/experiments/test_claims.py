"""Claims: each piece of work is done once, by whoever is alive, on a folder that many processes share."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import threading
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from mounted import run_mounted

from experiments.steps import leases as module
from experiments.steps.leases import Claim, Claims
from experiments.steps.store import Store

KIND = "evaluation"
PROCESSES = multiprocessing.get_context("spawn")


def only_file(root: Path) -> Path:
    (file,) = (root / "claims" / KIND).iterdir()
    return file


def age(file: Path, seconds: float) -> None:
    """Make a file as old as if nobody had touched it for so long."""
    modified = file.stat().st_mtime - seconds
    os.utime(file, (modified, modified))


def left_behind(root: Path, key: str = "ab", generation: int = 0, content: str | None = None) -> Path:
    """The claim of a holder on another machine."""
    file = root / "claims" / KIND / f"{key}.{generation}"
    file.parent.mkdir(parents=True, exist_ok=True)
    other = {"host": "elsewhere", "machine": "0" * 16, "pid": 1, "token": "t"}
    file.write_text(json.dumps(other) if content is None else content)
    return file


def test_a_claim_is_had_by_one_until_it_is_released(tmp_path: Path) -> None:
    mine, others = Claims(tmp_path), Claims(tmp_path)
    assert not others.alive(KIND, "ab")
    claim = mine.take(KIND, "ab")
    assert claim is not None
    assert others.alive(KIND, "ab")
    assert others.take(KIND, "ab") is None
    assert mine.take(KIND, "ab") is None
    with pytest.raises(AssertionError), claim:
        raise AssertionError("the work failed")
    assert not others.alive(KIND, "ab")
    assert list((tmp_path / "claims" / KIND).iterdir()) == []
    again = others.take(KIND, "ab")
    assert again is not None
    again.release()
    again.release()


def test_claims_of_other_keys_and_kinds_are_apart(tmp_path: Path) -> None:
    claims = Claims(tmp_path)
    held = [claims.take(kind, key) for kind in (KIND, "merge") for key in ("ab", "a", "ab.0", "b")]
    assert None not in held
    for claim in held:
        assert claim is not None
        claim.release()


def test_a_claim_names_its_holder_and_nothing_else(tmp_path: Path) -> None:
    with _taken(Claims(tmp_path)):
        holder = json.loads(only_file(tmp_path).read_text())
    assert set(holder) == {"host", "machine", "pid", "token"}
    assert holder["pid"] == os.getpid()


def test_an_old_claim_is_succeeded_and_goes_with_its_successor(tmp_path: Path) -> None:
    claims = Claims(tmp_path, expiry=100)
    file = left_behind(tmp_path)
    age(file, 99)
    assert claims.alive(KIND, "ab")
    assert claims.take(KIND, "ab") is None
    age(file, 1)
    assert not claims.alive(KIND, "ab")
    claim = claims.take(KIND, "ab")
    assert claim is not None
    assert claim.file.name == "ab.1"
    assert claims.alive(KIND, "ab")
    claim.release()
    assert list(file.parent.iterdir()) == []


def test_a_holder_that_was_succeeded_does_not_remove_its_successors_claim(tmp_path: Path) -> None:
    claims = Claims(tmp_path, expiry=100)
    slow = _taken(claims)
    # A holder that slept: no sign of life, on a machine that cannot be asked.
    slow.file.write_text(slow.file.read_text().replace(module._machine(), "0" * 16))
    age(slow.file, 101)
    successor = _taken(claims)
    slow.release()
    assert claims.alive(KIND, "ab")
    successor.release()
    third = _taken(claims)
    assert third.file == slow.file
    slow.release()
    assert claims.alive(KIND, "ab")
    third.release()


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"machine": null}', "null"])
def test_a_holder_that_ended_between_creating_and_writing_is_told_by_age(tmp_path: Path, content: str) -> None:
    claims = Claims(tmp_path, expiry=100)
    file = left_behind(tmp_path, content=content)
    assert claims.take(KIND, "ab") is None
    age(file, 101)
    _taken(claims).release()


def test_a_holder_of_this_machine_that_has_ended_is_seen_at_once(tmp_path: Path) -> None:
    script = (
        "import os, sys, pathlib; from experiments.steps.leases import Claims;"
        f"assert Claims(pathlib.Path(sys.argv[1])).take({KIND!r}, 'ab'); os.kill(os.getpid(), 9)"
    )
    dead = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)])
    os.waitid(os.P_PID, dead.pid, os.WEXITED | os.WNOWAIT)
    # Its parent has not asked for its status: a signal would still reach it.
    assert not Claims(tmp_path).alive(KIND, "ab")
    assert dead.wait() == -9
    assert only_file(tmp_path).name == "ab.0"
    assert not Claims(tmp_path).alive(KIND, "ab")
    with _taken(Claims(tmp_path)) as claim:
        assert claim.file.name == "ab.1"


@pytest.mark.parametrize("ahead", [-86400.0, 86400.0])
def test_a_clock_that_disagrees_with_the_file_servers_changes_nothing(
    tmp_path: Path, ahead: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server's clock is `ahead` of this machine's: every time that it gives is."""
    touch = os.utime

    def served(path: int | Path, times: None = None) -> None:
        touch(path)
        now = os.stat(path).st_mtime + ahead
        touch(path, (now, now))

    monkeypatch.setattr("experiments.steps.leases.os.utime", served)
    claims = Claims(tmp_path, expiry=100)
    file = left_behind(tmp_path)
    served(file)
    assert claims.take(KIND, "ab") is None
    modified = file.stat().st_mtime - 101
    touch(file, (modified, modified))
    with _taken(claims):
        assert claims.alive(KIND, "ab")


def test_a_living_holder_gives_signs_of_life(tmp_path: Path) -> None:
    claim = _taken(Claims(tmp_path, expiry=0.06))
    seen = {claim.file.stat().st_mtime_ns}
    while len(seen) < 4:
        seen.add(claim.file.stat().st_mtime_ns)
    claim.release()
    assert not claim.file.exists()


def test_signs_of_life_end_with_the_release(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    claim = _taken(Claims(tmp_path))
    (thread,) = set(threading.enumerate()) - before
    claim.release()
    thread.join(10)
    assert not thread.is_alive()


@pytest.mark.parametrize("expiry", [0.0, -1.0, float("nan")])
def test_an_expiry_that_is_no_time_is_refused(tmp_path: Path, expiry: float) -> None:
    with pytest.raises(ValueError, match="must be a positive number of seconds"):
        Claims(tmp_path, expiry)


def test_many_processes_do_every_piece_of_work_once(tmp_path: Path) -> None:
    keys = [f"{number:02x}" for number in range(60)]
    _race(_work_through, tmp_path, keys)
    for key in keys:
        files = Store(tmp_path / "store").get(KIND, key)
        assert files is not None
    done = [line for log in tmp_path.glob("*.log") for line in log.read_text().split()]
    assert sorted(done) == keys
    assert list((tmp_path / "claims" / KIND).iterdir()) == []


def test_dead_claims_are_succeeded_by_one_process_each(tmp_path: Path) -> None:
    keys = [f"{number:02x}" for number in range(60)]
    for key in keys:
        age(left_behind(tmp_path, key), 1000)
    _race(_take_all, tmp_path, keys)
    taken = [line for log in tmp_path.glob("*.log") for line in log.read_text().split()]
    assert sorted(taken) == keys


def test_living_claims_are_taken_by_nobody(tmp_path: Path) -> None:
    keys = ["aa", "bb"]
    for key in keys:
        left_behind(tmp_path, key)
    _race(_take_all, tmp_path, keys)
    assert [log.read_text() for log in tmp_path.glob("*.log")] == [""] * 4


def _taken(claims: Claims) -> Claim:
    claim = claims.take(KIND, "ab")
    assert claim is not None
    return claim


def _race(task: object, root: Path, keys: list[str]) -> None:
    """Run `task` in four processes that begin together, each with the keys in another order."""
    barrier = PROCESSES.Barrier(4)
    started = [PROCESSES.Process(target=task, args=(root, keys, turn, barrier)) for turn in range(4)]  # type: ignore[arg-type]
    for process in started:
        process.start()
    for process in started:
        process.join(60)
        assert process.exitcode == 0


def _turned(keys: list[str], turn: int) -> list[str]:
    # Two in one order and two in the other: they meet at every key.
    return keys if turn % 2 else keys[::-1]


def _work_through(root: Path, keys: list[str], turn: int, barrier: Barrier) -> None:
    """What a worker does: take, look into the store again, work, store, release."""
    claims, store, done = Claims(root), Store(root / "store"), []
    barrier.wait(60)
    left = _turned(keys, turn)
    while left:
        for key in left:
            if (claim := claims.take(KIND, key)) is not None:
                with claim:
                    if store.get(KIND, key) is None:
                        store.put(KIND, key, {"made": b"."})
                        done.append(key)
        left = [key for key in left if store.get(KIND, key) is None]
    (root / f"{turn}.log").write_text("\n".join(done))


def _take_all(root: Path, keys: list[str], turn: int, barrier: Barrier) -> None:
    """Take whatever can be had, and keep it until all have tried."""
    claims = Claims(root, expiry=500)
    barrier.wait(60)
    held = {key: claims.take(KIND, key) for key in _turned(keys, turn)}
    (root / f"{turn}.log").write_text("\n".join(key for key, claim in held.items() if claim))
    barrier.wait(60)


FULL = """
import sys
from pathlib import Path
from experiments.steps.leases import Claims
from experiments.config.cli import explain
from experiments.steps.store import Store
cache = Path(sys.argv[1])
filler = cache / "filler"
claims = Claims(cache)
(cache / "claims" / "evaluation").mkdir(parents=True)
with filler.open("wb", buffering=0) as stream:
    try:
        while stream.write(bytes(4096)):
            pass
    except OSError:
        pass
for act in (lambda: claims.take("evaluation", "ab"), lambda: Store(cache).put("evaluation", "ab", {"a": b"a"})):
    try:
        act()
    except OSError as error:
        print(explain(error))
filler.unlink()
assert claims.take("evaluation", "ab") is not None, "an empty claim was left"
"""


def test_a_full_disk_is_named_and_leaves_no_claim(tmp_path: Path) -> None:
    done = run_mounted(tmp_path, "64k", FULL)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    for line in lines:
        assert line.startswith(f"the disk of {tmp_path}/")
        assert "is full (0 bytes are free); make room, or take another: cache=… or LATA_CACHE" in line
