"""Similarity of layers and tasks: ``python -m experiments.analyze family.base=… family.pre=… 'family.experts={…}'``.

Prints s_t[l] = cos(τ_comp,t[l], τ_instr[l]) of arXiv 2502.20186, layers × tasks. ``--help`` lists the keys.
"""

from __future__ import annotations

from pathlib import Path

from experiments.cli import Door, run
from experiments.merge_config import AnalyzeConfig, analyze_plan, register_schemas


def analyze(config: AnalyzeConfig) -> None:
    """Measure, print the table, and write it where an output is named."""
    import lata

    output = None if config.output is None else Path(config.output).expanduser()
    if output is not None and not output.parent.is_dir():
        raise ValueError(f"output={output}: {output.parent} is not a folder")
    assert config.family.base is not None
    table = lata.similarity(
        config.family.base,
        config.family.pre,
        config.family.experts,
        granularity=config.granularity,
        outside=config.outside,
        blocks=config.blocks,
        threads=config.threads,
    )
    print(table.to_string(float_format="{:.6f}".format))
    if output is not None:
        table.to_csv(output)


if __name__ == "__main__":
    run(Door("analyze", AnalyzeConfig, register_schemas, analyze_plan), analyze)
