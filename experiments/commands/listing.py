"""``lata methods`` and ``lata tasks``: what there is to choose from, read from the registries themselves."""

from __future__ import annotations

import inspect
import re
import shutil
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence

Row = tuple[str, str, str]

#: Parameters that the registry gives to every method, said once.
_SHARED = ("outside", "granularity")


def methods() -> str:
    """The merge methods in groups: name, parameters with their defaults, what it does."""
    from lata.methods import methods as registered

    titles = {"baseline": "published baselines", "lata": "LATA", "control": "controls of this project"}
    groups: dict[str, list[Row]] = {title: [] for title in titles.values()}
    for method in registered().values():
        own = " ".join(
            f"{key}={'null' if value is None else value}"
            for key, value in method.defaults.items()
            if key not in _SHARED
        )
        text = (inspect.getdoc(method.function) or "").split("\n\n")[0].split(";")[0]
        base = " (needs --base)" if method.needs_similarity else ""
        groups[titles[method.group]].append((method.name, own or "–", f"{_plain(text)}{base}"))
    return _table(("method", "parameters", "what it does"), groups) + (
        "\n\nlata merge --method ties method.density=0.3   in a study: 'methods=[ta, {name: ties, density: 0.3}]'\n"
        "All take outside=drop, which leaves what lies outside the blocks; those that need --base also granularity."
    )


def tasks() -> str:
    """The evaluation tasks: name, what it measures, what is needed."""
    from eval.documents.sources import HUB_SETS
    from eval.multilingual.entries import MULTILINGUAL
    from eval.settings import CODE_TASKS, OWN_TASKS, TASK_FOLDER, documents_of

    own, stock = [], []
    for task in OWN_TASKS:
        page = (TASK_FOLDER / task / "README.md").read_text(encoding="utf-8")
        title = re.split(r"(?<=[.?]) ", " ".join(page.split("\n\n")[1].split()))[0]
        source = HUB_SETS.get(documents_of(task))
        needs = f"{source[0]} from the hub" if source else "requests of your own: eval.data_dir=DIR"
        own.append((task, _plain(title), needs + "; a sandbox for programs" * (task in CODE_TASKS)))
    for task, entry in MULTILINGUAL.items():
        needs = (
            "files of your own: eval.source=local eval.data_dir=DIR"
            if entry.script
            else f"{entry.hub[0]} from the hub"
        )
        stock.append((task, entry.title, needs))
    return _table(("task", "what it measures", "what is needed"), {"": own, "other languages": stock}) + (
        "\n\nlata evaluate --model DIR --tasks gsm8k,wikitext      offline: eval.source=local eval.data_dir=DIR"
    )


LISTS: dict[str, Callable[[], str]] = {"methods": methods, "tasks": tasks}


def _plain(text: str) -> str:
    return " ".join(text.split()).rstrip(".")


def _table(head: Row, groups: Mapping[str, Sequence[Row]]) -> str:
    """Three columns; on a terminal the last one is wrapped to its width."""
    rows = [head, *(row for group in groups.values() for row in group)]
    first, second = (max(len(row[column]) for row in rows) + 2 for column in (0, 1))
    left = first + second
    width = max(shutil.get_terminal_size().columns - left, 30) if sys.stdout.isatty() else 1_000
    lines = []
    for title, group in [("", [head]), *groups.items()]:
        lines += ["", f"{title}:"] if title else []
        for name, middle, text in group:
            begun, *more = textwrap.wrap(text, width)
            lines += [f"{name:<{first}}{middle:<{second}}{begun}", *(f"{'':<{left}}{line}" for line in more)]
    return "\n".join(lines)
