"""The rows of a study: methods with all their parameters, and how tables call them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from experiments import CONF, ROOT
from experiments.config.family import refuse_twice
from experiments.config.profiles import profile
from experiments.steps.store import key_of
from lata.methods import Method, get
from lata.methods.rules import Profile


@dataclass(frozen=True)
class MethodChoice:
    """One row of a study: a method with all its parameters.

    Attributes:
        method: the registered method.
        parameters: every parameter, defaults included.
        names: what profiles are called in labels; by a digest of their numbers where they have no name here.
    """

    method: Method
    parameters: Mapping[str, Any]
    names: Mapping[Profile, str] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """Its name in every table: the method, and every parameter that is not the method's own default."""
        own = self._changed(self.names)
        return f"{self.method.name}({own})" if own else self.method.name

    @property
    def changed(self) -> str:
        """The parameters that differ from the method's own defaults, as ``key=value, …``; profiles by digest."""
        return self._changed({})

    def _changed(self, names: Mapping[Profile, str]) -> str:
        own = [(key, value) for key, value in self.parameters.items() if value != self.method.defaults[key]]
        return ", ".join(_said(key, value, names) for key, value in own)


def resolve_methods(entries: Iterable[Any]) -> list[MethodChoice]:
    """Turn ``[ta, {name: ties, density: 0.3}]`` into methods with all their parameters.

    Defaults come from `conf/method/<name>.yaml`. Two entries with equal parameters, or with equal labels, are an
    error. A profile is called by its file where those names tell all profiles apart.
    """
    resolved: list[tuple[Method, dict[str, Any]]] = []
    files: dict[Profile, str] = {}
    for entry in entries:
        given = {"name": entry} if isinstance(entry, str) else entry
        if not isinstance(given, dict) or not isinstance(given.get("name"), str):
            raise ValueError(f"methods: {entry!r} is neither a name nor {{name: …, parameter: value}}")
        method = get(given["name"])
        file = yaml.safe_load((CONF / "method" / f"{method.name}.yaml").read_text(encoding="utf-8"))
        said = {key: value for key, value in {**file, **given}.items() if key != "name"}
        if "profile" in said:
            source = said["profile"]
            said["profile"] = profile(_beside(source))
            if isinstance(source, str):
                files[said["profile"]] = Path(source).stem
        parameters = method.parameters(said)
        if (method, parameters) in resolved:
            raise ValueError(f"methods: {method.name} stands twice with the same parameters")
        resolved.append((method, parameters))
    profiles = {parameters["profile"] for _, parameters in resolved if "profile" in parameters}
    names = files if len(set(files.values())) == len(profiles) else {}
    choices = [MethodChoice(method, parameters, names) for method, parameters in resolved]
    refuse_twice("methods", [choice.label for choice in choices])
    return choices


def controls_of(choices: Sequence[MethodChoice], named: Iterable[str]) -> list[str]:
    """The labels of the rows that are controls.

    Those are the rows of control methods, and those of another ``outside`` beside a row that is otherwise equal: they
    show what the parameters outside the blocks do. Rows that marks or claims name (`named`) are none of the latter.
    """
    kept = [(choice.method, dict(choice.parameters)) for choice in choices if choice.parameters["outside"] == "keep"]
    names = set(named)

    def beside(choice: MethodChoice) -> bool:
        plain = (choice.method, {**choice.parameters, "outside": "keep"})
        return choice.parameters["outside"] != "keep" and choice.label not in names and plain in kept

    return list(dict.fromkeys(choice.label for choice in choices if choice.method.control or beside(choice)))


def label_of(name: str, choices: Iterable[MethodChoice]) -> str:
    """The label of the row that `name` means: a label, or a method that stands once; else `name` as it is."""
    labels = [choice.label for choice in choices if name in (choice.label, choice.method.name)]
    return labels[0] if len(labels) == 1 else name


def _said(key: str, value: Any, names: Mapping[Profile, str]) -> str:
    """A parameter for people; a profile by its name, or by its tasks and a digest of its numbers."""
    if not isinstance(value, tuple):
        return f"{key}={value}"
    tasks = ", ".join(task for task, _ in value)
    return f"{key}={names.get(value, f'({tasks}) {key_of(profile=value)[:6]}')}"


def _beside(value: Any) -> Any:
    """A file of the suite that is named from elsewhere; anything else as it is."""
    if isinstance(value, str) and not Path(value).expanduser().exists() and (ROOT / value).is_file():
        return ROOT / value
    return value
