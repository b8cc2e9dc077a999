"""Time whole merges against mergekit's: ``python -m tests.benchmarks.merge DIR --mergekit VENV``.

Makes the family of `merge_family` in DIR where it is not there, then runs ``python -m experiments.merge`` and
``mergekit-yaml --lazy-unpickle`` in turn and prints medians as a Markdown table. Both sides are whole processes with
their defaults, imports included: both copy the tokenizer's files and write a card. mergekit computes in bf16, as its
examples do (``--mergekit-dtype float32`` has the arithmetic that lata always has), and its TIES trims each tensor by
itself, which is less work than over all. It leaves its output in the page cache while lata waits for the disk; what
the disk still had to do after each is a column of its own and is in no ratio.

The next table is the limit that the disk sets: reading all inputs and writing the output, nothing computed. With
``--scaling`` the last one runs families of 0.3 to 3 B parameters from a cold page cache (needs 50 GB in DIR).

    python -m venv VENV && VENV/bin/pip install mergekit==0.1.5
"""

from __future__ import annotations

import argparse
import mmap
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.benchmarks.merge_family import DEFAULT_PARAMETERS, make_family
from tests.benchmarks.processes import Usage, flush, forget, measure, read

ROOT = Path(__file__).parents[2]
EXPERTS = ("math", "code")
SIZES = (0.3e9, 0.6e9, DEFAULT_PARAMETERS, 3e9)
_WARM_UP = 2e7
_WRITE = 8 << 20


@dataclass(frozen=True)
class Case:
    """One row of the table: what lata is asked, and what mergekit is asked for the same.

    Attributes:
        label: how the table names it.
        ours: overrides of ``python -m experiments.merge``.
        theirs: mergekit's method; empty where it has none like it.
        each: mergekit's parameters of each expert.
        least: how many times faster than mergekit it has to be.
        reads_base: whether lata reads θ_base.
    """

    label: str
    ours: Sequence[str]
    theirs: str = ""
    each: dict[str, float] = field(default_factory=dict)
    least: int | None = None
    reads_base: bool = False


CASES = (
    Case("ta", ["method=ta"], "task_arithmetic", least=2),
    Case("ties paper", ["method=ties", "method.density=0.2"], "ties", {"density": 0.2}, least=6),
    Case("dare paper", ["method=dare", "method.drop_rate=0.9"], "dare_linear", {"density": 0.1}, least=3),
    Case("lata_linear", ["method=lata_linear"], reads_base=True),
)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.merge", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="families and outputs go here")
    parser.add_argument(
        "--mergekit", type=Path, metavar="VENV", help="environment with mergekit 0.1.5; without it only lata runs"
    )
    parser.add_argument(
        "--mergekit-dtype", choices=("bfloat16", "float32"), default="bfloat16", help="what mergekit computes in"
    )
    parser.add_argument("--parameters", type=float, default=DEFAULT_PARAMETERS, help="size of the family (1.236e9)")
    parser.add_argument("--rounds", type=int, default=3, help="timed runs of each side (3)")
    parser.add_argument(
        "--cache",
        choices=("warm", "cold"),
        default="warm",
        help="inputs in the page cache or not, for all runs of the first table",
    )
    parser.add_argument("--only", nargs="+", metavar="METHOD", help=f"of {', '.join(case.label for case in CASES)}")
    parser.add_argument("--scaling", action="store_true", help="also run families of 0.3 to 3 B parameters")
    given = parser.parse_args()
    bench = Bench(given.folder, given.mergekit, given.mergekit_dtype)
    cases = [case for case in CASES if given.only is None or case.label in given.only]
    bench.warm_up(cases)
    family = make_family(_place(given.folder, given.parameters), given.parameters)
    bench.compare(family, cases, given.rounds, cold=given.cache == "cold")
    bench.limit(family, given.rounds)
    if given.scaling:
        bench.scale(cases, given.rounds)


