"""The cached steps of a study, done by worker processes: merge, evaluate, measure similarity.

Merging names weights by a digest; an evaluation is keyed by that digest and by everything else that decides the
answers, so equal weights are evaluated once, whatever method made them. Processes are started when the first step
is missing from the store; a study whose steps are all there starts none and imports no torch. Any number of runs, on
any number of machines, can work on one study at a time: a task that another one has claimed is left to it, and taken
over where that one died (`experiments.steps.leases`).
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from multiprocessing import get_context
from typing import Any

from tqdm import tqdm

from eval.harness import EvalSettings, task_fingerprint
from experiments.steps import worker
from experiments.steps.devices import cores, gpus
from experiments.steps.jobs import Context, Job, Lam, Task
from experiments.steps.leases import Claims
from experiments.steps.models import find
from experiments.steps.scoring import EVALUATION, evaluation_key
from experiments.steps.store import Store, key_of
from experiments.steps.worker import Outcome
from lata.code_version import code_version
from lata.methods import get

#: More processes than this gain little on a family that fits a laptop, and each needs memory of its own.
MOST_WORKERS = 8

#: Seconds between two looks at a task that another process has.
PATIENCE = 1.0

Digests = Mapping[int, Mapping[str, str]]
#: One evaluation: a job, and a name in `Context.settings`.
Scoring = tuple[Job, str]
Files = dict[str, bytes]


@dataclass(frozen=True)
class Weights:
    """A job's weights, by what is known of them without having them.

    Attributes:
        digest: of the weights, see `lata.checkpoints.digests`.
        distance: ‖weights − start‖₂; for a model as it is, the distance to θ_pre.
        finite: whether every value is.
    """

    digest: str
    distance: float
    finite: bool


def said_once(warnings: Mapping[Job, Sequence[str]]) -> list[str]:
    """The evaluations' warnings; those of several models that differ in numbers only are one line."""
    alike: dict[str, list[tuple[Job, str]]] = {}
    for job, own in warnings.items():
        for line in own:
            alike.setdefault(re.sub(r"\d+", "#", line), []).append((job, line))
    return [
        f"{_name(found[0][0])}: {found[0][1]}" + (f" ({len(found)} models in all)" if found[1:] else "")
        for found in alike.values()
    ]


def _name(job: Job) -> str:
    """A job in a few words."""
    return f"{job.method} of {'+'.join(job.experts)}" if job.method else job.start


