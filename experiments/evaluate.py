"""Scores of a causal language model: ``python -m experiments.evaluate model=DIR_OR_ID eval=paper``.

Prints the scores with their intervals and writes ``scores.csv``, ``scores.parquet``, ``items.parquet``,
``answers.jsonl`` and ``provenance.json``. What was scored before, with the same weights, tokenizer, tasks, documents
and settings, comes from the cache. ``--help`` lists the keys.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from dataclasses import asdict, replace
from pathlib import Path

from eval.harness import task_fingerprint
from eval.settings import EvalSettings
from experiments import commands
from experiments.config.cli import Door, run
from experiments.config.evaluate import EvaluateConfig, EvaluatePlan, eval_settings, evaluate_plan, register_schemas
from experiments.mini.family import MiniFamily
from experiments.steps.devices import evaluation_device
from experiments.steps.models import Scored, find
from experiments.steps.scoring import EVALUATION, evaluation_key, score
from experiments.steps.store import Store, check_writable
from experiments.study import provenance

#: Beginnings of words that say where.
_PLACES = ("model=", "tokenizer=", "out=", "cache=", "eval.data_dir=", "eval.judge.cache=")


class Keys:
    """Keys of evaluations of one model: everything that decides its scores.

    Attributes:
        weights: digest of the weights.
    """

    def __init__(self, scored: Scored) -> None:
        self.weights, self._reads = scored.digest, scored.reads
        self._fingerprints: dict[EvalSettings, str] = {}

    def of(self, settings: EvalSettings) -> str:
        """The key of these scores."""
        return evaluation_key(self.weights, self._reads, self.fingerprint(settings))

    def fingerprint(self, settings: EvalSettings) -> str:
        """Of everything but the model, remembered: it can mean to read documents from the hub."""
        if settings not in self._fingerprints:
            self._fingerprints[settings] = task_fingerprint(settings)
        return self._fingerprints[settings]


def evaluate(plan: EvaluatePlan) -> None:
    """Score the model, or find its scores, and say what they are."""
    asked = _settings(plan)
    check_writable("cache", plan.cache, "set LATA_CACHE to another folder")
    watch = provenance.Stopwatch()
    with watch.stage("find model"):
        scored = find(plan.config.model, plan.config.tokenizer)
        keys = Keys(scored)
    store = Store(plan.cache / "store")
    files = store.get(EVALUATION, keys.of(asked))
    computed = files is None
    if files is None:
        # Read once, when a math library is loaded.
        os.environ.setdefault("OMP_NUM_THREADS", str(asked.threads))
        with watch.stage("evaluate"):
            files = score(scored, asked)
        store.put(EVALUATION, keys.of(asked), files)
    used = replace(asked, batch_size=json.loads(files["batch_size.json"]))
    key = keys.of(used)
    if computed and used != asked:  # so that the scores are found by the batch size that was used as well
        store.put(EVALUATION, key, files)

    from experiments.study.score_files import table, write

    out = Path(plan.config.out or f"runs/evaluate/{plan.name}-{key[:8]}").expanduser()
    record = {
        "run_key": key,
        "model": scored.public_name,
        "weights_digest": keys.weights,
        "settings": {name: value for name, value in asdict(used).items() if name not in ("data_dir", "judge")},
        "judge": None if used.judge is None else used.judge.deciding(),
        "evaluation_fingerprint": keys.fingerprint(used),
        **provenance.environment("evaluate"),
        "command": shlex.join(
            ["python", "-m", "experiments.evaluate", f"model={scored.public_name}", *provenance.public_words(_PLACES)]
        ),
        "seconds": watch.seconds,
        "computed": computed,
        "warnings": json.loads(files["warnings.json"]),
    }
    frame = write(out, plan.name, keys.weights, files, record)
    print(table(frame))
    for line in record["warnings"]:
        print(f"warning: {line}", file=sys.stderr)
    print(f"{'scored' if computed else 'found in the cache'}; written to {out}", file=sys.stderr)


def _settings(plan: EvaluatePlan) -> EvalSettings:
    """The evaluation, with the places that depend on this machine."""
    config = plan.config.eval
    device = evaluation_device(config.device, config.backend)
    own = {"data_dir": MiniFamily(cache=plan.cache).data_dir()} if config.reads_family_data else {}
    return eval_settings(config, device=device, judge_cache=plan.cache / "judge", **own)


def main() -> None:
    """The command."""
    run(Door("evaluate", EvaluateConfig, register_schemas, evaluate_plan), evaluate)


if __name__ == "__main__":
    commands.main(["evaluate", *sys.argv[1:]])
