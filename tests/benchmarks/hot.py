"""Time a further λ of a merge in memory: ``python -m tests.benchmarks.hot DIR --mergekit VENV``.

Makes the family of `merge_family` in DIR where it is not there. For Task Arithmetic and LATA it holds the merge
(`lata.hold`) and writes point after point into a live transformers model, everything in bf16. Beside each point it
times the limit that the memory sets: a plain loop with the same threads reads as many bf16 weights and fp32 numbers
as θ_pre and D have, from buffers much larger than a cache, writes all weights of the same loaded model, and computes
next to nothing. A point's share of the limit is the median over rounds: both sides of a round see the same machine.
The peer for the same point is ``mergekit-yaml --lazy-unpickle`` and ``from_pretrained`` of what it wrote, with the
inputs in the page cache; it has no method with LATA's weights, and its Task Arithmetic stands in.

A point always includes ‖θ − θ_pre‖ and the look for values that are not finite. Naming the weights by a digest, which
is not needed to have them, is a row of its own. Needs 13 GB of memory at the default size.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
import yaml
from numba import njit

import lata
from lata.engine.stream import cores
from lata.numerics.torch_views import raw_view
from tests.benchmarks.merge_family import DEFAULT_PARAMETERS, make_family
from tests.benchmarks.processes import measure, read

ROOT = Path(__file__).parents[2]
EXPERTS = ("math", "code")
METHODS = ("ta", "lata_log")
LAMBDAS = (0.2, 0.4, 0.6, 0.8, 1.0, 1.2)
#: What a point may take, of the limit and of the peer.
OF_LIMIT, OF_PEER = 2.0, 0.1
# Elements of the limit's buffers, and of what one thread takes at a time.
_PIECE, _PART = 1 << 27, 1 << 21
_POINT = "a further point"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.hot", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="the family and outputs go here")
    parser.add_argument("--mergekit", type=Path, metavar="VENV", help="environment with mergekit 0.1.5")
    parser.add_argument("--parameters", type=float, default=DEFAULT_PARAMETERS, help="size of the family (1.236e9)")
    parser.add_argument("--rounds", type=int, default=12, help="timed points of each kind (12)")
    parser.add_argument("--peer-rounds", type=int, default=2, help="timed runs of mergekit (2)")
    given = parser.parse_args()
    place = given.folder.resolve()
    family = make_family(place / f"{given.parameters / 1e9:.3g}b", given.parameters)
    peer = [_peer(family, place, given.mergekit) for _ in range(given.peer_rounds)] if given.mergekit else []
    found = {method: _points(family, method, given.rounds) for method in METHODS}
    _report(found, peer, (family["pre"] / "model.safetensors").stat().st_size / 2e9)


def _peer(family: dict[str, Path], place: Path, venv: Path) -> float:
    """Seconds of mergekit's process and of loading its output in this one."""
    from transformers import AutoModelForCausalLM

    config = {
        "merge_method": "task_arithmetic",
        "base_model": str(family["pre"]),
        "models": [{"model": str(family[name]), "parameters": {"weight": 0.6}} for name in EXPERTS],
        "dtype": "bfloat16",
    }
    path, output = place / "mergekit.yaml", place / "output"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    shutil.rmtree(output, ignore_errors=True)
    os.sync()
    read([family[name] / "model.safetensors" for name in ("pre", *EXPERTS)])
    program = venv.absolute() / "bin" / "mergekit-yaml"
    seconds = measure([program, path, output, "--lazy-unpickle"], output, ROOT).seconds
    began = time.perf_counter()
    model = AutoModelForCausalLM.from_pretrained(output, dtype="bfloat16")
    # Weights that are mapped from the file are only loaded when they are looked at.
    for parameter in model.parameters():
        parameter.data.view(-1)[::2048].sum()
    seconds += time.perf_counter() - began
    shutil.rmtree(output)
    return seconds


