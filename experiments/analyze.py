"""Similarity of layers and tasks: ``python -m experiments.analyze family.base=… family.pre=… 'family.experts={…}'``.

Prints s_t[l] = cos(τ_comp,t[l], τ_instr[l]) of arXiv 2502.20186, layers × tasks; beside it cos(τ_t[l], τ_instr[l])
and the layer's share of ‖τ_t‖², whose last row is what lies outside the blocks. ``--help`` lists the keys.
"""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

from experiments import commands
from experiments.config.cli import Door, run
from experiments.config.merge import AnalyzeConfig, analyze_plan, register_schemas
from lata.quantities import MEASURED_NOTE, OUTSIDE


def analyze(config: AnalyzeConfig) -> None:
    """Measure, print the table, and write it where an output is named."""
    import lata

    output = None if config.output is None else Path(config.output).expanduser()
    if output is not None and not output.parent.is_dir():
        raise ValueError(f"output={output}: {output.parent} is not a folder")
    assert config.family.base is not None
    table = lata.similarity_tables(
        config.family.base,
        config.family.pre,
        config.family.experts,
        (config.granularity,),
        outside=config.outside,
        blocks=config.blocks,
        threads=config.threads,
    )[config.granularity]
    if config.outside != "rank":  # there every parameter outside the blocks has a row
        table.loc[OUTSIDE] = {("share", task): share for task, share in table.attrs["outside"].items()}
    print(
        table.rename_axis(columns=["", "layer"])
        .rename_axis(index=None)
        .to_string(float_format="{:.6f}".format, na_rep="–")
    )
    print("\n" + "\n".join(textwrap.wrap(MEASURED_NOTE, 110)))
    if output is not None:
        table.set_axis(table.columns.map(" ".join), axis="columns").to_csv(output)


def main() -> None:
    """The command."""
    run(Door("analyze", AnalyzeConfig, register_schemas, analyze_plan), analyze)


if __name__ == "__main__":
    commands.main(["analyze", *sys.argv[1:]])
