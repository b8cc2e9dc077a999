"""The cached steps of a study, done by worker processes: merge, evaluate, measure similarity.

Merging names weights by a digest; an evaluation is keyed by that digest and by everything else that decides the
answers, so equal weights are evaluated once, whatever method made them. Processes are started when the first step
is missing from the store; a study whose steps are all there starts none and imports no torch.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import metadata
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from tqdm import tqdm

from eval.harness import task_fingerprint
from experiments import worker
from experiments.provenance import cores
from experiments.store import Store, code_version, key_of
from experiments.worker import Context, Job
from lata.methods import get

#: More processes than this gain little on a family that fits a laptop, and each needs memory of its own.
MOST_WORKERS = 8

#: The worker's own code decides results as well.
_CODE = hashlib.sha256(Path(worker.__file__).read_bytes()).hexdigest()

Digests = Mapping[int, Mapping[str, str]]


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
        #: Step → how many of its jobs this run did itself; the rest came from the store.
        self.computed = {"merge": 0, "evaluation": 0, "similarity": 0}

    @cached_property
    def digests(self) -> Digests:
        """Digest of every model of every family."""
        from lata.checkpoints import open_checkpoint
        from lata.checkpoints.digests import digest

        found: dict[int, dict[str, str]] = {}
        for seed, folders in self.context.families.items():
            found[seed] = {}
            for name, folder in folders.items():
                with open_checkpoint(folder) as checkpoint:
                    found[seed][name] = digest(checkpoint)
        return found

    @cached_property
    def reads(self) -> dict[int, str]:
        """For each seed a digest of what an evaluation reads beside weights: configuration and tokenizer of θ_pre."""
        return {seed: _digest_of_settings(folders["pre"]) for seed, folders in self.context.families.items()}

    @cached_property
    def fingerprint(self) -> str:
        """What decides an evaluation's answers besides the weights."""
        return task_fingerprint(self.context.settings)

    def merge(self, jobs: Iterable[Job]) -> dict[Job, Weights]:
        """Make every job's weights once and say what they are."""
        found = self._done("merge", {job: self._merge_key(job) for job in jobs})
        return {job: Weights(**json.loads(files["weights.json"])) for job, files in found.items()}

    def evaluate(self, weights: Mapping[Job, Weights]) -> dict[Job, dict[str, bytes]]:
        """Evaluate every job whose weights are finite; equal weights are evaluated once.

        Returns:
            Job → the evaluation's files: ``items.parquet``, ``scores.json``, ``answers.jsonl``.
        """
        keys = {job: self._evaluation_key(job, facts.digest) for job, facts in weights.items() if facts.finite}
        first = {key: job for job, key in reversed(keys.items())}
        digests = {job: weights[job].digest for job in first.values()}
        found = self._done("evaluation", {job: key for key, job in reversed(first.items())}, digests)
        return {job: found[first[key]] for job, key in keys.items()}

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

    def repeat(self, weights: Mapping[Job, Weights]) -> dict[Job, dict[str, bytes]]:
        """Evaluate jobs again with half the batch size, as `evaluate`; nothing where it is 1."""
        half = self.context.settings.batch_size // 2
        if not half:
            return {}
        found = self.evaluate({replace(job, batch_size=half): facts for job, facts in weights.items()})
        return {replace(job, batch_size=0): files for job, files in found.items()}

    def _evaluation_key(self, job: Job, digest: str) -> str:
        """Key of everything that decides the answers of weights: config and tokenizer are those of θ_pre."""
        settings = self.context.settings
        fingerprint = (
            task_fingerprint(replace(settings, batch_size=job.batch_size)) if job.batch_size else self.fingerprint
        )
        return key_of(
            step="evaluation", code=_CODE, weights=digest, fingerprint=fingerprint, reads=self.reads[job.seed]
        )

    def _merge_key(self, job: Job) -> str:
        """Key of everything that decides a job's weights."""
        digests = self.digests[job.seed]
        return key_of(
            code=[_CODE, code_version("lata")],
            versions={name: metadata.version(name) for name in ("torch", "numpy")},
            start=digests[job.start],
            pre=digests["pre"],
            base=digests["base"],
            experts={name: digests[name] for name in job.experts},
            method=job.method,
            parameters=dict(job.parameters),
            seed=job.seed if job.method and get(job.method).random else None,
            lam=job.lam,
        )

    def _done(
        self, step: str, keys: Mapping[Job, str], digests: Mapping[Job, str] | None = None
    ) -> dict[Job, dict[str, bytes]]:
        """The store's entries of `step`, after running what is missing; see `worker.run` for `digests`."""
        found = {job: self.store.get(step, key) for job, key in keys.items()}
        missing = [job for job, files in found.items() if files is None]
        if missing:
            pool = self._started_pool()
            expected = digests or {}
            futures = {pool.submit(worker.run, step, job, keys[job], expected.get(job)): job for job in missing}
            for future in tqdm(as_completed(futures), desc=step, total=len(missing), unit="model", disable=None):
                future.result()
                job = futures[future]
                found[job] = self.store.get(step, keys[job])
                self.computed[step] += 1
        return {job: _whole(files, step, keys[job]) for job, files in found.items()}

    def _started_pool(self) -> ProcessPoolExecutor:
        if self._pool is None:
            # Set before the processes start: math libraries read it once, when they are loaded.
            os.environ["OMP_NUM_THREADS"] = str(self.context.settings.threads)
            self._pool = ProcessPoolExecutor(
                self.workers, mp_context=get_context("spawn"), initializer=worker.start, initargs=(self.context,)
            )
        return self._pool


def _whole(files: dict[str, bytes] | None, step: str, key: str) -> dict[str, bytes]:
    if files is None:
        raise ValueError(
            f"the {step} step {key[:16]} vanished from the cache while it was read; run the command again"
        )
    return files


def _digest_of_settings(checkpoint: Path) -> str:
    """sha256 over the JSON files of a checkpoint folder: configuration, generation settings, tokenizer."""
    files = sorted(checkpoint.glob("*.json"))
    return key_of(files={file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files})