class Bench:
    """The runs; every output is removed again.

    Attributes:
        folder: where families and outputs are.
        mergekit: its virtual environment, or None.
        dtype: what mergekit computes in.
    """

    def __init__(self, folder: Path, mergekit: Path | None, dtype: str) -> None:
        self.folder, self.mergekit, self.dtype = folder.resolve(), mergekit and mergekit.resolve(), dtype

    def warm_up(self, cases: Sequence[Case]) -> None:
        """One small merge of every kind, so that compiled code is in its caches on both sides."""
        family = make_family(_place(self.folder, _WARM_UP), _WARM_UP)
        for case in cases:
            for run in self._sides(case, family).values():
                run()

    def compare(self, family: dict[str, Path], cases: Sequence[Case], rounds: int, cold: bool) -> None:
        """Run both sides of every case in turn and print the table."""
        usage: dict[tuple[str, str], list[Usage]] = {}
        for number in range(rounds):
            for case in cases:
                sides = list(self._sides(case, family).items())
                for side, run in sides[:: -1 if number % 2 else 1]:
                    _prepare(_weights(family, case.reads_base), cold)
                    usage.setdefault((case.label, side), []).append(run())
        state = "not in" if cold else "in"
        print(f"## Whole merges, inputs {state} the page cache, medians of {rounds} interleaved runs\n")
        print(f"{os.cpu_count()} cores; {self._versions()}.\n")
        _head(
            "method",
            "program",
            "seconds",
            "mergekit ÷ lata",
            "at least",
            "peak GiB",
            "private GiB",
            "then flushed, s",
        )
        for case in cases:
            ours, theirs = (usage.get((case.label, side), []) for side in ("lata", "mergekit"))
            ratio = f"{_seconds(theirs) / _seconds(ours):.1f} ×" if theirs else ""
            _row(case.label, "lata", _spread(ours), ratio, f"{case.least} ×" if ratio else "", *_memory(ours))
            if theirs:
                _row(case.theirs, "mergekit", _spread(theirs), "", "", *_memory(theirs))

    def limit(self, family: dict[str, Path], rounds: int) -> None:
        """Print what reading the inputs and writing the output takes by itself, and how far ``ta`` is from it."""
        inputs = _weights(family, base=False)
        size = inputs[0].stat().st_size
        target = self.folder / "limit.bin"
        steps: dict[str, Callable[[], object]] = {
            "read": lambda: read(inputs),
            "write through the page cache": lambda: _write(target, size),
            "write past the page cache": lambda: _write_direct(target, size),
            "ta": lambda: self._ours(CASES[0], family),
        }
        times: dict[str, list[float]] = {}
        for _ in range(rounds):
            for name, step in steps.items():
                for state in ("",) if name.startswith("write") else (", cold", ", warm"):
                    _prepare(inputs, cold=state == ", cold")
                    began = time.perf_counter()
                    usage = step()
                    seconds = usage.seconds if isinstance(usage, Usage) else time.perf_counter() - began
                    times.setdefault(name + state, []).append(seconds)
                    target.unlink(missing_ok=True)
        medians = {key: statistics.median(values) for key, values in times.items()}
        print(f"\n## The limit of the disk: reading {len(inputs)} models and writing one, {size / 1e9:.2f} GB each\n")
        _head("what", "seconds")
        for key, value in medians.items():
            _row(key, f"{value:.2f}")
        writing = min(value for key, value in medians.items() if key.startswith("write"))
        for state in ("cold", "warm"):
            least = medians[f"read, {state}"] + writing
            _row(f"limit, {state}: reading, then the faster way of writing", f"{least:.2f}")
            _row(f"ta ÷ limit, {state}", f"{medians[f'ta, {state}'] / least:.2f} ×")

    def scale(self, cases: Sequence[Case], rounds: int) -> None:
        """Print the time a parameter and the memory over families of different sizes, from a cold page cache."""
        families = [make_family(_place(self.folder, size), size) for size in SIZES]
        print(f"\n## Size, inputs not in the page cache, medians of {rounds}\n")
        _head("parameters", "method", "seconds", "seconds a billion", "peak GiB", "private GiB", "then flushed, s")
        for family in families:
            billions = (family["pre"] / "model.safetensors").stat().st_size / 2e9
            for case in cases:
                runs = []
                for _ in range(rounds):
                    _prepare(_weights(family, case.reads_base), cold=True)
                    runs.append(self._ours(case, family))
                a_billion = f"{_seconds(runs) / billions:.2f}"
                _row(f"{billions:.2f} B", case.label, _spread(runs), a_billion, *_memory(runs))

    def _sides(self, case: Case, family: dict[str, Path]) -> dict[str, Callable[[], Usage]]:
        sides = {"lata": lambda: self._ours(case, family)}
        if self.mergekit and case.theirs:
            sides["mergekit"] = lambda: self._theirs(case, family)
        return sides

    def _ours(self, case: Case, family: dict[str, Path]) -> Usage:
        experts = ", ".join(f"{name}: {family[name]}" for name in EXPERTS)
        command = [
            sys.executable,
            "-m",
            "experiments.merge",
            f"family.base={family['base']}",
            f"family.pre={family['pre']}",
            f"family.experts={{{experts}}}",
            f"merge=[{','.join(EXPERTS)}]",
            *case.ours,
            "lam=1.0",
        ]
        # Digests of the inputs that an earlier run remembers would spare this one work.
        cache = self.folder / "cache"
        shutil.rmtree(cache, ignore_errors=True)
        return self._run(lambda output: [*command, f"output={output}"], {**os.environ, "LATA_CACHE": str(cache)})

    def _theirs(self, case: Case, family: dict[str, Path]) -> Usage:
        assert self.mergekit is not None
        config: dict[str, Any] = {
            "merge_method": case.theirs,
            "base_model": str(family["pre"]),
            "models": [{"model": str(family[name]), "parameters": {"weight": 1.0, **case.each}} for name in EXPERTS],
            "dtype": self.dtype,
            "out_dtype": "bfloat16",
        }
        path = self.folder / "mergekit.yaml"
        path.write_text(yaml.safe_dump(config), encoding="utf-8")
        program = self.mergekit / "bin" / "mergekit-yaml"
        return self._run(lambda output: [str(program), str(path), str(output), "--lazy-unpickle"])

    def _run(self, command: Callable[[Path], list[str]], env: Mapping[str, str] | None = None) -> Usage:
        output = self.folder / "output"
        shutil.rmtree(output, ignore_errors=True)
        os.sync()
        usage = measure(command(output), output, ROOT, env)
        shutil.rmtree(output)
        return usage

    def _versions(self) -> str:
        if self.mergekit is None:
            return "mergekit not run"
        show = "from importlib.metadata import version as v; print(v('mergekit'), 'with torch', v('torch'))"
        found = subprocess.run(
            [self.mergekit / "bin" / "python", "-c", show], check=True, capture_output=True, text=True
        )
        return f"mergekit {found.stdout.strip()}, computing in {self.dtype}"


