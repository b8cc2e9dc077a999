"""Merge checkpoints of any size: ``python -m experiments.merge family.pre=… 'family.experts={math: …}' output=…``.

Everything that can be wrong is found on headers and reported together, before anything is read; ``dry_run=true``
stops there. ``--help`` lists the keys. ``recipe=FILE output=…`` makes the merge of a ``recipe.yaml`` again.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from experiments import commands
from experiments.config.cli import Door, errors_in_lines, run
from experiments.config.merge import Export, MergeConfig, MergePlan, folder, merge_plan, register_schemas
from experiments.config.recipe import is_recipe, recipe_plan, refuse_folders

if TYPE_CHECKING:
    from lata.planning import Plan


def merge(made: MergePlan) -> None:
    """Check, merge, and say what was written."""
    from lata.merging import on_disk

    config, output = made.config, folder(made.config)
    alone = config.export is Export.mergekit and output.suffix in (".yaml", ".yml")
    if config.dry_run:
        plan = on_disk.plan(made.request, None if alone else output)
        print(plan.describe())
        plan.refuse()
        return
    if alone:
        on_disk.export(made.request, output, threads=config.threads)
        print(f"mergekit configuration: {output.resolve()}")
        return
    begun = time.monotonic()
    result = on_disk.run(
        made.request,
        output,
        threads=config.threads,
        mergekit=config.export is Export.mergekit,
        report=_report,
    )
    for line in (*result.notices, *result.facts.warnings):
        if line not in result.plan.warnings:
            print(f"warning: {line}", file=sys.stderr)
    print(f"merged in {time.monotonic() - begun:.1f} s: {result.output}")
    print(f"weights {result.facts.digests['merged']}, distance from the start {result.facts.distance:.6g}")
    if config.push is not None:
        from lata.checkpoints.hub import push

        print(f"pushed: {push(result.output, config.push, result.public)}")


def _report(plan: Plan) -> None:
    # What is wrong becomes the error that ends the command.
    if not plan.problems:
        print(plan.describe(), file=sys.stderr)


def main() -> None:
    """The command."""
    words = sys.argv[1:]
    with errors_in_lines(MergeConfig):
        if is_recipe(words):
            plan, unchecked = recipe_plan(words)
            for line in unchecked:
                print(f"warning: {line}", file=sys.stderr)
            merge(plan)
            return
        refuse_folders(words)
    run(Door("merge", MergeConfig, register_schemas, merge_plan), merge)


if __name__ == "__main__":
    commands.main(["merge", *sys.argv[1:]])
