"""The schema of ``experiments.compare``, and how its command line is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from omegaconf import DictConfig

from experiments.config.keys import checked_object
from experiments.config.overrides import quoted

#: Options of this command → keys of its configuration.
_OPTIONS = {"--baseline": "baseline", "--out": "out"}

#: Options of Hydra that are followed by a value.
_HYDRA = ("--cfg", "-c", "--package", "-p", "--config-path", "-cp", "--config-name", "-cn", "--config-dir", "-cd")


@dataclass
class CompareConfig:
    """One comparison; see the comments in ``conf/compare.yaml``."""

    runs: list[str] = field(default_factory=list)
    baseline: str | None = None
    every_lambda: bool = False
    out: str | None = None


@dataclass(frozen=True)
class ComparePlan:
    """A checked configuration.

    Attributes:
        config: as composed.
        runs: name of each run, as given → its folder.
    """

    config: CompareConfig
    runs: dict[str, Path]


def register_schemas() -> None:
    """Make the dataclass known to Hydra under the name that `conf/` refers to."""
    from hydra.core.config_store import ConfigStore

    ConfigStore.instance().store(name="compare_schema", node=CompareConfig)


def overrides(words: Sequence[str]) -> list[str]:
    """A command line with folders and options as Hydra's overrides; what is Hydra's own stays.

    ``RUN RUN --baseline ta`` becomes ``runs=['RUN','RUN'] baseline='ta'``. A word without ``=`` is a folder, and so
    is one with it where there is such a folder.

    Raises:
        ValueError: an option without its value, or folders given in both ways.
    """
    out: list[str] = []
    runs: list[str] = []
    rest = iter(words)
    for word in rest:
        name, equals, value = word.partition("=")
        if name in _OPTIONS:
            given = value if equals else next(rest, "")
            if not given or (not equals and given.startswith("--")):
                raise ValueError(f"{name} needs a value, such as {name} {'ta' if name == '--baseline' else 'DIR'}")
            out.append(f"{_OPTIONS[name]}={quoted(given)}")
        elif word in _HYDRA:
            out += [word, *([following] if (following := next(rest, "")) else [])]
        elif word.startswith("-"):
            out.append(word)
        elif not equals or Path(word).expanduser().is_dir():
            runs.append(word)
        else:
            out.append(word)
    if runs and any(word.startswith("runs=") for word in out):
        raise ValueError("runs are given twice: as folders and as runs=…; give them in one way")
    return [*([f"runs=[{','.join(map(quoted, runs))}]"] if runs else []), *out]


def compare_plan(raw: DictConfig) -> ComparePlan:
    """Check a composed configuration.

    Raises:
        ValueError: no run, the same run twice, or an empty value.
    """
    config = checked_object(raw, CompareConfig, free=())
    if not config.runs:
        raise ValueError("no run to compare; give the folders of finished runs: python -m experiments.compare RUN …")
    runs: dict[str, Path] = {}
    for name in config.runs:
        folder = Path(name).expanduser()
        if folder.resolve() in {other.resolve() for other in runs.values()}:
            raise ValueError(f"{name} stands twice; give every run once")
        runs[name.rstrip("/") or name] = folder
    for key in ("baseline", "out"):
        value = getattr(config, key)
        if value is not None and not value.strip():
            raise ValueError(f"{key} is empty; leave it out, or give {key}=…")
    return ComparePlan(config, runs)
