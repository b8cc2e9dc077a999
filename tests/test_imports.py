"""The house rules of imports: data flows one way, and the doors answer without heavy libraries."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("lata", "eval", "results", "experiments")
ALLOWED = {
    "lata": set(),
    "eval": {"lata.code_version"},
    "results": {"eval.schema", "lata.names", "lata.quantities", "lata.output.templates"},
    "experiments": {"lata", "eval", "results"},
}
#: Packages (and modules of `eval`) from those that know no other to those that know all.
ORDER = {
    "lata": (
        *("code_version", "names", "quantities", "templates", "numerics", "untrusted", "checkpoints", "engine"),
        *("methods", "output", "planning", "merging"),
    ),
    "eval": (
        *("schema", "sandbox", "multilingual", "judge", "settings", "documents", "backends"),
        *("fingerprint", "collect", "harness", "fitting"),
    ),
    "results": (
        *("study", "statistics", "analysis", "claims", "figures", "tables", "answers", "pages", "summaries"),
    ),
    "experiments": ("commands", "mini", "steps", "config", "study", "planning"),
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


@pytest.mark.parametrize("part", ORDER)
def test_a_package_imports_only_packages_that_come_before_it(part: str) -> None:
    order = ORDER[part]
    for file in (ROOT / part).rglob("*.py"):
        here = file.relative_to(ROOT / part).with_suffix("").parts[0]
        for module in imported(file):
            names = module.split(".")
            if names[0] == part and len(names) > 1 and {here, names[1]} <= {*order}:
                assert order.index(names[1]) <= order.index(here), f"{file.relative_to(ROOT)} imports {module}"
                assert {here, names[1]} != {"claims", "figures"}, f"{file.relative_to(ROOT)} imports {module}"


def test_every_package_has_its_place_in_the_order() -> None:
    for part, order in ORDER.items():
        packages = {folder.parent.name for folder in (ROOT / part).glob("*/__init__.py")}
        assert packages <= {*order}, packages - {*order}


def test_a_folder_of_the_library_has_at_most_twelve_entries() -> None:
    for folder in {file.parent for file in (ROOT / "lata").rglob("*.py")}:
        names = {entry.name for entry in folder.iterdir()} - {"__init__.py", "__pycache__", "README.md"}
        assert len(names) <= 12, f"{folder.relative_to(ROOT)}: {sorted(names)}"


@pytest.mark.parametrize("part", PARTS)
def test_no_module_imports_itself_through_others(part: str) -> None:
    files = {}
    for file in (ROOT / part).rglob("*.py"):
        names = file.relative_to(ROOT).with_suffix("").parts
        files[".".join(names[:-1] if names[-1] == "__init__" else names)] = file
    graph = {}
    for name, file in files.items():
        found = imported(file) & files.keys()
        # `from results.claims import decisions` names the package as well as the module that is meant.
        graph[name] = {one for one in found if not any(other.startswith(f"{one}.") for other in found)} - {name}
    TopologicalSorter(graph).prepare()


@pytest.mark.parametrize(
    "module",
    [
        *("experiments.config.study", "experiments.config.cli", "experiments.study.run", "experiments.mini.family"),
        *("experiments.merge", "experiments.config.merge", "experiments.analyze", "experiments.evaluate"),
        *("experiments.plan", "experiments.planning.config", "experiments.commands", "experiments.commands.listing"),
        *("experiments.sweep", "experiments.config.sweep", "experiments.compare", "experiments.config.compare"),
        *("eval.harness", "lata", "lata.merging.on_disk"),
    ],
)
def test_the_doors_import_nothing_heavy(module: str) -> None:
    heavy = "{'torch', 'transformers', 'lm_eval', 'datasets', 'matplotlib', 'wandb', 'scipy', 'pandas', 'jinja2'}"
    script = f"import sys, {module}; print(sorted({heavy} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
