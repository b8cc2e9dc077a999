"""A hash of what code means, for the keys of cached results: comments, docstrings and blank lines do not count.

What decides a step is found from its imports: the modules that its entry imports, directly or through others, inside
functions as well. Nothing has to be listed, so nothing is forgotten; what decides nothing is named by `without`.
The hash is the same in every version of Python that this project supports; dumps of syntax trees would not be.
"""

from __future__ import annotations

import ast
import hashlib
import re
from functools import cache
from pathlib import Path

#: The folder that this project's packages are in.
ROOT = Path(__file__).resolve().parents[1]

# A string, or ends of lines with what is before them and no code. Quotes inside the braces of an f-string are others
# than those around it up to Python 3.11, whose syntax this project keeps to.
_STRING_OR_END = re.compile(
    r'''("""(?:\\.|[^\\])*?"""|\'\'\'(?:\\.|[^\\])*?\'\'\'|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')'''
    r"""|(?:[ \t\f\r]*(?:\#[^\n]*)?\n)+""",
    re.DOTALL,
)


def code_version(*entries: str, packages: tuple[str, ...], without: tuple[str, ...] = ()) -> str:
    """A hash of the meaning of the modules that `modules_of` finds for these arguments.

    Returns:
        sha256, 64 hexadecimal digits.
    """
    total = hashlib.sha256()
    for module in modules_of(*entries, packages=packages, without=without):
        total.update(f"{module}\0{_read(_file(module))[0]}\0".encode())
    return total.hexdigest()


def modules_of(*entries: str, packages: tuple[str, ...], without: tuple[str, ...] = ()) -> list[str]:
    """The modules of this project that `entries` import, themselves included, sorted.

    Args:
        entries: names of modules, as ``eval.harness``.
        packages: imports of modules in these packages (``eval``) are followed, others are not.
        without: modules, or packages with all that is in them, that are left out. Also what only they import.
    """
    found: set[str] = set()
    waiting = list(entries)
    while waiting:
        module = waiting.pop()
        if module in found or not _is_in(module, packages) or _is_in(module, without) or not _is_module(module):
            continue
        found.add(module)
        # Importing a module runs the packages that it is in.
        waiting += [module.rpartition(".")[0], *_read(_file(module))[1]]
    missing = [entry for entry in entries if entry not in found]
    assert not missing, f"{missing} are no modules of {packages}"
    return sorted(found)


def modules_in(package: str, without: tuple[str, ...] = ()) -> list[str]:
    """All modules of a package, whether anything imports them or not, sorted; see `modules_of` for `without`."""
    folder = ROOT.joinpath(*package.split("."))
    files = [file for file in folder.rglob("*.py") if (file.parent / "__init__.py").is_file()]
    names = (".".join(file.relative_to(ROOT).with_suffix("").parts) for file in files)
    return sorted(name for name in (name.removesuffix(".__init__") for name in names) if not _is_in(name, without))


def meaning(source: str) -> str:
    """Python code without comments, docstrings, blank lines and spaces at the ends of lines.

    Statements that are a string and nothing else do nothing and are cut out, docstrings among them.
    """
    return _meaning(source, _statements(ast.parse(source)))


def _meaning(source: str, statements: list[ast.stmt]) -> str:
    lines = source.encode().split(b"\n")
    for node in statements:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            first, last = node.lineno - 1, (node.end_lineno or 0) - 1
            after = lines[last][node.end_col_offset :]
            lines[first : last + 1] = [lines[first][: node.col_offset] + after, *[b""] * (last - first)]
    code = b"\n".join(lines).decode() + "\n"
    return _STRING_OR_END.sub(lambda match: match[1] or "\n", code).strip("\n")


def _statements(tree: ast.AST) -> list[ast.stmt]:
    """All statements below a node but those for type checkers; expressions, which hold none, are passed over."""
    found: list[ast.stmt] = []
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.stmt):
            found.append(node)
        for part in ("body", "orelse", "finalbody", "handlers", "cases"):
            waiting += getattr(node, part, ())
    return found


def _imports(statements: list[ast.stmt]) -> list[str]:
    """Names of modules that may be imported; some are names in modules instead."""
    found: list[str] = []
    for node in statements:
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return found


@cache
def _read(file: Path) -> tuple[str, list[str]]:
    """A module's meaning and its imports."""
    source = file.read_text(encoding="utf-8")
    statements = _statements(ast.parse(source))
    return _meaning(source, statements), _imports(statements)


def _file(module: str) -> Path:
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _is_module(name: str) -> bool:
    return bool(name) and _file(name).is_file()


def _is_in(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)