def _points(family: dict[str, Path], method: str, rounds: int) -> dict[str, list[float]]:
    """What → seconds of each round; points and the limit in turn."""
    from transformers import AutoModelForCausalLM

    times: dict[str, list[float]] = {}

    def timed(what: str, call: Callable[[], object]) -> None:
        began = time.perf_counter()
        call()
        times.setdefault(what, []).append(time.perf_counter() - began)

    began = time.perf_counter()
    hot = lata.hold(family["pre"], {t: family[t] for t in EXPERTS}, family["base"], method=method)
    times["reading the checkpoints and holding the merge, once"] = [time.perf_counter() - began]
    model = AutoModelForCausalLM.from_pretrained(family["pre"], dtype="bfloat16")
    # The first one also gives the model memory of its own, and looks for bad values in what is held.
    timed("the first point", lambda: hot.write(0.5, model))
    hot.write(0.5, model, digest=True)
    limit = Limit(model)
    limit()
    for number in range(rounds):
        lam = LAMBDAS[number % len(LAMBDAS)]
        timed("limit", limit)
        timed(_POINT, lambda lam=lam: hot.write(lam, model))  # type: ignore[misc]
        timed(f"{_POINT} with its digest", lambda lam=lam: hot.write(lam, model, digest=True))  # type: ignore[misc]
    hot.close()
    limit.close()
    return times


@njit(nogil=True, cache=True)
def _move(start: np.ndarray, direction: np.ndarray, out: np.ndarray) -> None:
    for i in range(start.size):
        out[i] = start[i] ^ np.uint16(direction[i] >> np.uint32(16))


class Limit:
    """Reads 2 and 4 bytes for each weight of a model and writes the weight, with every core."""

    def __init__(self, model: torch.nn.Module) -> None:
        self._start, self._direction = np.ones(_PIECE, np.uint16), np.ones(_PIECE, np.uint32)
        live = [raw_view(parameter).view(np.uint16) for parameter in model.parameters()]
        parts = [whole[start : start + _PART] for whole in live for start in range(0, whole.size, _PART)]
        self._shares = [parts[index :: cores()] for index in range(cores())]
        self._pool = ThreadPoolExecutor(cores())

    def __call__(self) -> None:
        list(self._pool.map(self._run, self._shares, range(cores())))

    def close(self) -> None:
        self._pool.shutdown()

    def _run(self, parts: list[np.ndarray], thread: int) -> None:
        room = _PIECE // cores()
        position = 0
        for part in parts:
            if position + part.size > room:
                position = 0
            begin = thread * room + position
            end = begin + part.size
            _move(self._start[begin:end], self._direction[begin:end], part)
            position += part.size


def _report(found: dict[str, dict[str, list[float]]], peer: list[float], billions: float) -> None:
    print(f"## A further λ in memory: {billions:.2f} B parameters in bf16, medians\n")
    print(f"{os.cpu_count()} cores.\n")
    rows = [("method", "what", "seconds (least–most)", "÷ limit", "÷ mergekit"), ("---",) * 5]
    missed = False
    for method, times in found.items():
        for what, seconds in times.items():
            middle = statistics.median(seconds)
            shares = ("", "")
            if what.startswith(_POINT):
                of_limit = statistics.median(a / b for a, b in zip(seconds, times["limit"], strict=True))
                of_peer = middle / statistics.median(peer) if peer else 0.0
                missed |= what == _POINT and (of_limit > OF_LIMIT or of_peer > OF_PEER)
                shares = (f"{of_limit:.2f}", f"{of_peer:.3f}" if peer else "")
            rows.append((method, what, f"{middle:.2f} ({min(seconds):.2f}–{max(seconds):.2f})", *shares))
    if peer:
        spread = f"{statistics.median(peer):.2f} ({min(peer):.2f}–{max(peer):.2f})"
        rows.append(("task_arithmetic", "mergekit-yaml, then from_pretrained", spread, "", "1"))
    rows.append(("", f"{_POINT} may take", "", f"{OF_LIMIT:g}", f"{OF_PEER:g}"))
    for row in rows:
        print(f"| {' | '.join(row)} |")
    if missed:
        sys.exit("missed: see above")


if __name__ == "__main__":
    main()
