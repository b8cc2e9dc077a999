"""Time ten merges scored in one process against ten ``lm_eval`` commands: ``python -m tests.benchmarks.evaluation``.

Both sides are whole processes, imports included, and score the same checkpoint folders on the same tasks with the
same batch size and one thread. The commands are lm-evaluation-harness's own on the task folder of this project. Ours
runs between two halves of theirs, so that a machine that is busy with other things slows both. The miniature family
is trained first where the cache has none; the merges are made before anything is timed.

The scores of both sides are compared at the end: the largest relative difference has to be below 1e-6.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eval.settings import TASK_FOLDER, EvalSettings
from experiments.mini.family import MiniFamily

TASKS = ("wikitext", "gsm8k", "humaneval", "refusal")
BATCH_SIZE = 150
#: What ours may take of the commands' time.
TARGET = 1 / 3


def main() -> None:
    """Run both sides and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.evaluation", description=__doc__)
    parser.add_argument("--models", type=int, default=10, help="merges (10)")
    parser.add_argument("--limit", type=int, default=300, help="items a task (300)")
    parser.add_argument("--ours", nargs="+", type=Path, metavar="DIR", help=argparse.SUPPRESS)
    parser.add_argument("--data", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.ours:
        print(json.dumps(score(given.ours, given.data, given.limit)))
        return
    family = MiniFamily(cache=Path(os.environ.get("LATA_CACHE") or "~/.cache/lata").expanduser())
    sources, data = family.ensure(), family.data_dir()
    with tempfile.TemporaryDirectory() as place:
        folders = merges(sources, Path(place), given.models)
        half = len(folders) // 2
        theirs, seconds, cpu = [], 0.0, 0.0
        for number, folder in enumerate(folders):
            if number == half:
                began = _clocks()
                ours = _ours(folders, data, given.limit)
                mine, my_cpu = (end - start for end, start in zip(_clocks(), began, strict=True))
            began = _clocks()
            theirs.append(_command(folder, data, given.limit, Path(place) / "out" / folder.name))
            ended = _clocks()
            seconds, cpu = seconds + ended[0] - began[0], cpu + ended[1] - began[1]
    differences = [
        abs(a[key] - b[key]) / max(abs(b[key]), 1e-9) for a, b in zip(ours, theirs, strict=True) for key in b
    ]
    assert differences
    count = len(folders)
    print(
        f"{count} merges of the miniature family, {given.limit} items a task, batch size {BATCH_SIZE}, one thread\n"
    )
    print("| what | seconds | seconds a model | CPU seconds |\n|---|---:|---:|---:|")
    print(f"| {count} `lm_eval` commands | {seconds:.1f} | {seconds / count:.1f} | {cpu:.1f} |")
    print(f"| one process of this project | {mine:.1f} | {mine / count:.1f} | {my_cpu:.1f} |")
    print(f"| ratio (target: at most {TARGET:.3f}) | {mine / seconds:.3f} | | {my_cpu / cpu:.3f} |\n")
    print(f"{len(differences)} scores on both sides; largest relative difference {max(differences):.1e}")
    if mine / seconds > TARGET or not max(differences) < 1e-6:
        sys.exit("missed: see above")


def merges(sources: dict[str, Path], place: Path, count: int) -> list[Path]:
    """Task Arithmetic of all experts at `count` values of λ, as checkpoint folders."""
    import shutil

    from safetensors.torch import save_file

    from tests.lata.loaded import Family, load, merge_tensors

    experts = {name: load(sources[name]) for name in ("math", "code", "ua")}
    family = Family(pre=load(sources["pre"]), experts=experts)
    direction = family.direction(list(experts), "ta")
    folders = []
    for number in range(count):
        folder = place / f"merge-{number}"
        shutil.copytree(sources["pre"], folder, ignore=shutil.ignore_patterns("*.safetensors"))
        merged = merge_tensors(family.pre, direction, (number + 1) / count)
        save_file(dict(merged.tensors), folder / "model.safetensors", metadata={"format": "pt"})
        folders.append(folder)
    return folders


def score(folders: Sequence[Path], data: Path, limit: int) -> list[dict[str, float]]:
    """Our side, in this process: tasks, requests and the model are built once, then weights change."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from eval.harness import Evaluator
    from tests.lata.loaded import load

    settings = EvalSettings(tasks=TASKS, data_dir=data, limit=limit, batch_size=BATCH_SIZE, device="cpu")
    evaluate = Evaluator(settings, AutoTokenizer.from_pretrained(folders[0]))
    model = AutoModelForCausalLM.from_pretrained(folders[0], dtype=settings.dtype).eval()
    found = []
    for folder in folders:
        model.load_state_dict(load(folder), strict=False)
        scores = evaluate(model).scores
        found.append({f"{s['task']} {s['metric']} {s['filter']}": float(s["value"]) for s in scores})
    return found


def _ours(folders: Sequence[Path], data: Path, limit: int) -> list[dict[str, float]]:
    command = [sys.executable, "-m", "tests.benchmarks.evaluation", "--data", str(data), "--limit", str(limit)]
    printed = _run([*command, "--ours", *map(str, folders)])
    found: list[dict[str, float]] = json.loads(printed.strip().splitlines()[-1])
    return found


def _command(folder: Path, data: Path, limit: int, out: Path) -> dict[str, float]:
    """Scores of one ``lm_eval`` command."""
    arguments = {
        "--model": "hf",
        "--model_args": f"pretrained={folder},dtype=float32",
        "--tasks": ",".join(f"{task}_mini" for task in TASKS),
        "--include_path": str(TASK_FOLDER),
        "--metadata": json.dumps({"data_dir": str(data), "split": "test"}),
        "--batch_size": str(BATCH_SIZE),
        "--limit": str(limit),
        "--device": "cpu",
        "--output_path": str(out),
    }
    words = [word for pair in arguments.items() for word in pair]
    _run([sys.executable, "-m", "lm_eval", "run", *words, "--log_samples", "--confirm_run_unsafe_code"])
    (report,) = out.glob("**/results_*.json")
    results: dict[str, dict[str, Any]] = json.loads(report.read_text(encoding="utf-8"))["results"]
    found = {}
    for task, row in results.statistics.items():
        for key, value in row.items():
            metric, _, filter_ = key.partition(",")
            if (
                filter_
                and not metric.endswith("_stderr")
                and isinstance(value, (int, float))
                and math.isfinite(value)
            ):
                found[f"{task.removesuffix('_mini')} {metric} {filter_}"] = float(value)
    return found


def _clocks() -> tuple[float, float]:
    """Now, and the CPU seconds that finished child processes took: other work on the machine is not in these."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.perf_counter(), used.ru_utime + used.ru_stime


def _run(command: Sequence[str]) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\nfailed:\n{done.stderr[-3000:]}")
    return done.stdout


if __name__ == "__main__":
    main()
