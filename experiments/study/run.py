"""The study: family → merges → scores → results, in this order; its steps are cached (`experiments.steps.queue`)."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eval.harness import EvalSettings
from experiments.config.evaluate import eval_settings
from experiments.config.keys import plain
from experiments.config.methods import MethodChoice
from experiments.config.study import Config, LoggerKind, Mode, StudyPlan
from experiments.steps.devices import evaluation_device
from experiments.steps.jobs import AGAIN, TEST, Context, Entry, Job, Lam
from experiments.steps.queue import Steps, Weights
from experiments.steps.store import check_writable, key_of, write_atomic
from experiments.study import families, provenance
from lata.output.documents.facts import public_source

if TYPE_CHECKING:
    from results.summaries.study import Summary


@dataclass(frozen=True)
class Prepared:
    """A study that is ready to run.

    Attributes:
        steps: its cached steps.
        watch: times of its stages.
    """

    steps: Steps
    watch: provenance.Stopwatch

    def key(self, plan: StudyPlan) -> str:
        """Hash of everything that decides the study."""
        return key_of(
            config=_without(plan.config, _NOT_DECIDING),
            families=self.steps.digests,
            fingerprints=self._fingerprints(plan),
        )

    def _fingerprints(self, plan: StudyPlan) -> dict[str, str]:
        """Of the evaluations; a study of layers has none, and reads no documents."""
        return {} if plan.config.mode is Mode.layers else self.steps.fingerprints

    def record(self, plan: StudyPlan, run_key: str, rows: Mapping[Entry, Weights]) -> dict[str, Any]:
        """What ``provenance.json`` says."""
        return {
            "run_key": run_key,
            "config": _without(plan.config, _PLACES),
            **provenance.environment(plan.door),
            "seeds": plan.seeds,
            "family_digests": self.steps.digests,
            "evaluation_fingerprints": self._fingerprints(plan),
            # Seconds are of this run; what it found in the cache took none of them.
            "seconds": self.watch.seconds,
            "computed": dict(self.steps.computed),
            "workers": self.steps.workers,
            "device": self.steps.context.shared.device,
            "rows": [{**asdict(entry), "point": entry.point, **asdict(facts)} for entry, facts in rows.items()],
        }


def run(plan: StudyPlan) -> Summary | None:
    """Run a study and write its results to ``plan.out``; None where it is one of several processes and writes none.

    Raises:
        ValueError: something is wrong with the configuration, the cache or the output folder.
    """
    with prepared(plan) as study:
        steps, watch = study.steps, study.watch
        entries = list(entries_of(plan))
        with watch.stage("merge"):
            weights = steps.merge(entry.job for entry in entries)
        with watch.stage("evaluate"):
            wanted = [(entry.job, TEST) for entry in entries] + again(plan, entries, steps)
            evaluations = steps.evaluate(wanted, weights)
        with watch.stage("similarity"):
            similarities = steps.similarities(tuple(sorted(plan.experts)))
    if plan.several:
        return None

    from experiments.study.frames import make_study
    from results.summaries.study import summarise

    run_key = study.key(plan)
    with watch.stage("tables, figures, report"):
        frames = make_study(plan, entries, weights, evaluations, similarities, run_key)
        summary = summarise(frames, plan.out)
    record = study.record(plan, run_key, {entry: weights[entry.job] for entry in entries})
    publish(plan.out, record, summary.files)
    if plan.config.logger.kind is LoggerKind.wandb:
        from experiments.study import tracking

        tracking.log(plan, frames, summary, record)
    return summary


@contextlib.contextmanager
def prepared(plan: StudyPlan, more: Mapping[str, dict[str, Any]] | None = None) -> Iterator[Prepared]:
    """Train or find the families and open the steps; they are closed at the end.

    Args:
        plan: the study.
        more: further evaluations: name → settings that differ from the test's.
    """
    watch = provenance.Stopwatch()
    if not plan.several:
        check_writable("out", plan.out, "choose another folder with out=…")
    test = _settings(plan)
    settings = {TEST: test, **{name: replace(test, **changes) for name, changes in (more or {}).items()}}
    if test.batch_size > 1:
        settings[AGAIN] = replace(test, batch_size=test.batch_size // 2)
    with watch.stage("find or train models"):
        sources = families.ensure(plan)
    store, config = plan.cache / "store", plan.config
    steps = Steps(Context(sources, settings, store, config.family.blocks, config.vocab.value), config.workers)
    try:
        if plan.config.mode is not Mode.layers:
            _ = steps.fingerprints  # documents that are missing are told before anything is merged
        yield Prepared(steps, watch)
    finally:
        steps.close()
        # Matrices of the results are small: a math library's idle threads would only spin. Read when numpy is loaded.
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


#: Keys of the configuration that say where; what is published need not tell the names of somebody's folders.
_PLACES = ("out", "cache")

#: Keys of the configuration that say where and how fast, not what.
_NOT_DECIDING = (*_PLACES, "logger", "workers", "process")


def _without(config: Config, keys: tuple[str, ...]) -> dict[str, Any]:
    """The configuration without some of its keys, and without the names of folders that are read."""
    said = plain(config)
    del said["eval"]["data_dir"], said["eval"]["judge"]["cache"]
    for model in said["family"]["models"].values():
        model["source"] = public_source(model["source"])
    return {key: value for key, value in said.items() if key not in keys}


def entries_of(plan: StudyPlan, points: Mapping[str, Sequence[Lam]] | None = None) -> Iterator[Entry]:
    """All rows of a study, in the order of the tables; a study of layers has none.

    Args:
        plan: the study.
        points: name of a combination → its λ; None is the study's own for all.
    """
    if plan.config.mode is Mode.layers:
        return
    for seed in plan.seeds:
        yield from models(seed, plan.models)
        for label, combination in plan.combinations.items():
            for choice in plan.methods_of(combination):
                for lam in points[label] if points is not None else (plan.config.lam,):
                    yield merge_entry(combination.kind, label, choice, combination.job(seed, lam))


def models(seed: int, names: Sequence[str]) -> Iterator[Entry]:
    """Rows of models as they are."""
    for name in names:
        yield Entry("model", "", name, "", "", Job(seed, start=name))


def merge_entry(kind: str, merge: str, choice: MethodChoice, job: Job) -> Entry:
    """The row of a merge; `job` lacks nothing but the method."""
    method = choice.method
    variant = choice.parameters.get("variant", "control" if method.control else "default")
    parameters = tuple(sorted(choice.parameters.items()))
    return Entry(
        kind, merge, choice.label, variant, choice.changed, replace(job, method=method.name, parameters=parameters)
    )


def again(plan: StudyPlan, entries: Sequence[Entry], steps: Steps) -> list[tuple[Job, str]]:
    """What is evaluated twice to see how much scores move by themselves: θ_pre and one merge of every seed."""
    if AGAIN not in steps.context.settings:
        return []
    merged = next((entry for entry in entries if entry.kind != "model" and entry.label == plan.baseline), None)
    wanted = {
        ("model", "", "pre", ""),
        *([(merged.kind, merged.merge, merged.label, merged.point)] if merged else []),
    }
    return [(e.job, AGAIN) for e in entries if (e.kind, e.merge, e.label, e.point) in wanted]


def _settings(plan: StudyPlan) -> EvalSettings:
    config = plan.config.eval
    device = evaluation_device(config.device, config.backend)
    own = {"data_dir": families.evaluation_data(plan)} if config.reads_family_data else {}
    return eval_settings(config, device=device, judge_cache=plan.cache / "judge", **own)


def publish(out: Path, record: dict[str, Any], files: Sequence[Path]) -> None:
    """Write ``provenance.json`` with a digest of every file, and remove files of an earlier run that are no more."""
    target = out / "provenance.json"
    kept = {file.relative_to(out).as_posix() for file in files}
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        for name in json.loads(target.read_text(encoding="utf-8"))["files"].keys() - kept:
            if (out / name).resolve().is_relative_to(out.resolve()):
                (out / name).unlink(missing_ok=True)
    record["files"] = provenance.file_digests(out, list(files))
    write_atomic(target, (json.dumps(record, indent=1, ensure_ascii=False, default=str) + "\n").encode())
