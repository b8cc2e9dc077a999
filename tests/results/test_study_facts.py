"""What a plan hands to tables and claims beside its numbers."""

from __future__ import annotations

from typing import Any

from hydra import compose, initialize_config_dir

from experiments import CONF
from experiments.config.study import register_schemas, study
from experiments.study.frames import facts


def facts_of(*overrides: str) -> dict[str, Any]:
    register_schemas()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        plan = study(compose("config", overrides=[*overrides]))
    return facts(plan, (), {}, "key")


def test_what_a_reader_must_know_of_a_method_is_handed_over_with_it() -> None:
    (note,) = facts_of("methods=[ta, ties]", "forget_methods=[ta, safety_arithmetic]")["method_notes"].items()
    assert note[0] == "safety_arithmetic"
    assert "first stage of Safety Arithmetic alone" in note[1]
    assert "λ from 2 to 3" in note[1]
    assert facts_of("forget_methods=[ta]")["method_notes"] == {}


def test_controls_are_named_whether_they_learn_or_forget() -> None:
    shuffled = "lata_shuffled, {name: lata_shuffled, of: lata_log}"
    known = facts_of(f"methods=[ta, lata_log, {shuffled}]", "forget_methods=[ta, ta_half]")
    assert known["controls"] == ["lata_shuffled", "lata_shuffled(of=lata_log)", "ta_half"]


def test_a_row_of_another_outside_is_a_control_beside_the_row_that_it_differs_from() -> None:
    drop = "{name: ta, outside: drop}, {name: ties, outside: drop}, {name: lata_log, outside: drop, floor: 0.1}"
    assert facts_of(f"methods=[ta, lata_log, {drop}]")["controls"] == ["ta(outside=drop)"]
    named = ["methods=[ta, lata_log, {name: lata_log, outside: drop}]", "forget_methods=[ta]"]
    assert facts_of(*named)["controls"] == ["lata_log(outside=drop)"]
    assert facts_of(*named, "schedule.learn='lata_log(outside=drop)'")["controls"] == []
