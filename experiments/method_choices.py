"""The rows of a study: methods with all their parameters, and how tables call them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from experiments.profiles import profile
from lata.methods import Method, get

CONF = Path(__file__).resolve().parent.parent / "conf"


@dataclass(frozen=True)
class MethodChoice:
    """One row of a study: a method with all its parameters.

    Attributes:
        method: the registered method.
        parameters: every parameter, defaults included.
        label: its name in every table; parameters stand in it only where the study has the method twice.
    """

    method: Method
    parameters: Mapping[str, Any]
    label: str

    @property
    def changed(self) -> str:
        """The parameters that differ from the method's own defaults, as ``key=value, …``."""
        return ", ".join(_said(key, self.parameters[key]) for key in self.own)

    @property
    def own(self) -> list[str]:
        """Names of the parameters that differ from the method's own defaults."""
        return [key for key, value in self.parameters.items() if value != self.method.defaults[key]]


def resolve_methods(entries: Iterable[Any]) -> list[MethodChoice]:
    """Turn ``[ta, {name: ties, density: 0.3}]`` into methods with all their parameters.

    Defaults come from `conf/method/<name>.yaml`. Two entries with equal parameters are an error; where a method
    stands twice its labels say the parameters in which the entries differ.
    """
    resolved: list[tuple[Method, dict[str, Any]]] = []
    for entry in entries:
        given = {"name": entry} if isinstance(entry, str) else entry
        if not isinstance(given, dict) or not isinstance(given.get("name"), str):
            raise ValueError(f"methods: {entry!r} is neither a name nor {{name: …, parameter: value}}")
        method = get(given["name"])
        file = yaml.safe_load((CONF / "method" / f"{method.name}.yaml").read_text(encoding="utf-8"))
        said = {key: value for key, value in {**file, **given}.items() if key != "name"}
        if "profile" in said:
            said["profile"] = profile(_beside(said["profile"]))
        parameters = method.parameters(said)
        if (method, parameters) in resolved:
            raise ValueError(f"methods: {method.name} stands twice with the same parameters")
        resolved.append((method, parameters))
    choices = []
    for method, parameters in resolved:
        choice = MethodChoice(method, parameters, method.name)
        others = [other for same, other in resolved if same is method]
        apart = [key for key in choice.own if any(other[key] != parameters[key] for other in others)]
        if apart:
            choice = replace(
                choice, label=f"{method.name}({', '.join(_said(key, parameters[key]) for key in apart)})"
            )
        choices.append(choice)
    return choices


def _said(key: str, value: Any) -> str:
    """A parameter for people; a profile by what it is of."""
    return f"{key}=({', '.join(task for task, _ in value)})" if isinstance(value, tuple) else f"{key}={value}"


def _beside(value: Any) -> Any:
    """A file of the suite that is named from elsewhere; anything else as it is."""
    if isinstance(value, str) and not Path(value).expanduser().exists() and (CONF.parent / value).is_file():
        return CONF.parent / value
    return value
