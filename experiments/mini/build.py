"""Trains the missing models of a family in worker processes and reports how far they are.

Models whose parent is ready train at the same time, one to a process, up to the number of cores. All training happens
in children: the caller's torch threads and random state stay as they were. A worker that can no longer report
(its parent was killed) ends at once.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
import signal
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from experiments.mini import folders
from experiments.mini.corpora import l2 as l2  # on import its generators join those that a worker knows
from experiments.mini.progress import Progress
from experiments.mini.training.stages import Shape, Stage
from experiments.mini.training.train import KERNELS, train


@dataclass(frozen=True)
class Job:
    """What a worker needs to train one model. `draft` is where it works, `folder` where the model ends."""

    stage: Stage
    seed: int
    shape: Shape
    parent: Path | None
    draft: Path
    folder: Path


@dataclass
class _Worker:
    process: BaseProcess
    connection: Connection
    job: Job | None = None


def train_all(jobs: Iterable[Job], progress: bool) -> None:
    """Train the models of `jobs`, all of one family, parents first and long trainings first, into their folders.

    Raises:
        ValueError: a model could not be trained; the message names it and says why.
    """
    jobs = sorted(jobs, key=lambda job: -job.stage.examples)
    bar = Progress(
        {job.stage.name: job.stage.examples for job in jobs}, progress, f"mini family, seed {jobs[0].seed}"
    )
    workers: list[_Worker] = []
    try:
        _run(jobs, workers, bar)
    finally:
        for worker in workers:
            worker.process.terminate()
        for worker in workers:
            worker.process.join()
        for job in jobs:
            shutil.rmtree(job.draft, ignore_errors=True)
        bar.close()


def _run(waiting: list[Job], workers: list[_Worker], bar: Progress) -> None:
    unfinished = {job.folder for job in waiting}
    waiting = list(waiting)
    while unfinished:
        for job in [job for job in waiting if job.parent not in unfinished]:
            worker = _idle(workers)
            if worker is None:
                break
            waiting.remove(job)
            worker.job = job
            worker.connection.send(job)
        busy = [worker for worker in workers if worker.job]
        ready = wait([worker.connection for worker in busy])
        for worker in [worker for worker in busy if worker.connection in ready]:
            assert worker.job is not None
            stage = worker.job.stage
            try:
                kind, *content = worker.connection.recv()
            except (EOFError, ConnectionError):
                worker.process.join()
                raise ValueError(
                    f"training of {stage.name} was killed (exit {worker.process.exitcode}); "
                    "run again to go on from the last finished model"
                ) from None
            if kind == "progress":
                bar.update(stage.name, *content)
            elif kind == "failed":
                raise ValueError(f"training of {stage.name} failed: {content[0]}")
            else:
                bar.finish(stage.name)
                unfinished.remove(worker.job.folder)
                worker.job = None


def _idle(workers: list[_Worker]) -> _Worker | None:
    """A worker without a job, started if there are fewer than cores."""
    for worker in workers:
        if worker.job is None:
            return worker
    if len(workers) >= _cores():
        return None
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=work, args=(theirs,), daemon=True)
    with _environment(KERNELS):
        process.start()
    theirs.close()
    workers.append(_Worker(process, ours))
    return workers[-1]


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """What a process that is started meanwhile finds in its environment."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def work(connection: Connection) -> None:
    """The life of a worker: train the jobs that come, until nobody sends any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends its workers
    try:
        while True:
            job: Job = connection.recv()
            try:
                _train(job, connection)
            except ConnectionError:
                raise
            except Exception as error:
                reason = traceback.format_exception_only(type(error), error)[-1].strip()
                connection.send(("failed", reason))
            else:
                connection.send(("done",))
    except (EOFError, ConnectionError):  # nobody listens any more
        return


def _train(job: Job, connection: Connection) -> None:
    """Train one model and put it in its place; ``("progress", share, loss)`` goes through `connection`."""

    def report(share: float, loss: float) -> None:
        connection.send(("progress", share, loss))

    train(job.stage, job.seed, job.shape, job.parent, job.draft, report)
    folders.publish(job.draft, job.folder)
