"""Reproduce a table: ``python -m experiments.reproduce [experiment=learning family=gemma2_2b] [key=value …]``.

Composes a study from `conf/`, runs what of it is not in the store yet, writes tables, figures, claims and a report,
and prints the main table. ``--help`` lists the groups and keys.
"""

from __future__ import annotations

import sys
import textwrap

from experiments import commands
from experiments.config.cli import STUDY, run
from experiments.config.study import StudyPlan


def reproduce(plan: StudyPlan) -> None:
    """Run one study and print what came out."""
    from experiments.study import run as pipeline

    summary = pipeline.run(plan)
    if summary is None:
        return
    print(summary.table)
    print(f"\n{textwrap.fill(summary.headline, 108)}")
    print(f"\nReport: {(plan.out / 'report.html').resolve()}")


def main() -> None:
    """The command."""
    run(STUDY, reproduce)


if __name__ == "__main__":
    commands.main(["reproduce", *sys.argv[1:]])
