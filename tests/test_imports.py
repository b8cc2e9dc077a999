"""The house rules of imports: data flows one way, and the doors answer without heavy libraries."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("lata", "eval", "results", "experiments")
ALLOWED = {
    "lata": set(),
    "eval": set(),
    "results": {"eval.schema", "lata.names", "lata.quantities"},
    "experiments": {"lata", "eval", "results"},
}


def imported(file: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


@pytest.mark.parametrize("part", PARTS)
def test_a_part_imports_only_the_parts_below_it(part: str) -> None:
    files = list((ROOT / part).rglob("*.py"))
    assert files
    for file in files:
        for module in imported(file):
            top = module.split(".")[0]
            if top in PARTS and top != part:
                fine = any(module == allowed or module.startswith(f"{allowed}.") for allowed in ALLOWED[part])
                # `from eval.schema import X` names both `eval.schema` and `eval.schema.X`; bare `eval` is neither.
                assert fine, f"{file.relative_to(ROOT)} imports {module}"


@pytest.mark.parametrize(
    "module",
    [
        *("experiments.config.study", "experiments.config.cli", "experiments.study.run", "experiments.mini.family"),
        *("experiments.merge", "experiments.config.merge", "experiments.analyze", "experiments.evaluate"),
        *("experiments.plan", "experiments.planning.config"),
        *("experiments.sweep", "experiments.config.sweep", "experiments.compare", "experiments.config.compare"),
        *("eval.harness", "lata", "lata.merging"),
    ],
)
def test_the_doors_import_nothing_heavy(module: str) -> None:
    heavy = "{'torch', 'transformers', 'lm_eval', 'datasets', 'matplotlib', 'wandb', 'scipy', 'pandas'}"
    script = f"import sys, {module}; print(sorted({heavy} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
