"""The cached steps of a study, done by worker processes: merge, evaluate, measure similarity.

Merging names weights by a digest; an evaluation is keyed by that digest and by everything else that decides the
answers, so equal weights are evaluated once, whatever method made them. Processes are started when the first step
is missing from the store; a study whose steps are all there starts none and imports no torch.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from multiprocessing import get_context
from typing import Any

from tqdm import tqdm

from eval.harness import task_fingerprint
from experiments import worker
from experiments.provenance import cores
from experiments.store import Store, code_version, key_of
from experiments.worker import Context, Job
from lata.checkpoint import digest_folder
from lata.methods import get

#: More processes than this gain little on a family that fits a laptop, and each needs memory of its own.
MOST_WORKERS = 8

Digests = Mapping[int, Mapping[str, str]]


@dataclass(frozen=True)
class Weights:
    """A job's weights, by what is known of them without having them.

    Attributes:
        digest: sha256 of the weights.
        distance: ‖weights − start‖₂; for a model as it is, the distance to θ_pre.
        finite: whether every value is.
    """

    digest: str
    distance: float
    finite: bool


class Steps:
    """The steps of one study.

    Args:
        context: families, evaluation settings and store.
        workers: number of processes; None for one a core (one in all on a GPU).
    """

    def __init__(self, context: Context, workers: int | None = None) -> None:
        self.context = context
        self.store = Store(context.store)
        on_gpu = context.settings.device != "cpu"
        self.workers = workers or (1 if on_gpu else min(cores(), MOST_WORKERS))
        self._pool: ProcessPoolExecutor | None = None

    @cached_property
    def digests(self) -> Digests:
        """Digest of every model of every family."""
        return {
            seed: {name: digest_folder(folder) for name, folder in folders.items()}
            for seed, folders in self.context.families.items()
        }

    @cached_property
    def fingerprint(self) -> str:
        """What decides an evaluation's answers besides the weights."""
        return task_fingerprint(self.context.settings)

    def merge(self, jobs: Iterable[Job]) -> dict[Job, Weights]:
        """Make every job's weights once and say what they are."""
        found = self._done("merge", {job: self._merge_key(job) for job in jobs})
        return {job: Weights(**json.loads(files["weights.json"])) for job, files in found.items()}

    def evaluate(self, weights: Mapping[Job, Weights]) -> dict[str, dict[str, bytes]]:
        """Evaluate each distinct set of finite weights once.

        Returns:
            Weights digest → the evaluation's files: ``items.parquet``, ``scores.json``, ``answers.jsonl``.
        """
        first: dict[str, Job] = {}
        for job, facts in weights.items():
            if facts.finite:
                first.setdefault(facts.digest, job)
        keys = {
            job: key_of(step="evaluation", weights=digest, fingerprint=self.fingerprint)
            for digest, job in first.items()
        }
        found = self._done("evaluation", keys)
        for digest, job in first.items():
            assert json.loads(found[job]["scores.json"])["weights_digest"] == digest, f"{job} is not what it was"
        return {digest: found[job] for digest, job in first.items()}

    def similarities(self, tasks: tuple[str, ...]) -> dict[int, dict[str, Any]]:
        """For each seed the similarity of every block and task (see `worker.similarity`)."""
        jobs = {Job(seed, "pre", experts=tasks): seed for seed in self.context.families}
        found = self._done("similarity", {job: self._merge_key(job) for job in jobs})
        return {jobs[job]: json.loads(files["similarity.json"]) for job, files in found.items()}

    def close(self) -> None:
        """End the worker processes; what they have not begun is dropped."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None

    def _merge_key(self, job: Job) -> str:
        """Key of everything that decides a job's weights."""
        digests = self.digests[job.seed]
        return key_of(
            code=code_version("lata"),
            torch=metadata.version("torch"),
            start=digests[job.start],
            pre=digests["pre"],
            base=digests["base"],
            experts={name: digests[name] for name in job.experts},
            method=job.method,
            parameters=dict(job.parameters),
            seed=job.seed if job.method and get(job.method).random else None,
            lam=job.lam,
        )

    def _done(self, step: str, keys: Mapping[Job, str]) -> dict[Job, dict[str, bytes]]:
        """The store's entries of `step`, after running what is missing."""
        found = {job: self.store.get(step, key) for job, key in keys.items()}
        missing = [job for job, files in found.items() if files is None]
        if missing:
            pool = self._started_pool()
            futures = {pool.submit(worker.run, step, job, keys[job]): job for job in missing}
            for future in tqdm(as_completed(futures), desc=step, total=len(missing), unit="model", disable=None):
                future.result()
                job = futures[future]
                found[job] = self.store.get(step, keys[job])
        return {job: files for job, files in found.items() if files is not None}

    def _started_pool(self) -> ProcessPoolExecutor:
        if self._pool is None:
            # Set before the processes start: math libraries read it once, when they are loaded.
            os.environ["OMP_NUM_THREADS"] = str(self.context.settings.threads)
            self._pool = ProcessPoolExecutor(
                self.workers, mp_context=get_context("spawn"), initializer=worker.start, initargs=(self.context,)
            )
        return self._pool
