"""Keys of a configuration against its schema, and what is said of a key or a choice that is not there."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, TypeVar

import yaml
from omegaconf import DictConfig, OmegaConf

from experiments import CONF
from experiments.commands.pages import choices
from lata.methods import methods as lata_methods
from lata.methods import suggest

Schema = TypeVar("Schema")


def checked_object(raw: DictConfig, schema: type[Schema], free: tuple[str, ...]) -> Schema:
    """A composed configuration as an object of its schema.

    Args:
        raw: as composed.
        schema: its dataclass.
        free: beginnings of the keys that a user names.

    Raises:
        ValueError: a key that the schema has not: Hydra's ``+key=value`` adds them, and they would be ignored.
    """
    for key in sorted(_dotted(raw) - set(schema_keys(schema))):
        if not key.startswith(free):
            raise ValueError(unknown_key(key, schema))
    config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), raw))
    assert isinstance(config, schema)
    return config


def unknown_key(key: str, schema: type) -> str:
    """An error line for a key that the schema has not, with the nearest ones that it has."""
    own = _names(schema)
    owners = [name for name, method in lata_methods().items() if key in method.defaults]
    if owners and own & {"method", "methods"}:
        where = f"method.{key}=…" if "method" in own else f"'methods=[{{name: {owners[0]}, {key}: …}}]'"
        return f"{key} is a parameter of a method ({', '.join(owners)}); write {where}"
    if key.split(".")[0] in yaml.safe_load((CONF / "sweep.yaml").read_text(encoding="utf-8")):
        return f"{key} is for a sweep over λ: python -m experiments.sweep"
    near = difflib.get_close_matches(key, schema_keys(schema), n=2, cutoff=0.6)
    return f"unknown key {key!r}" + (f"; did you mean {' or '.join(near)}?" if near else "; --help lists the keys")


def schema_keys(schema: type) -> list[str]:
    """Every dotted key of a configuration, and the groups that can be chosen."""
    groups = {folder.name for folder in CONF.iterdir() if folder.is_dir()} - {"hydra", "paths", "method"}
    return sorted({*_dotted(OmegaConf.structured(schema)), *(groups if "methods" in _names(schema) else ())})


def _names(schema: type) -> set[str]:
    return {option.name for option in fields(schema)}


def _dotted(node: DictConfig, prefix: str = "") -> set[str]:
    """Every key of a configuration and of the mappings in it, dotted."""
    found: set[str] = set()
    for key in map(str, node):
        found.add(f"{prefix}{key}")
        child = node._get_node(key)
        if isinstance(child, DictConfig) and not child._is_missing() and not child._is_none():
            found |= _dotted(child, f"{prefix}{key}.")
    return found


def plain(config: Any) -> dict[str, Any]:
    """A configuration, or a part of one, as plain dictionaries, lists and values."""
    container = OmegaConf.to_container(OmegaConf.structured(config), enum_to_str=True)
    assert isinstance(container, dict)
    return {str(key): value for key, value in container.items()}


def no_choice(group: str, choice: str, known: Sequence[str]) -> str:
    """One line on a choice that a group has not: with what to say instead, where that can be told.

    Args:
        group: such as ``experiment``.
        choice: what was said.
        known: what can be.
    """
    near = suggest(choice, list(known))
    if group == "experiment":
        found = difflib.get_close_matches(choice, spelled := _spelled(), n=1)
        near = f"; did you mean {spelled[found[0]]}?" if found else ""
    return f"{group}={choice} does not exist{near} (there are: {', '.join(known)})"


def _spelled() -> dict[str, str]:
    """Name of a study, of an experiment or of a family → the words that choose it."""
    experiments, families = choices("experiment"), choices("family")
    forgetting = {f"forgetting_{name}": f"forgetting language={name}" for name in choices("language")}
    parts = {name: name for name in experiments} | forgetting
    return (
        {
            f"{family}_{name}": f"experiment={said} family={family}"
            for family in families
            for name, said in parts.items()
        }
        | {family: f"family={family}" for family in families}
        | {name: f"experiment={said}" for name, said in parts.items()}
    )
