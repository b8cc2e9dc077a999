"""Experiment files, and their commands with the models of a family replaced by stand-ins."""

from __future__ import annotations

import functools
import runpy
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import standin_documents
import yaml
from hydra import compose, initialize_config_dir
from standin_models import StandInFamily

from experiments import CONF
from experiments.config.study import register_schemas as register_study
from experiments.config.sweep import register_schemas as register_sweep

PRIMARY = {"reproduce": "config", "sweep": "sweep"}

#: What keeps a run small and to this machine. A batch of two makes the check with half the batch run as well.
SMALL = (
    *("eval.source=local", "eval.limit=2", "eval.batch_size=2", "eval.device=cpu", "eval.threads=1"),
    *("workers=1", "logger=none"),
)


@dataclass(frozen=True)
class Experiment:
    """One experiment on one family.

    Attributes:
        name: of the study.
        door: the command that runs it.
        words: the command's words, as its file says them, on this family.
    """

    name: str
    door: str
    words: tuple[str, ...]

    @classmethod
    def read(cls, experiment: str, family: str, language: str = "") -> Experiment:
        """By the comment of the experiment's file that says its command."""
        header = (CONF / "experiment" / f"{experiment}.yaml").read_text(encoding="utf-8").splitlines()[1]
        door, *words = shlex.split(header.removeprefix("# python -m experiments."))
        own = {"family": family, "language": language}
        said = [f"{key}={own.get(key, value)}" for key, _, value in (word.partition("=") for word in words)]
        return cls("_".join(filter(None, (family, experiment, language))), door, tuple(said))

    @functools.cached_property
    def config(self) -> Any:
        """As composed, unchecked."""
        (register_study if self.door == "reproduce" else register_sweep)()
        with initialize_config_dir(str(CONF), version_base="1.3"):
            return compose(PRIMARY[self.door], overrides=list(self.words))


#: The experiments that public families are made for; `full` and `choosing` are the miniature family's.
PUBLIC = ("learning", "controls", "sweep", "layers")


def of_checkpoints() -> list[Experiment]:
    """Every experiment on every public family that has the models for it."""
    found = []
    for file in sorted((CONF / "family").glob("*b.yaml")):
        found += [Experiment.read(name, file.stem) for name in PUBLIC]
        targets = yaml.safe_load(file.read_text(encoding="utf-8")).get("targets", [])
        found += [Experiment.read("forgetting", file.stem, name.removeprefix("target_")) for name in targets]
    return found


class Workshop:
    """Stand-ins, documents and a cache under one folder.

    Args:
        root: a folder of its own.
    """

    def __init__(self, root: Path) -> None:
        self.root, self.data = root, root / "data"
        self._texts = standin_documents.write(self.data)
        self._families: dict[str, StandInFamily] = {}

    def words(self, experiment: Experiment) -> list[str]:
        """The experiment's command, with what a user would add who has the stand-ins in folders."""
        said = [word.replace("DIR", str(self.data)) for word in experiment.words]
        said += ["lambdas=[0.4,1.0]"] if experiment.door == "sweep" else []
        family = experiment.config.family
        sources = []
        for name, model in family.models.items():
            own_head = (family.name, name) == ("gemma2_2b", "ua")
            source = self.family(experiment).source(name, model.source or "", own_head=own_head)
            sources.append(f"family.models.{name}.source={source}")
        # Two families of one architecture have the same stand-ins, which are then scored once.
        return [*said, *sources, *SMALL, f"eval.data_dir={self.data}", f"cache={self.root / 'cache'}"]

    def family(self, experiment: Experiment) -> StandInFamily:
        """The stand-ins of the experiment's family."""
        family = experiment.config.family
        if family.name not in self._families:
            root = self.root / "models" / family.name
            self._families[family.name] = StandInFamily(root, family.models.base.source, self._texts)
        return self._families[family.name]


def call(door: str, words: list[str], cwd: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Run a command as ``python -m experiments.<door>`` does, in this process; its exit status."""
    with monkeypatch.context() as patch:
        patch.chdir(cwd)
        patch.setattr(sys, "argv", [door, *words])
        try:
            runpy.run_module(f"experiments.{door}", run_name="__main__")
        except SystemExit as end:
            return int(end.code or 0)
    return 0
