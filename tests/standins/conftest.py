"""Fixtures of the runs on stand-ins: one workshop a session, and workers that start quickly."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import pytest
from standin_runs import Workshop

os.environ["HF_HUB_OFFLINE"] = os.environ["HF_DATASETS_OFFLINE"] = "1"

ROOT = Path(__file__).resolve().parent.parent.parent

#: What a worker imports first; the server of forks does so once for all of them.
PRELOADED = ["torch", "transformers", "lm_eval.models.huggingface", "datasets", "experiments.steps.worker", "lata"]


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """Stand-ins and documents that all tests of the session share."""
    return Workshop(tmp_path_factory.mktemp("standins"))


@pytest.fixture(autouse=True)
def quick_workers(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Worker processes are forks of one that has imported what they need: otherwise every run would wait for that.

    The commands set some variables of the environment; they are put back.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    monkeypatch.setattr("experiments.steps.queue.get_context", lambda _: context)
    said = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "HYDRA_FULL_ERROR": "0"}
    said |= {"LATA_CACHE": str(workshop.root / "cache"), "PYTHONPATH": str(ROOT)}
    for name, value in said.items():
        monkeypatch.setenv(name, value)
