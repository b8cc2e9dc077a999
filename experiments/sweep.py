"""Sweep λ: ``python -m experiments.sweep 'methods=[ta, ties, lata_log]' 'lambdas=[0.2,0.6,1.0]'``.

Evaluates every method of a study at every λ, chooses λ on the development split, and says what that gives on the test
split, what the best λ in hindsight would have given, and where each method breaks. ``--help`` lists the keys.
"""

from __future__ import annotations

import sys
import textwrap

from experiments import commands
from experiments.config.cli import Door, run
from experiments.config.sweep import SweepConfig, SweepPlan, register_schemas, sweep_plan


def sweep(plan: SweepPlan) -> None:
    """Run one sweep and print what came out."""
    from experiments.study import sweep as sweeping

    summary = sweeping.run(plan)
    if summary is None:
        return
    print(textwrap.fill(summary.headline, 108))
    print(f"\n{summary.table}")
    print(f"\nReport: {(plan.out / 'report.html').resolve()}")


def main() -> None:
    """The command."""
    run(Door("sweep", SweepConfig, register_schemas, sweep_plan), sweep)


if __name__ == "__main__":
    commands.main(["sweep", *sys.argv[1:]])
