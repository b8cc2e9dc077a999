"""Time the main steps on the miniature family and print a table: ``make bench``.

Every comparison interleaves both sides in one process with one thread and shows medians, so that a machine that is
busy with other things slows both alike. The family is trained first where the cache has none.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

from eval.harness import EvalSettings, Evaluator
from experiments.mini.family import MiniFamily
from experiments.steps.jobs import Context, Job, Task
from experiments.steps.merging import merge


def main() -> None:
    """Run all benchmarks."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="timed runs of each side (default 5)")
    runs = parser.parse_args().runs
    cache = Path(os.environ.get("LATA_CACHE") or "~/.cache/lata").expanduser()
    family = MiniFamily(cache=cache)
    folders = family.ensure()
    settings = EvalSettings(data_dir=family.data_dir(), limit=300, batch_size=150, device="cpu")
    print(f"medians of {runs} runs, one thread; 'peer' is the line's last column\n")
    print(f"{'what':58} {'ours':>9} {'peer':>9} {'ratio':>7}  peer is")
    with tempfile.TemporaryDirectory() as store:
        sources = {name: str(folder) for name, folder in folders.items()}
        context = Context({0: sources}, {"test": settings}, Path(store))
        _evaluation(settings, folders["pre"], runs)
        for method in ("ta", "ties", "dare", "lata_linear"):
            _merge(method, context, runs)


def _evaluation(settings: EvalSettings, pre: Path, runs: int) -> None:
    import torch
    from lm_eval.evaluator import evaluate
    from lm_eval.models.huggingface import HFLM
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(pre)
    model = AutoModelForCausalLM.from_pretrained(pre, dtype="float32").eval()
    evaluator = Evaluator(settings, tokenizer)
    stock = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=settings.batch_size)

    def peer() -> None:
        with contextlib.redirect_stderr(io.StringIO()):  # its progress bars
            evaluate(
                stock,
                {"tasks": evaluator.tasks},
                limit=settings.limit,
                bootstrap_iters=0,
                log_samples=True,
                confirm_run_unsafe_code=True,
            )

    evaluator(model)
    _line("four tasks at 300 items, one model", lambda: evaluator(model), peer, runs, "stock HFLM, tasks loaded")


def _merge(method: str, context: Context, runs: int) -> None:
    job = Job(0, "pre", method, ("code", "math", "ua"), lam=1.0)

    def ours() -> None:
        merge(context, Task("merge", job, key=""))

    def read() -> None:
        # What any merge has to read: base, pre and three experts.
        from tests.lata.loaded import load

        for name in ("base", "pre", "code", "math", "ua"):
            load(Path(context.families[0][name]))

    ours()
    _line(f"{method} of three experts, in memory", ours, read, runs, "reading the five checkpoints once")


def _line(what: str, ours: Callable[[], object], peer: Callable[[], object], runs: int, name: str) -> None:
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(runs):
        for side, call in zip(times, (ours, peer), strict=True):
            began = time.perf_counter()
            call()
            side.append(time.perf_counter() - began)
    mine, theirs = (statistics.median(side) for side in times)
    print(f"{what:58} {mine:8.3f}s {theirs:8.3f}s {theirs / mine:6.2f}x  {name}", flush=True)


if __name__ == "__main__":
    main()
