"""Properties of merges that only show on checkpoints of some size: memory, and being killed at random moments."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.benchmarks.merge_family import make_family

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")]


def command(family: dict[str, Path], output: Path, *arguments: str) -> list[str]:
    experts = f"family.experts={{math: {family['math']}, code: {family['code']}}}"
    sources = [f"family.pre={family['pre']}", f"family.base={family['base']}", experts]
    return [sys.executable, "-m", "experiments.merge", *sources, f"output={output}", *arguments]


def peak_bytes(words: list[str], output: Path) -> int:
    """Measured by a small process: a child's peak counts what its parent had in memory when it was started."""
    code = (
        "import sys; from pathlib import Path; from tests.benchmarks.processes import measure\n"
        "print(measure(sys.argv[2:], Path(sys.argv[1]), Path.cwd()).peak_bytes)"
    )
    whole = [sys.executable, "-c", code, str(output), *words]
    return int(subprocess.run(whole, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()[-1])


def test_memory_does_not_grow_with_the_model(tmp_path: Path) -> None:
    peaks = {}
    for parameters in (2e7, 2e8):
        family = make_family(tmp_path / f"{parameters:.0f}", parameters)
        for method in ("ties", "lata_linear"):
            output = tmp_path / f"{parameters:.0f}-{method}"
            peaks[parameters, method] = peak_bytes(command(family, output, f"method={method}"), output)
    assert max(peaks.values()) < 2**30, peaks
    for method in ("ties", "lata_linear"):
        # One model alone grows by 360 MB; the rest is what threads of a busy machine have in hand at once.
        assert peaks[2e8, method] < peaks[2e7, method] + 150 * 2**20, peaks


def test_a_merge_killed_at_random_moments_ends_with_the_same_bytes(tmp_path: Path) -> None:
    family = make_family(tmp_path / "family", 5e7)
    environment = {**os.environ, "LATA_CACHE": str(tmp_path / "cache")}
    arguments = ("method=ties", "shard_bytes=20000000")
    begun = time.monotonic()
    subprocess.run(command(family, tmp_path / "whole", *arguments), cwd=ROOT, env=environment, check=True)
    took = time.monotonic() - begun
    output = tmp_path / "killed"
    moments = random.Random(0)

    def check_and_remove() -> None:
        for path in (tmp_path / "whole").iterdir():
            assert path.read_bytes() == (output / path.name).read_bytes(), path.name
        shutil.rmtree(output)

    kills = 0
    while kills < 20:
        child = subprocess.Popen(
            command(family, output, *arguments), cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True
        )
        try:
            _, printed = child.communicate(timeout=moments.uniform(0.2, 1.0) * took)
            assert child.returncode == 0, printed
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGKILL)
            child.communicate()
            kills += 1
        # What is there is whole, made of what earlier attempts had left; then it begins once more.
        if output.exists():
            check_and_remove()
    subprocess.run(command(family, output, *arguments), cwd=ROOT, env=environment, check=True)
    check_and_remove()
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".partial")]
