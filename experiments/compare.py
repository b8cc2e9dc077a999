"""Which method is best: ``python -m experiments.compare RUN [RUN …] --baseline ta [--out DIR]``.

Reads the folders of finished runs and writes paired differences, wins / ties / losses, mean ranks, Pareto fronts
over λ and a comparison at equal distance. The Hydra form, ``runs=[…] baseline=ta out=DIR``, is the same command.
``--help`` lists the keys.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

from experiments import commands
from experiments.config.cli import Door, errors_in_lines, run
from experiments.config.compare import CompareConfig, ComparePlan, compare_plan, overrides, register_schemas
from experiments.steps.store import check_writable
from lata.names import for_file


def compare(plan: ComparePlan) -> None:
    """Read the runs, compare them, print the answers."""
    from results.analysis.comparison import check_runs
    from results.study import store as stored
    from results.study.union import pool
    from results.summaries.comparison import compare_runs

    runs = {name: stored.load(folder) for name, folder in plan.runs.items()}
    baseline = plan.config.baseline or str(next(iter(runs.values())).meta.get("baseline", "ta"))
    check_runs(runs, baseline)
    out = default_folder(plan, baseline) if plan.config.out is None else Path(plan.config.out).expanduser()
    check_writable("out", out, "choose another folder with --out DIR")
    summary = compare_runs(pool(runs), baseline, out, plan.config.every_lambda)
    print(summary.headline)
    print(f"\n{summary.table}")
    print(f"\nReport: {(out / 'report.html').resolve()}")


def default_folder(plan: ComparePlan, baseline: str) -> Path:
    """Where a comparison is written: named by the runs and a hash of everything that decides it."""
    said = [baseline, plan.config.every_lambda]
    contents = [hashlib.sha256((folder / "study.json").read_bytes()).hexdigest() for folder in plan.runs.values()]
    key = hashlib.sha256(json.dumps([said, contents]).encode()).hexdigest()[:8]
    names = "+".join(folder.resolve().name for folder in plan.runs.values())
    return Path("runs/compare") / f"{for_file(names)}-{key}"


def main() -> None:
    """The command."""
    with errors_in_lines(CompareConfig):
        sys.argv[1:] = overrides(sys.argv[1:])
    run(Door("compare", CompareConfig, register_schemas, compare_plan), compare)


if __name__ == "__main__":
    commands.main(["compare", *sys.argv[1:]])
