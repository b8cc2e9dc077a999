"""What a study would take: ``python -m experiments.plan [experiment=…] [key=value …] [plan.gpu=…]``.

Says, before anything is downloaded or run: models with licence and gating, bytes, memory of each stage, merges and
evaluations, tokens, and hours on a named device; and warns where memory does not suffice. It takes every override of
`experiments.reproduce`, and where λ are named those of `experiments.sweep`, which it plans then. With ``out=DIR`` it
also writes ``DIR/plan.json``. ``--help`` lists the keys.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from experiments import commands
from experiments.config.cli import Door, run
from experiments.planning.config import PlanConfig, Planning, planning, register_schemas

if TYPE_CHECKING:
    from experiments.planning.estimate import Estimate


def plan(asked: Planning) -> None:
    """Estimate, print, and write ``plan.json`` where a folder was named."""
    from experiments.planning.estimate import estimate
    from experiments.planning.text import describe
    from experiments.steps.store import check_writable, write_atomic

    if asked.folder is not None:
        check_writable("out", asked.folder, "choose another folder with out=…")
    made = estimate(asked)
    print(describe(asked, made))
    if asked.folder is not None:
        file = asked.folder / "plan.json"
        write_atomic(file, (json.dumps(record(asked, made), indent=1, ensure_ascii=False) + "\n").encode())
        print(f"\nPlan: {file.resolve()}")


def record(asked: Planning, made: Estimate) -> dict[str, Any]:
    """What ``plan.json`` says, without the names of somebody's folders: bytes, seconds, tokens."""
    said = asdict(made)
    for model, entry in zip(made.models, said["models"], strict=True):
        del entry["tokenizer"]
        entry["download"] = model.download
    for one, kept in zip(made.rounds, said["rounds"], strict=True):
        for task, entry in zip(one.tasks, kept["tasks"], strict=True):
            entry |= {"prompt_tokens": task.prompt_tokens, "generated_tokens": task.answer_tokens()}
            entry["most_generated_tokens"] = task.answer_tokens(most=True)
    return {
        "name": asked.study.config.name,
        "family": asked.study.config.family.name,
        "machine": asdict(asked.machine),
        "options": asdict(asked.options),
        "seconds": made.seconds,
        "most_seconds": made.most,
        "evaluations": made.evaluations,
        **said,
    }


def main() -> None:
    """The command."""
    run(Door("plan", PlanConfig, register_schemas, planning), plan)


if __name__ == "__main__":
    commands.main(["plan", *sys.argv[1:]])
