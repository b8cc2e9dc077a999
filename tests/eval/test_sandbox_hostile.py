"""No hostile program passes, ends the evaluation of others, or outlives its limit."""

from __future__ import annotations

import time

import hostile_programs as hostile
import pytest
from sandbox_levels import PLENTY_S, STRONG, root_of_the_machine, works

from eval import sandbox
from eval.sandbox import Outcome, Program, run_programs

LEVELS = [pytest.param(level, marks=pytest.mark.slow) for level in STRONG]


def program(code: str) -> Program:
    return Program(code, hostile.PROMPT, hostile.TEST, "double")


@pytest.fixture(params=["strongest", *LEVELS], scope="module")
def level(request: pytest.FixtureRequest) -> str:
    """The strongest level by default; each that works here among the slow tests."""
    if request.param == "strongest":
        return sandbox.level()
    if not works(request.param):
        pytest.skip(f"the level {request.param} does not work on this system")
    return str(request.param)


@pytest.fixture(scope="module")
def ended(level: str) -> dict[str, Outcome]:
    """What became of each, all in one batch with an honest program after every tenth."""
    names = [name if i % 10 else f"honest {i}" for i, name in enumerate(hostile.ENDING)] + list(hostile.ENDING)[::10]
    programs = [program(hostile.ENDING.get(name, hostile.HONEST)) for name in names]
    return dict(zip(names, run_programs(programs, force_level=level, timeout_s=PLENTY_S), strict=True))


@pytest.mark.parametrize("name", hostile.ENDING)
def test_no_hostile_program_passes(name: str, ended: dict[str, Outcome]) -> None:
    assert ended[name].status in ("failed", "crashed"), ended[name]


def test_honest_programs_beside_them_pass(ended: dict[str, Outcome]) -> None:
    honest = [outcome for name, outcome in ended.items() if name.startswith("honest")]
    assert honest == [Outcome("passed")] * len(honest)
    assert len(honest) > 10


def test_in_one_interpreter_with_its_test_a_forgery_passes() -> None:
    """As in HumanEval's reference: the table fights no straw man."""
    exec(hostile.FORGERIES["equal to everything"] + hostile.TEST, {})


def test_a_limit_ends_what_nothing_else_ends(level: str) -> None:
    programs = [program(text) for text in hostile.ENDLESS.values()]
    began = time.monotonic()
    outcomes = run_programs(programs, force_level=level, timeout_s=1, wall_s=3, workers=len(programs))
    assert time.monotonic() - began < 60
    found = dict(zip(hostile.ENDLESS, (outcome.status for outcome in outcomes), strict=True))
    assert {name for name, status in found.items() if status == "passed"} == set(), found


@pytest.mark.skipif(not works("limits"), reason="this system has no fork")
def test_what_a_program_of_roots_writes_into_verdicts_ends_no_batch() -> None:
    """At the weakest level nothing keeps it from the files of its parent."""
    writes = """
import os, stat
for number in range(1, 40):
    try:
        file = os.open(f"/proc/{os.getppid()}/fd/{number}", os.O_WRONLY)
        if stat.S_ISFIFO(os.fstat(file).st_mode): os.write(file, b'[0, "failed", ""]\\n')
    except OSError: pass
"""
    outcomes = run_programs([writes, "pass"], force_level="limits", timeout_s=PLENTY_S, workers=1)
    assert outcomes[0].status == "failed" if root_of_the_machine() else outcomes[0].passed
    assert outcomes[1].passed
