"""What a worker process does: one step after another, each into the store (`merging`, `scoring`).

Workers share nothing but the store. Each builds the model and loads the tasks once, holds one merge in memory at a
time, and writes it into the loaded model at one λ after another. A worker ends when its parent does, however that
happened.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import warnings
from enum import Enum
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, TextIO

from experiments.steps.jobs import Context, Task
from experiments.steps.leases import Claims
from experiments.steps.merging import coefficients, merge, similarity
from experiments.steps.scoring import EVALUATION, evaluate
from experiments.steps.store import Store

if TYPE_CHECKING:
    from multiprocessing.queues import SimpleQueue


class Outcome(Enum):
    """What became of a task: done here, found in the store, or another process is at it."""

    done = "done"
    found = "found"
    taken = "taken"


_context: Context


def start(context: Context, devices: SimpleQueue[str] | None = None) -> None:
    """Set a worker process up; called once in each.

    Args:
        context: of the study.
        devices: holds what ``CUDA_VISIBLE_DEVICES`` is to be, once for each worker; None leaves it as it is.
    """
    global _context
    _context = context
    if multiprocessing.parent_process() is not None:
        signal.signal(signal.SIGINT, lambda *_: os._exit(130))
        # SLURM warns every process of a job before it ends it; the parent of this one knows what to do.
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)
        threading.Thread(target=_end_with_parent, daemon=True).start()
    if devices is not None:
        # Before torch is imported: it reads this once.
        os.environ["CUDA_VISIBLE_DEVICES"] = devices.get()
    warnings.showwarning = _warn
    import torch

    torch.set_num_threads(context.shared.threads)


#: Warnings that this process has given.
_warned: set[str] = set()


def _warn(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """One line for each warning, and only once: a checkpoint's comes back with every merge of it."""
    if str(message) not in _warned:
        _warned.add(str(message))
        print(f"warning: {message}", file=sys.stderr)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


def run(task: Task) -> Outcome:
    """Do one step for one job and put its files into the store, unless another process is at it.

    Raises:
        ValueError: the job's weights are not those that the task names: the cache was made on another machine.
    """
    store = Store(_context.store)
    claim = Claims(_context.store).take(task.step, task.key)
    if claim is None:
        return Outcome.taken
    with claim:
        # Whoever had the claim before may have finished since this process looked.
        if store.get(task.step, task.key) is not None:
            return Outcome.found
        store.put(task.step, task.key, STEPS[task.step](_context, task))
        return Outcome.done


#: The steps by name; each turns a task into the files of its store entry.
STEPS = {"merge": merge, "similarity": similarity, "coefficients": coefficients, EVALUATION: evaluate}