class Steps:
    """The steps of one study.

    Args:
        context: families, evaluation settings and store.
        workers: number of processes; None for one a core, or one a GPU.
    """

    def __init__(self, context: Context, workers: int | None = None) -> None:
        self.context = context
        self.store = Store(context.store)
        self._claims = Claims(context.store)
        on_gpu = context.shared.device != "cpu"
        self._gpus = _groups(gpus(), context.shared) if on_gpu else []
        self.workers = workers or (max(1, len(self._gpus)) if on_gpu else min(cores(), MOST_WORKERS))
        self._pool: ProcessPoolExecutor | None = None
        #: Warnings of evaluations that were shown.
        self._said: set[str] = set()
        #: Step → how many of its jobs this run did itself; the rest came from the store.
        self.computed: Counter[str] = Counter(dict.fromkeys(worker.STEPS, 0))

    @cached_property
    def digests(self) -> Digests:
        """Digest of every model of every family."""
        from lata.checkpoints import open_checkpoint
        from lata.checkpoints.digests import digest

        found: dict[int, dict[str, str]] = {}
        for seed, models in self.context.families.items():
            found[seed] = {}
            for name, source in models.items():
                with open_checkpoint(source, name) as checkpoint:
                    found[seed][name] = digest(checkpoint)
        return found

    @cached_property
    def reads(self) -> dict[int, str]:
        """For each seed a digest of what an evaluation reads beside weights: configuration and tokenizer of θ_pre."""
        return {seed: find(models["pre"], None).reads for seed, models in self.context.families.items()}

    @cached_property
    def fingerprints(self) -> dict[str, str]:
        """For each of the settings what decides an evaluation's answers besides the weights."""
        return {name: task_fingerprint(settings) for name, settings in self.context.settings.items()}

    def merge(self, jobs: Iterable[Job]) -> dict[Job, Weights]:
        """Make every job's weights once and say what they are."""
        found = self._done("merge", [Task("merge", job, self._merge_key(job)) for job in dict.fromkeys(jobs)])
        return {task.job: Weights(**json.loads(files["weights.json"])) for task, files in found.items()}

    def evaluate(self, scorings: Iterable[Scoring], weights: Mapping[Job, Weights]) -> dict[Scoring, Files]:
        """Evaluate jobs whose weights are finite; equal weights are evaluated once.

        Args:
            scorings: what is to be evaluated, and how.
            weights: of every job in it.

        Returns:
            The evaluations' files: ``items.parquet``, ``scores.json``, ``answers.jsonl``, ``warnings.json``.
        """
        tasks = {
            (job, settings): Task(
                EVALUATION, job, self._evaluation_key(job, settings, facts.digest), settings, facts.digest
            )
            for job, settings in dict.fromkeys(scorings)
            if (facts := weights[job]).finite
        }
        first = {task.key: task for task in reversed(tasks.values())}
        found = self._done(EVALUATION, list(reversed(first.values())))
        for line in said_once({task.job: json.loads(files["warnings.json"]) for task, files in found.items()}):
            if line not in self._said:
                self._said.add(line)
                print(f"warning: {line}", file=sys.stderr)
        return {scoring: found[first[task.key]] for scoring, task in tasks.items()}

    def similarities(self, tasks: tuple[str, ...]) -> dict[int, dict[str, Any]]:
        """For each seed what was measured of every layer and task by granularity (see `merging.similarity`).

        Nothing where the study has no θ_base to compare with.
        """
        jobs = [Job(seed, "pre", experts=tasks) for seed, models in self.context.families.items() if "base" in models]
        found = self._done("similarity", [Task("similarity", job, self._merge_key(job)) for job in jobs])
        return {task.job.seed: json.loads(files["similarity.json"]) for task, files in found.items()}

    def coefficients(self, jobs: Iterable[Job]) -> dict[Job, Lam]:
        """MetaGPT's λ of each expert of every job, whose method says of which vectors (`lata.merging.metagpt`)."""
        wanted = [Task("coefficients", job, self._merge_key(job)) for job in dict.fromkeys(jobs)]
        found = self._done("coefficients", wanted)
        return {
            task.job: tuple(sorted(json.loads(files["coefficients.json"]).items())) for task, files in found.items()
        }

    def close(self) -> None:
        """End the worker processes; what they have not begun is dropped."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None

    def _evaluation_key(self, job: Job, settings: str, digest: str) -> str:
        """Key of everything that decides the answers of weights: config and tokenizer are those of θ_pre."""
        more = self._vocabulary(job.seed)
        return evaluation_key(digest, self.reads[job.seed], self.fingerprints[settings], **more)

    def _vocabulary(self, seed: int) -> dict[str, str]:
        """What decides beside the rest where vocabularies may differ: rows that a model lacks are those of θ_pre."""
        vocab = self.context.vocab
        return {} if vocab == "error" else {"vocab": vocab, "rows": self.digests[seed]["pre"]}

    def _merge_key(self, job: Job) -> str:
        """Key of everything that decides a job's weights."""
        digests = self.digests[job.seed]
        # Nothing is written here, so `lata.output` decides nothing; a method counts for its own merges.
        modules = ["experiments.steps.merging", *(get(job.method).modules if job.method else [])]
        return key_of(
            code=code_version(*modules, packages=("experiments.steps", "lata"), without=("lata.output",)),
            versions={name: metadata.version(name) for name in ("torch", "numpy")},
            start=digests[job.start],
            pre=digests["pre"],
            base=digests.get("base"),
            experts={name: digests[name] for name in job.experts},
            method=job.method,
            parameters=dict(job.parameters),
            seed=job.seed if job.method and get(job.method).random else None,
            lam=job.lam,
            blocks=self.context.blocks,
            **self._vocabulary(job.seed),
        )

    def _done(self, step: str, tasks: Sequence[Task]) -> dict[Task, Files]:
        """The store's entries, after doing what is missing or waiting for the process that is at it."""
        found = {task: self.store.get(step, task.key) for task in tasks}
        waiting = [task for task, files in found.items() if files is None]
        with tqdm(desc=step, total=len(waiting), unit="model", disable=None if waiting else True) as bar:
            while waiting:
                taken = []
                for task, outcome in self._submitted(waiting):
                    if outcome is Outcome.taken:
                        taken.append(task)
                        continue
                    self.computed[step] += outcome is Outcome.done
                    bar.update()
                waiting = self._left_over(taken, bar)
        return {task: files or self._read(step, task) for task, files in found.items()}

    def _submitted(self, tasks: Sequence[Task]) -> Iterable[tuple[Task, Outcome]]:
        pool = self._started_pool()
        futures: dict[Future[Outcome], Task] = {pool.submit(worker.run, task): task for task in tasks}
        for future in as_completed(futures):
            yield futures[future], future.result()

    def _left_over(self, taken: Sequence[Task], bar: Any) -> list[Task]:
        """Wait for the tasks that other processes have; returns those of them that nobody has any longer."""
        waiting = list(taken)
        while waiting:
            finished = [task for task in waiting if self.store.get(task.step, task.key) is not None]
            bar.update(len(finished))
            waiting = [task for task in waiting if task not in finished]
            abandoned = [task for task in waiting if not self._claims.alive(task.step, task.key)]
            if abandoned:
                return waiting
            if waiting:
                time.sleep(PATIENCE)
        return []

    def _read(self, step: str, task: Task) -> Files:
        files = self.store.get(step, task.key)
        if files is None:
            raise ValueError(
                f"the {step} step {task.key[:16]} vanished from the cache while it was read; run the command again"
            )
        return files

    def _started_pool(self) -> ProcessPoolExecutor:
        if self._pool is None:
            # Set before the processes start: math libraries read it once, when they are loaded.
            os.environ["OMP_NUM_THREADS"] = str(self.context.shared.threads)
            context = get_context("spawn")
            devices = None
            if len(self._gpus) > 1:
                devices = context.SimpleQueue()
                for place in range(self.workers):
                    devices.put(self._gpus[place % len(self._gpus)])
            self._pool = ProcessPoolExecutor(
                self.workers, mp_context=context, initializer=worker.start, initargs=(self.context, devices)
            )
        return self._pool


def _groups(devices: Sequence[str], settings: EvalSettings) -> list[str]:
    """The GPUs of each model, as ``CUDA_VISIBLE_DEVICES`` takes them; those that make no whole group stay idle."""
    size = len(devices) if settings.device_map is not None else settings.tensor_parallel
    if not devices:
        return []
    return [",".join(devices[start : start + size]) for start in range(0, len(devices) - size + 1, size)]
