"""Programs a second through the sandbox, for each level that works here: ``python -m tests.benchmarks.sandbox``.

The programs are HumanEval's 164 canonical solutions with their tests where LATA_BENCH_DATA names a folder with
``HumanEval.jsonl.gz``, else a small generated one. The peer is a fresh interpreter for each program, as many at a
time, which contains nothing.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from eval.sandbox import LEVELS, Program, run_programs

GENERATED = {
    "prompt": 'def f(x: int) -> int:\n    """The square."""\n',
    "canonical_solution": "    return x * x\n",
    "test": "def check(f):\n    for i in range(100):\n        assert f(i) == i**2\n",
    "entry_point": "f",
}
#: Time that no canonical solution needs on any machine.
PLENTY_S = 60.0


def canonical_programs() -> list[Program]:
    """HumanEval's solutions with their tests, or 164 times a generated program."""
    folder = os.environ.get("LATA_BENCH_DATA")
    if not folder:
        return [program(GENERATED)] * 164
    with gzip.open(Path(folder, "HumanEval.jsonl.gz"), "rt", encoding="utf-8") as lines:
        return [program(json.loads(line)) for line in lines]


def program(row: dict[str, str]) -> Program:
    """A problem with its canonical solution."""
    test = f"{row['test']}\ncheck({row['entry_point']})\n"
    return Program(row["prompt"] + row["canonical_solution"], row["prompt"], test, row["entry_point"])


def fresh_interpreters(programs: Sequence[Program], workers: int) -> None:
    """The peer: one ``python -c`` for each program, ``workers`` at a time.

    Raises:
        subprocess.CalledProcessError: a program did not pass.
    """
    with ThreadPoolExecutor(workers) as pool:
        run = [[sys.executable, "-I", "-S", "-c", f"{one.code}\n{one.test}"] for one in programs]
        list(pool.map(lambda one: subprocess.run(one, check=True, stdout=subprocess.DEVNULL), run))


def contained(programs: Sequence[Program], workers: int, level: str) -> None:
    """Ours: all programs in one batch at ``level``; every one has to pass."""
    outcomes = run_programs(programs, workers=workers, force_level=level, timeout_s=PLENTY_S)
    assert all(outcome.passed for outcome in outcomes), [o for o in outcomes if not o.passed][:3]


def seconds(call: Callable[[], None]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.sandbox", description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="timed runs of each side (default 3)")
    parser.add_argument("--workers", type=int, default=2, help="programs at a time (default 2)")
    arguments = parser.parse_args()
    programs = canonical_programs()
    levels = [level for level in LEVELS if _works(level)]
    times: dict[str, list[float]] = {level: [] for level in ["fresh interpreter", *levels]}
    for _ in range(arguments.runs):  # interleaved, so that a busy machine slows all alike
        times["fresh interpreter"].append(seconds(lambda: fresh_interpreters(programs, arguments.workers)))
        for level in levels:
            times[level].append(seconds(lambda level=level: contained(programs, arguments.workers, level)))
    print(f"{len(programs)} programs, {arguments.workers} at a time, median of {arguments.runs} runs\n")
    peer = statistics.median(times["fresh interpreter"])
    print(f"{'level':20} {'seconds':>8} {'programs/s':>11} {'times the peer':>15}")
    for level, found in times.items():
        middle = statistics.median(found)
        print(f"{level:20} {middle:8.2f} {len(programs) / middle:11.0f} {peer / middle:14.1f}x")


def _works(level: str) -> bool:
    try:
        return run_programs(["1"], force_level=level, timeout_s=PLENTY_S)[0].passed
    except (RuntimeError, OSError):
        return False


if __name__ == "__main__":
    main()
