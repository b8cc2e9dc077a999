"""The command line of a recipe: ``recipe=FILE output=DIR``, and the few words that may stand beside them.

Hydra never sees these words nor the file: it would compose a stranger's configuration of itself from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from experiments.config.merge import MergeConfig, MergePlan
from lata.merging import recipes

_FAMILY = "family."
_SINGLE = ("recipe", "output", "threads", "dry_run", "family.base", "family.pre", "family.target")
_BESIDE = "output, dry_run, threads, family.base, family.pre, family.target and family.experts.TASK"

#: Hydra's options that make files from elsewhere a part of the configuration.
_FOLDERS = ("-cd", "-cn", "-cp")


def is_recipe(words: Sequence[str]) -> bool:
    """Whether a command line makes a merge from a recipe."""
    return any(word.startswith("recipe=") for word in words)


def refuse_folders(words: Sequence[str]) -> None:
    """ValueError where Hydra is to read its configuration from elsewhere, as older cards say of recipes."""
    for word in words:
        option = word.partition("=")[0]
        if option in _FOLDERS or option.startswith("--con"):
            raise ValueError(
                f"{option} would let a file from elsewhere configure this program; a recipe is read as data: "
                "python -m experiments.merge recipe=FILE output=NEW_DIR"
            )


def recipe_plan(words: Sequence[str]) -> tuple[MergePlan, tuple[str, ...]]:
    """The merge that a recipe and the words beside it ask for, and what of it will not be checked.

    Raises:
        ValueError: a word that may not stand there, or what `lata.merging.recipes.read` raises.
    """
    given: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or (key not in _SINGLE and not key.startswith("family.experts.")):
            raise ValueError(f"{word.partition('=')[0]} cannot be given beside recipe=FILE; {_BESIDE} can")
        if key in given:
            raise ValueError(f"{key} is given twice; give it once")
        given[key] = _bare(value)
        if not given[key]:
            raise ValueError(f"{key} is empty; leave it out, or give {key}=…")
    if "output" not in given:
        raise ValueError("output is missing; give output=…, the folder to make")
    instead = {key.removeprefix(_FAMILY): value for key, value in given.items() if key.startswith(_FAMILY)}
    found = recipes.read(Path(given["recipe"]).expanduser(), instead)
    config = MergeConfig(output=given["output"], threads=_threads(given), dry_run=_dry_run(given))
    return MergePlan(config, found.request), found.warnings


def _bare(value: str) -> str:
    """A value without the quotes that Hydra's grammar would need."""
    quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
    return value[1:-1] if quoted and not Path(value).exists() else value


def _threads(given: dict[str, str]) -> int | None:
    text = given.get("threads", "null")
    if text == "null":
        return None
    if not (text.isascii() and text.isdecimal()) or int(text) < 1:
        raise ValueError(f"threads={text} must be a whole number of at least 1")
    return int(text)


def _dry_run(given: dict[str, str]) -> bool:
    text = given.get("dry_run", "false")
    if text.lower() not in ("true", "false"):
        raise ValueError(f"dry_run={text} must be true or false")
    return text.lower() == "true"
