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

from experiments.config.study import CONF
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
    """One file of ``conf/experiment``.

    Attributes:
        name: of the file.
        door: the command that runs it.
        words: the command's words, as the file says them.
    """

    name: str
    door: str
    words: tuple[str, ...]

    @classmethod
    def read(cls, file: Path) -> Experiment:
        """By the comment that says its command."""
        header = file.read_text(encoding="utf-8").splitlines()[1]
        door, *words = shlex.split(header.removeprefix("# python -m experiments."))
        return cls(file.stem, door, tuple(words))

    @functools.cached_property
    def config(self) -> Any:
        """As composed, unchecked."""
        (register_study if self.door == "reproduce" else register_sweep)()
        with initialize_config_dir(str(CONF), version_base="1.3"):
            return compose(PRIMARY[self.door], overrides=[f"experiment={self.name}"])


def of_checkpoints() -> list[Experiment]:
    """The experiments whose models are published checkpoints."""
    found = []
    for file in sorted((CONF / "experiment").glob("*.yaml")):
        groups = yaml.safe_load(file.read_text(encoding="utf-8"))["defaults"]
        family = next(group["override /family"] for group in groups if "override /family" in group)
        kind = yaml.safe_load((CONF / "family" / f"{family}.yaml").read_text(encoding="utf-8"))["kind"]
        if kind == "checkpoints":
            found.append(Experiment.read(file))
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
