"""What the README says is what is there: its commands, its numbers, its picture of the tree."""

from __future__ import annotations

import csv
import re
import shlex
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from page_commands import as_keys, commands

from experiments.config.evaluate import evaluate_plan
from experiments.config.evaluate import register_schemas as register_evaluate_schemas
from experiments.config.merge import merge_plan
from experiments.config.merge import register_schemas as register_merge_schemas
from experiments.config.study import CONF, register_schemas, study
from experiments.config.sweep import register_schemas as register_sweep_schemas
from experiments.config.sweep import sweep_plan
from experiments.study.outcomes import with_tables
from lata.methods import methods

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_command_of_the_how_to_table_composes() -> None:
    table = README.split("| you want | command")[1].split("\n\n")[0]
    commands = [
        re.findall(r"`([^`]+)`", line.split("|")[2]) for line in table.splitlines()[2:] if line.startswith("|")
    ]
    assert len(commands) >= 8
    register_schemas()
    for words in commands:
        overrides = [word for word in shlex.split(words[0]) if "=" in word]
        assert overrides
        with initialize_config_dir(str(CONF), version_base="1.3"):
            study(compose("config", overrides=overrides))


def test_every_row_of_the_merge_table_composes() -> None:
    table = README.split("| you want | add |")[1].split("\n\n")[0]
    rows = [re.findall(r"`([^`]+)`", line)[-1] for line in table.splitlines()[2:]]
    assert len(rows) >= 8
    register_merge_schemas()
    sources = ["family.base=b", "family.pre=p", "family.experts={math: m, code: c}", "output=o"]
    for row in rows:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            made = merge_plan(compose("merge", overrides=[*sources, *as_keys("merge", shlex.split(row))]))
        assert made.request.tasks in (("code", "math"), ("math",))


def test_every_row_of_the_scoring_table_composes() -> None:
    table = README.split("## Score any model")[1].split("| you want | add |")[1].split("\n\n")[0]
    rows = [re.findall(r"`([^`]+)`", line)[-1] for line in table.splitlines()[2:]]
    assert len(rows) >= 8
    register_evaluate_schemas()
    for row in rows:
        words = as_keys("evaluate", shlex.split(row))
        given = [] if any(word.startswith("model=") for word in words) else ["model=DIR"]
        with initialize_config_dir(str(CONF), version_base="1.3"):
            evaluate_plan(compose("evaluate", overrides=[*given, *words]))


def test_every_row_of_the_sweep_table_and_the_sweep_command_compose() -> None:
    section = README.split("## Sweep λ")[1]
    table = section.split("| you want | add |")[1].split("\n\n")[0]
    rows = [re.findall(r"`([^`]+)`", line)[-1] for line in table.splitlines()[2:]]
    assert len(rows) >= 8
    register_sweep_schemas()
    shown = [words for door, words in commands("README.md") if door == "sweep" and "--multirun" not in words]
    for words in [*(as_keys("sweep", shlex.split(row)) for row in rows), *shown]:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            sweep_plan(compose("sweep", overrides=words))


def test_the_merge_command_composes() -> None:
    words = next(words for door, words in commands("README.md") if door == "merge")
    register_merge_schemas()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        made = merge_plan(compose("merge", overrides=words))
    assert made.request.method == "lata_linear"


def test_the_installation_by_hand_is_what_make_does() -> None:
    by_hand = re.search(r"-m pip install (.*)", README)
    by_make = re.search(r"-m pip install .*?(-c .*)", (ROOT / "Makefile").read_text(encoding="utf-8"))
    assert by_hand is not None
    assert by_make is not None
    assert by_hand.group(1) == by_make.group(1)
    assert "make demo" in README
    assert "make test" in README


@pytest.mark.parametrize(
    ("block", "table"),
    [
        ("overview", "mini/tables/overview.md"),
        ("breaks", "mini_sweep/tables/breaks.md"),
        ("harm", "mini_forgetting_l2/tables/harm.md"),
        ("choosing", "mini_choosing/tables/choosing.md"),
    ],
)
def test_the_tables_are_the_committed_ones(block: str, table: str) -> None:
    shown = README.split(f"<!-- {block} -->")[1].split(f"<!-- /{block} -->")[0]
    assert shown.strip() == (ROOT / "results" / "outcomes" / table).read_text(encoding="utf-8").strip()


def test_making_outcomes_again_leaves_readme_as_it_is() -> None:
    assert with_tables(README, ROOT) == README


def cells(table: str) -> dict[str, dict[str, str]]:
    """Method → column → cell of the first section of a committed table."""
    with (ROOT / "results" / "outcomes" / table).open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    return {row["method"]: row for row in rows if row["section"] in (rows[0]["section"], "controls")}


def points(value: str) -> str:
    return f"{abs(100 * float(value)):.0f}"


def test_the_sentences_below_the_tables_say_what_they_say() -> None:
    told = " ".join(README.split())
    harm = cells("mini/tables/forgetting.csv")
    left = sorted(float(row["refusal"]) for name, row in harm.items() if name.startswith("lata_"))
    assert (harm["before (target_ua)"]["refusal"], harm["ta"]["refusal"], harm["ta"]["refused"]) == ("1", "0", "1")
    assert f"LATA's schedules leave {100 * left[0]:.0f} to {100 * left[-1]:.0f} %" in told
    ways = cells("mini_choosing/tables/choosing.csv")
    gains = [points(ways["ta"][f"{way} minus fixed difference"]) for way in ("grid", "search", "metagpt")]
    gap = float(ways["ta"]["grid normalised"]) - float(ways["lata_log"]["grid normalised"])
    lost = points(ways["lata_log"]["metagpt minus fixed difference"])
    assert "a grid gains {} points, a search {}, and MetaGPT, which looks at no data, {}.".format(*gains) in told
    assert (
        f"MetaGPT's smaller λ cost it {lost} points. At the λ of its grid `ta` stands {100 * gap:.0f} points" in told
    )


def test_the_verdicts_are_the_committed_ones() -> None:
    shown = README.split("<!-- claims -->")[1].split("<!-- /claims -->")[0].strip()
    claims = (ROOT / "results/outcomes/mini/claims.md").read_text(encoding="utf-8")
    assert shown.startswith("| claim |")
    assert shown in claims
    assert shown.count("\n| C") == 7


def test_every_method_has_a_row() -> None:
    table = README.split("## Methods")[1].split("## ")[0]
    assert re.findall(r"^\| `(\w+)`", table, re.MULTILINE) == list(methods())


def test_the_picture_of_the_house_names_what_is_there() -> None:
    house = README.split("## The house")[1].split("```")[1]
    named = {line.split()[0].strip("/") for line in house.splitlines() if line.strip() and not line.startswith(" ")}
    folders = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")}
    assert named == folders - {"runs"} - {name for name in folders if name.endswith(".egg-info")}
