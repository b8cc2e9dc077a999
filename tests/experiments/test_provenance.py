"""What a run tells others of itself: its command and its models, without anybody's folders."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from experiments import CONF
from experiments.config.evaluate import _name
from experiments.config.family import ModelConfig
from experiments.config.keys import plain
from experiments.config.study import StudyPlan, register_schemas, study
from experiments.study import provenance
from experiments.study.run import _PLACES, _without
from experiments.study.tracking import wandb_name
from lata.output.documents.facts import public_source


def composed(*overrides: str) -> StudyPlan:
    register_schemas()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return study(compose("config", overrides=list(overrides)))


def command_of(monkeypatch: pytest.MonkeyPatch, *words: str) -> list[str]:
    monkeypatch.setattr(sys, "argv", ["reproduce", *words])
    return shlex.split(provenance.command("reproduce"))[3:]


def test_a_command_of_any_length_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["title=" + "x" * 5000, "methods=[" + ",".join(["ta"] * 200) + "]", "name=a\0b", "title=~nobody/x y"]
    assert command_of(monkeypatch, *words)[:2] == words[:2]


@pytest.mark.parametrize(
    "value",
    [
        "{0}/pre",
        "{0}/pre+{0}/lora",
        "pre+lora",
        "./pre+lora",
        "org/name@main+{0}/lora",
        "{0}/gone+{0}/gone too",
        "'{0}/pre'",
        '"{0}/pre+{0}/lora"',
        "[{0}/pre, {0}/lora]",
        "{{pre: {{source: {0}/pre}}, math: {{source: {0}/pre+{0}/lora}}}}",
        "{{pre:{0}/pre,math:{0}/pre+{0}/lora}}",
    ],
)
def test_folders_go_by_their_last_part_wherever_they_stand(
    value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("pre", "lora"):
        (tmp_path / name).mkdir()
    (word,) = command_of(monkeypatch, "family.models=" + value.format(tmp_path))
    assert word == "family.models=" + value.format(tmp_path).replace(f"{tmp_path}/", "").replace("./", "")


@pytest.mark.parametrize(
    "word",
    [
        "family.models.pre.source=google/gemma-2-9b@main",
        "eval.judge.base_url=https://api.example.org/v1",
        "settings={url: https://api.example.org/v1, rate: .5, lam: 1e-3}",
        "lambdas=[0.2,.5,1.0]",
        "methods=[ta, {name: ties, density: 0.2}]",
        "merge=math+code",
    ],
)
def test_what_is_no_folder_stays(word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert command_of(monkeypatch, word) == [word]


def test_the_configuration_names_no_folder_of_an_adapter(tmp_path: Path) -> None:
    plan = composed()
    (tmp_path / "a+b").mkdir()
    sources = {
        "pre": f"{tmp_path}/pre+{tmp_path}/lora",
        "math": f"{tmp_path}/a+b",
        "code": "org/name@main+org/adapter",
    }
    plan.config.family.models.update({name: ModelConfig(source=source) for name, source in sources.items()})
    assert str(tmp_path) in json.dumps(plain(plan.config))
    told = _without(plan.config, _PLACES)
    assert str(tmp_path) not in json.dumps(told)
    models = {name: model["source"] for name, model in told["family"]["models"].items() if name in sources}
    assert models == {"pre": "pre+lora", "math": "a+b", "code": "org/name@main+org/adapter"}


@pytest.mark.parametrize("source", ["x" * 300, "~nobody/x", "a\0b", "", "/", "~"])
def test_any_text_can_be_asked_for_its_public_name(source: str) -> None:
    assert isinstance(public_source(source), str)
    assert len(_name(source).encode()) <= 200


@pytest.mark.parametrize("name", ["mini", "x" * 150, "ta = 1, é", "a/b"])
def test_wandb_takes_the_name_of_every_study(name: str) -> None:
    import wandb

    plan = composed()
    plan.config.name = name
    artifact = wandb.Artifact(wandb_name(plan), type="results")
    assert artifact.name == ("mini-mini" if name == "mini" else wandb_name(plan))


def test_code_outside_a_checkout_has_no_commit_of_a_repository_around_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    installed = tmp_path / "site-packages"
    installed.mkdir()
    monkeypatch.setattr(provenance, "ROOT", installed)
    assert provenance.git_commit().keys() == {"checkout", "installed"}
    monkeypatch.setattr(provenance, "ROOT", tmp_path)  # a repository without a commit
    assert provenance.git_commit() == {"checkout": True, "unreadable": "git cannot be asked"}
