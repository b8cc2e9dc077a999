"""Making a merge again from its recipe, the file that somebody sent or published beside it.

A recipe is data. It is read against the list of keys that recipes have; it can name models, a method and numbers, and
nothing else: no place to write to, no upload, no setting of the program or of the environment. Digests in it are
checked before the result is published.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lata.checkpoints import hub
from lata.engine.stream import expert
from lata.merging.request import SHARD_BYTES, Request, checked, sources_of
from lata.methods import suggest
from lata.names import for_line
from lata.untrusted.json_files import shown
from lata.untrusted.plain_yaml import read_yaml

if TYPE_CHECKING:
    from lata.merging.on_disk import Result

#: Key → type of its value, and that in words.
_KEYS: dict[str, tuple[type | tuple[type, ...], str]] = {
    "family": (dict, "models by role"),
    "merge": (list, "a list of experts"),
    "method": (dict, "a name and parameters"),
    "lam": ((int, float, dict), "a number, or a number for each task"),
    "mode": (str, "learn or forget"),
    "seed": (int, "a whole number"),
    "vocab": (str, "error or common"),
    "blocks": (str, "a container of blocks, such as model.layers"),
    "shard_bytes": (int, "a whole number"),
    "allow_unstable": (bool, "true or false"),
    "digests": (dict, "a digest for each role"),
}
_ROLES = ("base", "pre", "target")

#: Stood in recipes that were configurations of Hydra; it says nothing of the merge.
_OLDER = ["merge_schema", "_self_", {"hydra": "merge"}]


@dataclass(frozen=True)
class Recipe:
    """A recipe that was read.

    Attributes:
        request: the merge.
        warnings: what of it will not be checked, a line each.
    """

    request: Request
    warnings: tuple[str, ...]


def merge_recipe(
    recipe: str | Path,
    *,
    output: str | Path,
    pre: str | Path | None = None,
    experts: Mapping[str, str | Path] | None = None,
    base: str | Path | None = None,
    target: str | Path | None = None,
    threads: int | None = None,
) -> Result:
    """Make the merge that a ``recipe.yaml`` describes, with the same bytes.

    Args:
        recipe: the file.
        output: the folder to make; it must not exist, or be empty.
        pre: where θ_pre is now, if it is not where the recipe says; as in `lata.merge`.
        experts: the same by task, for some or all of the recipe's experts.
        base: the same of θ_base.
        target: the same of θ_target.
        threads: None for one more than there are cores.

    Raises:
        ValueError: the file is no recipe, a model is not where it says, the weights are not those that it was made
            with, or what `lata.merge` raises.
    """
    from lata.merging import on_disk

    instead = {"base": base, "pre": pre, "target": target}
    instead |= {expert(task): source for task, source in (experts or {}).items()}
    found = read(Path(recipe), {role: str(source) for role, source in instead.items() if source is not None})
    result = on_disk.run(found.request, Path(output), threads=threads)
    for line in (*found.warnings, *result.facts.warnings):
        warnings.warn(line, stacklevel=2)
    return result


def read(file: Path, instead: Mapping[str, str]) -> Recipe:
    """Read a recipe.

    Args:
        file: in YAML.
        instead: role → where a model is now, instead of where the recipe says.

    Raises:
        ValueError: it is no recipe, asks for what no merge could do, or names a model that is not here; the line
            says how to replace it.
    """
    if file.is_dir():
        raise ValueError(f"{file} is a folder; give the file in it: {file / 'recipe.yaml'}")
    content = read_yaml(file)
    if content.get("defaults") == _OLDER:
        del content["defaults"]
    try:
        return _recipe(content, file.absolute().parent, instead)
    except ValueError as error:
        lines = str(error).splitlines()
        raise ValueError("\n".join(f"{file}: {line}" for line in lines)) from None


def _recipe(content: dict[str, Any], folder: Path, instead: Mapping[str, str]) -> Recipe:
    _refuse_odd(content)
    for key, value in content.items():
        if key not in _KEYS:
            raise ValueError(f"unknown key {key!r}{suggest(key, _KEYS)}; a recipe has {', '.join(_KEYS)}, no other")
        kind, words = _KEYS[key]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise ValueError(f"{key} must be {words}, not {shown(value)}")
    named = _named(content)
    for role in instead:
        if role not in named:
            raise ValueError(f"it has no model {role!r}{suggest(role, named)}; its models are {', '.join(named)}")
    method = dict(content.get("method", {}))
    digests = _texts("digests", content.get("digests", {}), (*named, "merged"))
    request = Request(
        sources={role: instead.get(role, where) for role, where in _here(named, folder, instead).items()},
        method=str(method.pop("name", "")),
        parameters=method,
        lam=content.get("lam", 1.0),
        mode=content.get("mode", "learn"),
        seed=content.get("seed", 0),
        vocab=content.get("vocab", "error"),
        blocks=content.get("blocks"),
        shard_bytes=content.get("shard_bytes", SHARD_BYTES),
        allow_unstable=content.get("allow_unstable", False),
        digests=digests,
    )
    checked(request)
    missing = [role for role in (*request.sources, "merged") if role not in digests]
    lines = [f"the recipe has no digest of {', '.join(missing)}: whether the weights are its own is not checked"]
    return Recipe(request, tuple(lines if missing else ()))


def _named(content: Mapping[str, Any]) -> dict[str, str]:
    """Role → source of the models that are merged, as the recipe names them."""
    family = dict(content.get("family", {}))
    experts = family.pop("experts", None)
    if not isinstance(experts, dict) or not experts:
        raise ValueError("family.experts names no expert")
    experts = _texts("family.experts", experts, experts)
    single = _texts("family", {role: where for role, where in family.items() if where is not None}, _ROLES)
    if "pre" not in single:
        raise ValueError("family.pre is missing")
    tasks = content.get("merge") or sorted(experts)
    for task in tasks:
        if not isinstance(task, str) or task not in experts:
            raise ValueError(f"merge: {task!r} is not one of {', '.join(experts)}")
    if len(set(tasks)) < len(tasks):
        raise ValueError("merge: an expert stands twice")
    chosen = {task: experts[task] for task in tasks}
    return sources_of(single["pre"], chosen, single.get("base"), single.get("target"))


def _texts(key: str, values: Mapping[str, Any], names: Any) -> dict[str, str]:
    """`values`, each of them a text under one of `names`."""
    for name, value in values.items():
        if name not in names:
            raise ValueError(f"unknown key {f'{key}.{name}'!r}{suggest(name, names)}")
        if not isinstance(value, str) or not value.strip():
            raise ValueError(f"{key}.{name} must be a text")
    return dict(values)


def _here(named: Mapping[str, str], folder: Path, instead: Mapping[str, str]) -> dict[str, str]:
    """`named` with folders as they are found from `folder`; ValueError lists what is not here."""
    found = {role: source if role in instead else _found(source, folder) for role, source in named.items()}
    problems = [
        f"{role} is {shown(named[role], 200)}, which is neither a folder on this machine nor a model on the hub; "
        f"add family.{role}=FOLDER_OR_ID"
        for role, source in found.items()
        if source is None
    ]
    if problems:
        raise ValueError("\n".join(problems))
    return {role: source for role, source in found.items() if source is not None}


def _found(source: str, folder: Path) -> str | None:
    """A source with its relative folders from `folder`, or None where a side of it is no folder and no hub id."""
    cuts = [place for place, letter in enumerate(source) if letter == "+"]
    for sides in ([source], *([source[:cut], source[cut + 1 :]] for cut in cuts)):
        found: list[str] = []
        for side in sides:
            path = os.path.join(folder, os.path.expanduser(side))
            if side and hub.is_folder(path):
                found.append(path)
            elif hub.is_id(side):
                found.append(side)
            else:
                break
        else:
            return "+".join(found)
    return None


def _refuse_odd(value: Any) -> None:
    """ValueError for what forges lines of messages and files, see `for_line`, and for numbers beyond 64 bits."""
    for part in value if isinstance(value, (dict, list)) else ():
        _refuse_odd(part)
        if isinstance(value, dict):
            _refuse_odd(value[part])
    if isinstance(value, str) and for_line(value) != value:
        raise ValueError(f"{value[:60]!a} holds a character that cannot be shown")
    if isinstance(value, int) and abs(value) >= 2**63:
        raise ValueError("a number has more than 64 bits")
