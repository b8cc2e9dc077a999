"""Isolation is paid once a batch: canonical solutions run several times faster than in fresh interpreters."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from sandbox_levels import PLENTY_S

from eval.sandbox import Program, run_programs


@pytest.mark.slow
def test_a_batch_is_clearly_faster_than_a_fresh_interpreter_for_each_program(
    human_eval: list[dict[str, str]],
) -> None:
    """A ratio, for a busy machine slows both; three to five on two cores (``python -m tests.benchmarks.sandbox``)."""
    programs = [
        Program(
            row["prompt"] + row["canonical_solution"],
            row["prompt"],
            f"{row['test']}\ncheck({row['entry_point']})",
            row["entry_point"],
        )
        for row in human_eval
    ]

    def fresh(program: Program) -> None:
        text = f"{program.code}\n{program.test}"
        subprocess.run([sys.executable, "-I", "-S", "-c", text], check=True, stdout=subprocess.DEVNULL)

    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(3):
        began = time.perf_counter()
        assert all(outcome.passed for outcome in run_programs(programs, workers=2, timeout_s=PLENTY_S))
        between = time.perf_counter()
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(fresh, programs))
        times[0].append(between - began)
        times[1].append(time.perf_counter() - between)
    assert min(times[1]) > 1.5 * min(times[0])
