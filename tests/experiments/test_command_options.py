"""Options of ``lata`` stand for keys: every path arrives as it was written, and a wrong option is one line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from experiments import CONF
from experiments.commands.catalogue import COMMANDS
from experiments.commands.options import overrides
from experiments.config.keys import schema_keys
from experiments.config.overrides import for_hydra


def test_folders_given_as_options_are_the_hydra_form() -> None:
    words = "--base B --pre=/p/q --expert math=M --expert code=~/C --method lata_linear --out O --dry-run lam=0.5"
    assert overrides("merge", words.split()) == [
        *("family.base=B", "family.pre=/p/q", "family.experts={math: M, code: ~/C}"),
        *("method=lata_linear", "output=O", "dry_run=true", "lam=0.5"),
    ]
    assert overrides("evaluate", ["--model", "org/name@main", "--tasks", "gsm8k,wikitext", "--cfg", "job"]) == [
        *("model=org/name@main", "eval.tasks=[gsm8k,wikitext]", "--cfg", "job")
    ]
    assert overrides("sweep", ["--multirun", "--lambdas", "0.2,0.6"]) == ["lambdas=[0.2,0.6]", "--multirun"]


def test_a_recipe_has_its_words_as_they_are() -> None:
    words = ["--recipe", "a b=c", "--out", "x,y", "--expert", "math=/z (1)"]
    assert overrides("merge", words) == ["recipe=a b=c", "output=x,y", "family.experts.math=/z (1)"]
    assert overrides("merge", ["recipe=F", "--pre", "[1]"]) == ["family.pre=[1]", "recipe=F"]


@given(st.text("ab1. ~'\\\"=,:()[]{}#$λ型/-", min_size=1).filter(str.strip))
def test_any_path_survives_hydras_grammar(path: str) -> None:
    words = for_hydra(
        overrides("merge", [f"--pre={path}", f"--expert=math={path}", "--expert", "code=x", f"--out={path}"])
    )
    found = {one.key_or_group: one.value() for one in OverridesParser.create().parse_overrides(words)}
    config = OmegaConf.create({"places": [found["family.pre"], found["family.experts"]["math"], found["output"]]})
    assert list(config.places) == [path] * 3


def test_a_composed_merge_has_the_paths_that_were_given(tmp_path: Path) -> None:
    from experiments.config.merge import register_schemas

    register_schemas()
    place = str(tmp_path / "é=[x], (1) ${y}")
    with initialize_config_dir(str(CONF), version_base="1.3"):
        words = for_hydra(overrides("merge", ["--pre", place, "--expert", f"math={place}", "--out", place]))
        config = compose("merge", overrides=words)
    assert (config.family.pre, dict(config.family.experts), config.output) == (place, {"math": place}, place)


@pytest.mark.parametrize(
    ("command", "words", "line"),
    [
        ("merge", ["--bse", "x"], "unknown option --bse; did you mean --base?"),
        ("merge", ["--zzz=1"], "unknown option --zzz; --help lists options and keys"),
        ("merge", ["--pre"], "--pre needs a value: --pre DIR"),
        ("merge", ["--pre", "--base", "x"], "--pre needs a value: --pre DIR"),
        ("merge", ["--pre="], "--pre needs a value: --pre DIR"),
        ("merge", ["--pre", "x", "--pre", "y"], "--pre is given twice; give it once"),
        ("merge", ["--pre", "x", "family.pre=y"], "family.pre is given twice, as an option and as family.pre=…"),
        ("merge", ["--expert", "a=x", "family.experts.b=y"], "family.experts is given twice"),
        ("merge", ["--expert", "DIR"], "--expert DIR: write --expert NAME=DIR, such as --expert math=DIR"),
        ("merge", ["--expert", "modèle=DIR"], "--expert modèle=DIR: write --expert NAME=DIR"),
        ("merge", ["--expert", "a=x", "--expert", "a=y"], "--expert a=… is given twice"),
        ("merge", ["--dry-run=yes"], "--dry-run takes no value; write --dry-run alone, or dry_run=yes"),
        ("evaluate", ["--task", "x"], "unknown option --task; did you mean --tasks?"),
    ],
)
def test_a_wrong_option_is_a_line_with_what_to_write(command: str, words: list[str], line: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole text is compared
        overrides(command, words)
    assert str(caught.value).startswith(line)


def test_every_option_stands_for_a_key_that_there_is() -> None:
    from experiments.config.evaluate import EvaluateConfig
    from experiments.config.merge import AnalyzeConfig, MergeConfig
    from experiments.config.study import Config
    from experiments.config.sweep import SweepConfig
    from experiments.planning.config import PlanConfig

    schemas = {
        "reproduce": Config,
        "sweep": SweepConfig,
        "plan": PlanConfig,
        "merge": MergeConfig,
        "analyze": AnalyzeConfig,
        "evaluate": EvaluateConfig,
    }
    assert {name for name, command in COMMANDS.items() if command.hydra} == {*schemas}
    for name, schema in schemas.items():
        keys = {*schema_keys(schema), "recipe"}
        assert {key for key, _ in COMMANDS[name].options.values()} <= keys
