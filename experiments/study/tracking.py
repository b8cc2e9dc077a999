"""A finished study or sweep in Weights & Biases: one run each, offline unless WANDB_MODE says otherwise.

Everything is on the disk before this is called, and a failure here costs a warning, never a result. The run's id
comes from the study's key, so a repeated study resumes its run; offline, where nothing can be resumed, a study whose
results have not changed is not logged again. A sweep logs one step a λ, so that W&B's own charts draw its curves; one
that an agent of W&B started goes into the run that the agent made (``conf/wandb_sweep.yaml``).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from eval.schema import PRIMARY
from experiments.config.study import StudyPlan
from experiments.steps.store import write_atomic
from lata.names import for_file
from results.study.run import rows_of
from results.study.sweep import lambdas_of

if TYPE_CHECKING:
    from results.study.sweep import Sweep
    from results.summaries.study import Study, Summary

_MARK = "logged.json"
_METRIC = ["task", "metric", "filter"]


def log(plan: StudyPlan, study: Study | Sweep, summary: Summary, record: dict[str, Any]) -> None:
    """Log a study that is already in ``plan.out``.

    Args:
        plan: the study's plan.
        study: its frames.
        summary: what was written, with the table of claims.
        record: the content of ``provenance.json``.
    """
    _guarded(plan, record, lambda run: _log_results(run, plan, study, summary, record))


def log_sweep(plan: StudyPlan, sweep: Sweep, summary: Summary, record: dict[str, Any]) -> None:
    """Log a sweep that is already in ``plan.out``: as `log`, after one step for each λ.

    Args:
        plan: the sweep's plan.
        sweep: its frames.
        summary: what was written.
        record: the content of ``provenance.json``, with ``objective``.
    """

    def log_all(run: Any) -> None:
        for step, values in enumerate(steps_of(summary.scores)):
            if "lambda" in values:
                for name in values.keys() - {"lambda"}:
                    run.define_metric(name, step_metric="lambda")
            run.log(values, step=step)
        run.summary["objective"] = record["objective"]
        _log_results(run, plan, sweep, summary, record)

    _guarded(plan, record, log_all)


def steps_of(scores: pd.DataFrame) -> list[dict[str, float]]:
    """What a sweep logs: for each λ ``lambda`` and ``merge/method/task`` → mean over the seeds that are stable there.

    Args:
        scores: the score table of a sweep. Points that have one λ a task have ``lambda/task`` instead.
    """
    main = pd.Series(
        [PRIMARY.get(task) == (metric, filter_) for task, metric, filter_ in scores[_METRIC].itertuples(index=False)],
        index=scores.index,
    )
    rows = scores[main & (scores["split"] == "test") & (scores["kind"] != "model") & ~scores["unstable"].astype(bool)]
    means = rows.groupby(["point", "merge", "label", "task"], sort=False)["value"].mean().reset_index()
    found: dict[str, dict[str, float]] = {}
    for row in rows_of(means):
        found.setdefault(row.point, _lambdas(row.point))[f"{row.merge}/{row.label}/{row.task}"] = float(row.value)
    return [found[point] for point in sorted(found, key=lambda point: list(_lambdas(point).values()))]


def _lambdas(point: str) -> dict[str, float]:
    return {f"lambda/{task}" if task else "lambda": value for task, value in lambdas_of(point).items()}


def _guarded(plan: StudyPlan, record: dict[str, Any], fill: Callable[[Any], None]) -> None:
    """Fill the study's run, once; a failure is a warning."""
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
            _with_run(plan, record, run_id, mode, fill)
        write_atomic(folder / _MARK, json.dumps(mark).encode())
    except Exception as error:
        # Whatever goes wrong between here and a server, the results are written already.
        print(f"warning: not logged to Weights & Biases: {error or type(error).__name__}", file=sys.stderr)


def _with_run(plan: StudyPlan, record: dict[str, Any], run_id: str, mode: str, fill: Callable[[Any], None]) -> None:
    import wandb

    config = plan.config
    # An agent has named the run already.
    named: dict[str, Any] = {} if "WANDB_SWEEP_ID" in os.environ else {"id": run_id, "resume": "allow"}
    run = wandb.init(
        project=config.logger.project,
        entity=config.logger.entity,
        name=f"{wandb_name(plan)}-{run_id[:6]}",
        **named,
        mode=mode,  # type: ignore[arg-type]
        dir=str(plan.out),
        config=record["config"],
        settings=wandb.Settings(
            silent=True, console="off", x_disable_stats=True, x_disable_meta=True, disable_git=True, init_timeout=60
        ),
    )
    try:
        fill(run)
    finally:
        run.finish()


def _log_results(run: Any, plan: StudyPlan, study: Study | Sweep, summary: Summary, record: dict[str, Any]) -> None:
    import wandb

    tables = {
        "scores": summary.scores,
        "similarity": study.similarity,
        "claims": summary.claims,
        **optional_tables(study),
    }
    run.log({name: wandb.Table(dataframe=_printable(frame)) for name, frame in tables.items()})
    figures = sorted((plan.out / "figures").glob("*.png"))
    run.log({f"figures/{figure.stem}": wandb.Image(str(figure)) for figure in figures})
    artifact = wandb.Artifact(wandb_name(plan), type="results")
    for name in record["files"]:
        artifact.add_file(str(plan.out / name), name=name)
    run.log_artifact(artifact)


def wandb_name(plan: StudyPlan) -> str:
    """The study's name in the letters that W&B takes, of which a name may have 128."""
    return for_file(re.sub(r"[^\w.-]", "_", f"{plan.config.name}-{plan.config.family.name}", flags=re.ASCII), 121)


def optional_tables(study: Study | Sweep) -> dict[str, pd.DataFrame]:
    """Tables that not every study has: similarities of several granularities, and a sweep's choices by every way."""
    found = {"granular": study.granular}
    choices = [frame for name in ("choices", "others") if len(frame := getattr(study, name, ()))]
    if choices:
        found["choices"] = pd.concat(choices, ignore_index=True)
    return {name: frame for name, frame in found.items() if len(frame)}


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
