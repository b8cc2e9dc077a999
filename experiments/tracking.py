"""A finished study in Weights & Biases: one run a study, offline unless WANDB_MODE says otherwise.

Everything is on the disk before this is called, and a failure here costs a warning, never a result. The run's id
comes from the study's key, so a repeated study resumes its run; offline, where nothing can be resumed, a study whose
results have not changed is not logged again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from experiments.config import StudyPlan
from experiments.store import write_atomic

if TYPE_CHECKING:
    from results.study import Study, Summary

_MARK = "logged.json"


def log(plan: StudyPlan, study: Study, summary: Summary, record: dict[str, Any]) -> None:
    """Log a study that is already in ``plan.out``.

    Args:
        plan: the study's plan.
        study: its frames.
        summary: what was written, with the table of claims.
        record: the content of ``provenance.json``.
    """
    folder = plan.out / "wandb"
    run_id = record["run_key"][:16]
    content = hashlib.sha256(json.dumps(record["files"], sort_keys=True).encode()).hexdigest()
    mode = os.environ.get("WANDB_MODE", "offline")
    mark = {"run_id": run_id, "content": content, "mode": mode}
    with contextlib.suppress(OSError, ValueError):
        if json.loads((folder / _MARK).read_text(encoding="utf-8")) == mark:
            return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _kept_in(folder):
            _log(plan, study, summary, record, run_id, mode)
        write_atomic(folder / _MARK, json.dumps(mark).encode())
    except Exception as error:
        # Whatever goes wrong between here and a server, the results are written already.
        print(f"warning: not logged to Weights & Biases: {error or type(error).__name__}", file=sys.stderr)


def _log(plan: StudyPlan, study: Study, summary: Summary, record: dict[str, Any], run_id: str, mode: str) -> None:
    import wandb

    config = plan.config
    run = wandb.init(
        project=config.logger.project,
        entity=config.logger.entity,
        id=run_id,
        name=f"{config.name}-{config.family.name}-{run_id[:6]}",
        resume="allow",
        mode=mode,  # type: ignore[arg-type]
        dir=str(plan.out),
        config=record["config"],
        settings=wandb.Settings(
            silent=True, console="off", x_disable_stats=True, x_disable_meta=True, disable_git=True, init_timeout=60
        ),
    )
    try:
        tables = {"scores": summary.scores, "similarity": study.similarity, "claims": summary.claims}
        run.log({name: wandb.Table(dataframe=_printable(frame)) for name, frame in tables.items()})
        figures = sorted((plan.out / "figures").glob("*.png"))
        run.log({f"figures/{figure.stem}": wandb.Image(str(figure)) for figure in figures})
        artifact = wandb.Artifact(f"{config.name}-{config.family.name}", type="results")
        for name in record["files"]:
            artifact.add_file(str(plan.out / name), name=name)
        run.log_artifact(artifact)
    finally:
        run.finish()


def _printable(frame: pd.DataFrame) -> pd.DataFrame:
    """W&B tables take plain columns: lists and the like become text."""
    plain = frame.copy()
    for column in plain.columns:
        if plain[column].dtype == object:
            plain[column] = plain[column].map(lambda value: value if isinstance(value, (str, bool)) else str(value))
    return plain


@contextlib.contextmanager
def _kept_in(folder: Path) -> Iterator[None]:
    """Keep W&B's staging and cache beside the run instead of in the home folder, for this block."""
    wanted = {"WANDB_DATA_DIR": folder / "data", "WANDB_CACHE_DIR": folder / "cache"}
    added = [name for name in wanted if name not in os.environ]
    os.environ.update({name: str(wanted[name]) for name in added})
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]
