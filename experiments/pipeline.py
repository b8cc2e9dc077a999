"""The study: family → merges → scores → results. The steps are cached (`experiments.steps`); this is their order."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eval.harness import EvalSettings
from experiments import provenance
from experiments.config import Config, LoggerKind, MethodChoice, StudyPlan, eval_settings, mini_family, plain
from experiments.mini.family import MiniFamily, find_device
from experiments.steps import Steps
from experiments.store import check_writable, key_of, write_atomic
from experiments.worker import Context, Job

if TYPE_CHECKING:
    from results.study import Summary


@dataclass(frozen=True)
class Entry:
    """One row of the study's tables: how it is named, and the job that makes it.

    Attributes:
        kind: ``model``, ``learn`` or ``forget``.
        merge: ``ua+math``, or ``target_ua-ua`` for forgetting; empty for a model as it is.
        label: the row's name: the model, or the method.
        variant: of the method.
        params: parameters that differ from the method's defaults.
        job: what makes the weights.
    """

    kind: str
    merge: str
    label: str
    variant: str
    params: str
    job: Job


def run(plan: StudyPlan) -> Summary:
    """Run a study and write its results to ``plan.out``.

    Raises:
        ValueError: something is wrong with the configuration, the cache or the output folder.
    """
    watch = provenance.Stopwatch()
    check_writable("out", plan.out, "choose another folder with out=…")
    families = {seed: mini_family(plan.config, plan.cache, seed) for seed in plan.seeds}
    settings = _settings(plan, next(iter(families.values())))
    with watch.stage("train family"):
        folders = {seed: family.ensure() for seed, family in families.items()}
    steps = Steps(Context(folders, settings, plan.cache / "store"), plan.config.workers)
    entries = list(_entries(plan))
    try:
        with watch.stage("merge"):
            weights = steps.merge(entry.job for entry in entries)
        with watch.stage("evaluate"):
            evaluations = steps.evaluate(weights)
        with watch.stage("evaluate again"):
            repeats = steps.repeat({job: weights[job] for job in _repeated(plan, entries)})
        with watch.stage("similarity"):
            similarities = steps.similarities(tuple(plan.config.family.experts))
    finally:
        steps.close()

    # Matrices here are small: a math library's idle threads would only spin. Read once, when numpy is loaded.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from experiments.frames import make_study
    from results.study import summarise

    run_key = key_of(
        config=_without(plan.config, _NOT_DECIDING),
        families=steps.digests,
        fingerprint=steps.fingerprint,
    )
    with watch.stage("tables, figures, report"):
        study = make_study(plan, entries, weights, evaluations, repeats, similarities, run_key)
        summary = summarise(study, plan.out)
    record = {
        "run_key": run_key,
        "config": _without(plan.config, _PLACES),
        **provenance.environment(),
        "seeds": plan.seeds,
        "family_digests": steps.digests,
        "evaluation_fingerprint": steps.fingerprint,
        # Seconds are of this run; what it found in the cache took none of them.
        "seconds": watch.seconds,
        "computed": steps.computed,
        "workers": steps.workers,
        "device": settings.device,
        "rows": [{**asdict(entry), **asdict(weights[entry.job])} for entry in entries],
    }
    _write_record(plan.out, record, summary.files)
    if plan.config.logger.kind is LoggerKind.wandb:
        from experiments import tracking

        tracking.log(plan, study, summary, record)
    return summary


#: Keys of the configuration that say where; what is published need not tell the names of somebody's folders.
_PLACES = ("out", "cache")

#: Keys of the configuration that say where and how fast, not what.
_NOT_DECIDING = (*_PLACES, "logger", "workers")


def _without(config: Config, keys: tuple[str, ...]) -> dict[str, Any]:
    """The configuration without some of its keys, and without the folders that an evaluation reads."""
    said = plain(config)
    del said["eval"]["data_dir"], said["eval"]["judge"]["cache"]
    return {key: value for key, value in said.items() if key not in keys}


def _entries(plan: StudyPlan) -> Iterator[Entry]:
    """All rows of a study, in the order of the tables."""
    config = plan.config
    targets = dict.fromkeys(job.target for job in config.forget)
    for seed in plan.seeds:
        for name in ("base", "pre", *config.family.experts, *targets):
            yield Entry("model", "", name, "", "", Job(seed, start=name))
        for label, experts in plan.merges.items():
            for choice in plan.methods:
                yield _merge_entry(
                    "learn", label, choice, Job(seed, "pre", experts=tuple(sorted(experts)), lam=config.lam)
                )
        for forget in config.forget:
            for choice in plan.forget_methods:
                job = Job(seed, forget.target, experts=(forget.forget,), lam=-config.lam)
                yield _merge_entry("forget", f"{forget.target}-{forget.forget}", choice, job)


def _repeated(plan: StudyPlan, entries: Sequence[Entry]) -> list[Job]:
    """What is evaluated twice to see how much scores move by themselves: θ_pre and one merge of every seed."""
    merged = next((entry for entry in entries if entry.kind == "learn" and entry.label == plan.config.baseline), None)
    wanted = {("model", "", "pre"), *([(merged.kind, merged.merge, merged.label)] if merged else [])}
    return [entry.job for entry in entries if (entry.kind, entry.merge, entry.label) in wanted]


def _merge_entry(kind: str, merge: str, choice: MethodChoice, job: Job) -> Entry:
    method = choice.method
    variant = choice.parameters.get("variant", "control" if method.control else "default")
    parameters = tuple(sorted(choice.parameters.items()))
    return Entry(
        kind, merge, choice.label, variant, choice.changed, replace(job, method=method.name, parameters=parameters)
    )


def _settings(plan: StudyPlan, family: MiniFamily) -> EvalSettings:
    config = plan.config.eval
    device = find_device(config.device)
    if device == "cuda" and find_device("auto") != "cuda":
        raise ValueError("eval.device=cuda: there is no GPU that this PyTorch can use; choose eval.device=auto")
    own = {"data_dir": family.data_dir()} if config.reads_family_data else {}
    return eval_settings(config, device=device, judge_cache=plan.cache / "judge", **own)


def _write_record(out: Path, record: dict[str, Any], files: Sequence[Path]) -> None:
    """Write ``provenance.json`` with a digest of every file, and remove files of an earlier run that are no more."""
    target = out / "provenance.json"
    kept = {file.relative_to(out).as_posix() for file in files}
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        for name in json.loads(target.read_text(encoding="utf-8"))["files"].keys() - kept:
            if (out / name).resolve().is_relative_to(out.resolve()):
                (out / name).unlink(missing_ok=True)
    record["files"] = provenance.file_digests(out, list(files))
    write_atomic(target, (json.dumps(record, indent=1, ensure_ascii=False, default=str) + "\n").encode())