def _place(folder: Path, parameters: float) -> Path:
    # A plus sign, as in 1e+09, separates model and adapter for both programs.
    return folder.resolve() / f"{parameters / 1e9:.3g}b"


def _weights(family: dict[str, Path], base: bool) -> list[Path]:
    return [family[name] / "model.safetensors" for name in (*(("base",) if base else ()), "pre", *EXPERTS)]


def _prepare(files: Sequence[Path], cold: bool) -> None:
    """Put files into the page cache or take them out of it, with nothing left to be written."""
    os.sync()
    (forget if cold else read)(files)


def _write(path: Path, size: int) -> None:
    block = os.urandom(_WRITE)
    with path.open("wb", buffering=0) as file:
        for start in range(0, size, _WRITE):
            file.write(block[: size - start])
    flush([path])


def _write_direct(path: Path, size: int) -> None:
    """Write past the page cache (rounded up to whole blocks), with one request at a time."""
    block = mmap.mmap(-1, _WRITE)  # its address is a multiple of a page, as O_DIRECT wants it
    block.write(os.urandom(_WRITE))
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_DIRECT, 0o644)
    os.posix_fallocate(descriptor, 0, size)
    for start in range(0, size, _WRITE):
        os.pwrite(descriptor, block, start)
    os.fsync(descriptor)
    os.close(descriptor)


def _seconds(runs: Sequence[Usage]) -> float:
    return statistics.median(usage.seconds for usage in runs)


def _spread(runs: Sequence[Usage]) -> str:
    seconds = [usage.seconds for usage in runs]
    return f"{_seconds(runs):.2f} ({min(seconds):.2f}–{max(seconds):.2f})"


def _memory(runs: Sequence[Usage]) -> tuple[str, str, str]:
    """Peak memory with and without mapped files, and what the disk still had to write."""
    peak, private = max(usage.peak_bytes for usage in runs), max(usage.private_bytes for usage in runs)
    flushed = statistics.median(usage.flush_seconds for usage in runs)
    return f"{peak / 2**30:.2f}", f"{private / 2**30:.2f}", f"{flushed:.2f}"


def _head(*names: str) -> None:
    _row(*names)
    _row(*("---" for _ in names))


def _row(*cells: str) -> None:
    print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
