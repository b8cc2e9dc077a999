"""Generated programs are judged right, cost one failed item at worst, and leave nothing behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time

import pytest
from sandbox_levels import PLENTY_S, STRONG, descendants, need, precious_file

from eval import sandbox
from eval.sandbox import Outcome, Program, run_once, run_programs


@pytest.fixture(params=[*STRONG, "limits"], scope="module")
def any_level(request: pytest.FixtureRequest) -> str:
    """Each level, resource limits alone included."""
    return need(request.param)


def test_some_level_works_here_and_says_what_it_contains() -> None:
    name = sandbox.level()
    assert sandbox.check() == name
    assert sandbox.describe() == f"{name}: {sandbox.LEVELS[name]}"


@pytest.mark.parametrize(
    ("program", "status", "reason"),
    [
        ("assert sum([1, 2]) == 3", "passed", ""),
        ("print('x' * 10)\nprint(1, file=__import__('sys').stderr)", "passed", ""),
        ("from typing import List\nimport math, re, hashlib\nhashlib.md5(b'').hexdigest()", "passed", ""),
        ("import threading\nt = threading.Thread(target=int)\nt.start()\nt.join()", "passed", ""),
        ("if __name__ == '__main__':\n    raise ValueError", "passed", ""),
        ("assert 1 == 2, 'unequal'", "failed", "AssertionError: unequal"),
        ("def f(:", "failed", "SyntaxError: invalid syntax (<program>, line 1)"),
        ("raise KeyboardInterrupt", "failed", "KeyboardInterrupt"),
        ("import sys\nsys.exit(0)", "failed", "SystemExit: 0"),
        ("import os\nos._exit(0)", "failed", "ended by itself with exit code 0"),
        ("def f(): return f()\nf()", "failed", "RecursionError"),
        ("input()", "failed", "EOFError"),
        ("import numpy", "failed", "ModuleNotFoundError"),
        ("'\\ud800'.encode()", "failed", "UnicodeEncodeError"),
        ("class E(Exception):\n    def __str__(self): raise E\nraise E", "failed", "broke the interpreter"),
        ("raise ValueError('\\ud800' * 10**6)", "failed", "ValueError"),
        ("raise ValueError('\U0001f600' * 10**6)", "failed", "ValueError: \U0001f600"),  # 12 bytes each in a verdict
        ("import ctypes\nctypes.string_at(0)", "crashed", "SIGSEGV"),
    ],
)
def test_a_program_passes_if_it_runs_to_its_end(program: str, status: str, reason: str) -> None:
    if "threading" in program and sandbox.level(allow_weaker=True) == "limits":
        pytest.skip("resource limits alone refuse threads")
    (outcome,) = run_programs([program], allow_weaker=True, timeout_s=PLENTY_S)
    assert outcome.status == status, outcome
    assert reason in outcome.reason


def test_outcomes_come_in_the_order_of_the_programs() -> None:
    programs = [f"import time\ntime.sleep({0.02 * (i % 3)})\nassert {i} % 2 == 0" for i in range(12)]
    assert [outcome.passed for outcome in run_programs(programs, workers=4)] == [i % 2 == 0 for i in range(12)]
    assert run_programs([]) == []


def test_programs_do_not_see_each_other() -> None:
    spoil = "import builtins, math\nbuiltins.sum = None\nmath.pi = 3\nglobals()['x'] = 1"
    check = "import math\nassert sum([1]) == 1 and math.pi > 3.1\nassert 'x' not in globals()"
    assert [o.passed for o in run_programs([spoil, check] * 3, workers=1)] == [True] * 6


def test_hashes_repeat() -> None:
    (first,), (second,) = (run_programs(["raise ValueError(hash('a'))"]) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("strong", [True, False], ids=["strongest", "limits"])
def test_limits_end_programs_and_their_neighbours_do_not_notice(strong: bool) -> None:
    level = sandbox.level(allow_weaker=True) if strong else need("limits")
    endless = "while True: pass"
    deaf = "import signal\nfor s in (15, 24, 14, 1): signal.signal(s, signal.SIG_IGN)\nwhile True: pass"
    outcomes = run_programs(
        ["x = 1", endless, "x = 1", deaf, "x = 1"], timeout_s=1, wall_s=PLENTY_S, workers=5, force_level=level
    )
    assert [outcome.passed for outcome in outcomes] == [True, False, True, False, True]
    assert outcomes[1] == Outcome("timeout", "processor-time limit")
    assert outcomes[3].status == "crashed"  # the kernel's last word, a second later


def test_an_endless_sleep_ends_at_the_limit_on_the_clock(any_level: str) -> None:
    start = time.monotonic()
    (outcome,) = run_programs(["import time\ntime.sleep(10**6)"], wall_s=0.3, force_level=any_level)
    assert outcome == Outcome("timeout", "wall-clock limit")
    assert time.monotonic() - start < 60


def test_filling_memory_fails_the_program(any_level: str) -> None:
    # Some machines need seconds to hand out memory; the limit on time must not come first.
    (outcome,) = run_programs(
        ["x = []\nwhile True: x.append(bytearray(10**7))"], timeout_s=PLENTY_S, force_level=any_level
    )
    assert outcome == Outcome("failed", "MemoryError: ")


def test_a_report_of_any_length_is_cut(any_level: str) -> None:
    (outcome,) = run_programs(["raise ValueError('x' * 10**6)"], timeout_s=PLENTY_S, force_level=any_level)
    assert outcome == Outcome("failed", ("ValueError: " + "x" * 10**3)[:200])


def test_flooding_every_open_descriptor_fails_the_program(any_level: str) -> None:
    write = "try: os.write(d, b'x' * 10**5)\n        except OSError: pass"
    program = f"import os\nwhile True:\n    for d in range(40):\n        {write}"
    assert not run_programs([program], timeout_s=1, force_level=any_level)[0].passed


def test_a_file_cannot_grow(any_level: str) -> None:
    with precious_file() as victim:
        program = f"f = open({str(victim)!r}, 'ab', 0)\nwhile True: f.write(b'x' * 10**6)"
        assert not run_programs([program], timeout_s=PLENTY_S, force_level=any_level)[0].passed
        assert victim.read_text() == "precious"


@pytest.mark.parametrize("name", ["bubblewrap", "namespaces", "seccomp"])
def test_a_supervisor_that_is_killed_from_outside_costs_no_item(name: str) -> None:
    need(name)
    outcomes: list[Outcome] = []
    others = descendants(os.getpid())
    slow = ["import time\ntime.sleep(0.5)"]
    runs = threading.Thread(
        target=lambda: outcomes.extend(run_programs(["x = 1", *slow], timeout_s=PLENTY_S, force_level=name))
    )
    runs.start()
    while runs.is_alive():
        family = [pid for pid in descendants(os.getpid()) if pid not in others]
        if len(family) > 1:  # the last is a program or about to be one; what started it is killed
            with contextlib.suppress(ProcessLookupError):
                os.kill(family[-2], signal.SIGKILL)
            break
    runs.join()
    assert [outcome.status for outcome in outcomes] == ["passed", "passed"]


@pytest.mark.parametrize(("name", "code"), [("bubblewrap", 137), ("namespaces", -9)])
def test_a_signal_is_told_from_a_failure_of_the_sandbox(
    name: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ends_with(returncode: int) -> None:
        done = subprocess.CompletedProcess([], returncode, b"", b"bwrap: no permission\n")
        monkeypatch.setattr(sandbox, "_supervise", lambda *_: done)

    ends_with(code)
    assert run_programs(["1"], force_level=name) == [Outcome("crashed", "its supervisor was killed")]
    ends_with(1)
    with pytest.raises(RuntimeError, match="ended with code 1: bwrap: no permission"):
        run_programs(["1"], force_level=name)


def test_without_bwrap_the_next_level_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(OSError, match="bwrap is not installed"):
        run_programs(["1"], force_level="bubblewrap")
    assert sandbox._strongest.__wrapped__() != "bubblewrap"


def test_limits_alone_need_permission_and_survive_a_killed_supervisor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "_strongest", lambda: "limits")
    with pytest.raises(ValueError, match=r"leave humaneval out .* eval\.allow_weaker_sandbox=true"):
        run_programs(["1"])
    outcomes = run_programs(["1", "import os\nos.kill(os.getppid(), 9)", "1"], allow_weaker=True)
    assert [outcome.status for outcome in outcomes] == ["passed", "crashed", "passed"]


def test_a_system_without_fork_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "_strongest", lambda: None)
    with pytest.raises(ValueError, match="needs Linux or macOS"):
        sandbox.check(allow_weaker=True)


def test_the_same_program_with_the_same_test_runs_once_unless_a_limit_ended_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ran: list[Program] = []

    def run(programs: list[Program], allow_weaker: bool) -> list[Outcome]:
        ran.extend(programs)
        return [Outcome("timeout" if "while" in one.code else "passed") for one in programs]

    monkeypatch.setattr(sandbox, "run_programs", run)
    monkeypatch.setattr(sandbox, "_outcomes", {})
    one, other, endless = Program("x = 1"), Program("x = 1", test="assert x"), Program("while True: pass")
    assert [outcome.status for outcome in run_once([one, endless, one])] == ["passed", "timeout", "passed"]
    assert [outcome.status for outcome in run_once([other, one, endless])] == ["passed", "passed", "timeout"]
    assert ran == [one, endless, other, endless]
