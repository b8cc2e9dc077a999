"""What the README and the page of committed outcomes say is what is there: numbers, methods, commands, folders."""

from __future__ import annotations

import csv
import re

import pytest
from page_commands import ROOT, text_of

from experiments.commands.catalogue import COMMANDS
from experiments.study.outcomes import SHOWN, with_tables
from lata.methods import methods

README = text_of("README.md")


def test_it_is_read_in_five_minutes() -> None:
    assert len(README.splitlines()) <= 200


def test_the_installation_by_hand_is_what_make_does() -> None:
    by_hand = re.search(r"-m pip install (.*)", README)
    by_make = re.search(r"-m pip install .*?(-c .*)", text_of("Makefile"))
    assert by_hand is not None
    assert by_make is not None
    assert by_hand.group(1) == by_make.group(1)
    assert "make demo" in README
    assert "make test" in README


@pytest.mark.parametrize("page", list(SHOWN))
def test_a_page_shows_the_committed_tables(page: str) -> None:
    assert with_tables(page, text_of(page), ROOT) == text_of(page)


def test_every_method_has_a_row() -> None:
    table = README.split("## Methods")[1].split("## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(methods())


def test_every_command_has_a_row() -> None:
    table = README.split("## Commands")[1].split("## ")[0]
    assert re.findall(r"^\| `lata (\w+)`", table, re.MULTILINE) == [*COMMANDS]


def test_every_folder_has_a_row() -> None:
    table = README.split("## Where to read on")[1].split("## ")[0]
    named = set(re.findall(r"^\| \[?`(\w+)/`", table, re.MULTILINE))
    folders = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")}
    assert named == {name for name in folders - {"runs", "build", "dist"} if not name.endswith(".egg-info")}


def cells(table: str) -> dict[str, dict[str, str]]:
    """Method → column → cell of the first section of a committed table."""
    with (ROOT / "results" / "outcomes" / table).open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    return {row["method"]: row for row in rows if row["section"] in (rows[0]["section"], "controls")}


def percent(value: str | float, digits: int = 0) -> str:
    return f"{abs(100 * float(value)):.{digits}f}"


@pytest.mark.parametrize("page", ["README.md", "results/outcomes/README.md"])
def test_the_sentences_about_the_outcomes_say_what_the_tables_say(page: str) -> None:
    said = " ".join(text_of(page).split())
    mean = {name: float(row["all mean of merged tasks"]) for name, row in cells("mini/tables/overview.csv").items()}
    assert max(mean, key=mean.__getitem__) == "ta_norm_matched"
    assert f"highest mean, {percent(mean['ta_norm_matched'], 1)} %" in said
    harm = cells("mini/tables/forgetting.csv")
    left = sorted(float(row["refusal"]) for name, row in harm.items() if name.startswith("lata_"))
    assert (harm["before (target_ua)"]["refusal"], harm["ta"]["refusal"], harm["ta"]["refused"]) == ("1", "0", "1")
    assert f"schedules leave {percent(left[0])} to {percent(left[-1])} %" in said
    ways = cells("mini_choosing/tables/choosing.csv")
    gains = [percent(ways["ta"][f"{way} minus fixed difference"]) for way in ("grid", "search", "metagpt")]
    gap = float(ways["ta"]["grid normalised"]) - float(ways["lata_log"]["grid normalised"])
    assert f"is {percent(gap)} points above" in said
    if page == "README.md":
        lower = [percent(mean["ta"] - mean[name], 1) for name in ("lata_log", "lata_linear")]
        assert "by {} points for `lata_log`, by {} for `lata_linear`".format(*lower) in said
        assert f"a grid gains it {gains[0]} points" in said
    else:
        assert "a grid gains {} points, a search {}, and MetaGPT, which looks at no data, {}.".format(*gains) in said
        lost = percent(ways["lata_log"]["metagpt minus fixed difference"])
        assert f"MetaGPT's smaller λ cost it {lost} points." in said
        shares = [percent(mean[name], 1) for name in ("lata_linear", "lata_reversed", "depth_linear")]
        told = "`lata_linear` ({} %) on the layers in reverse give {} %, and weights by depth alone {} %"
        assert told.format(*shares) in said


def test_the_counted_verdicts_are_the_committed_ones() -> None:
    with (ROOT / "results/outcomes/mini/claims.csv").open(encoding="utf-8", newline="") as stream:
        verdicts = [row["verdict"] for row in csv.DictReader(stream)]
    counts = [verdicts.count(verdict) for verdict in ("not supported", "inconclusive", "not run")]
    assert (len(verdicts), *counts) == (7, 5, 1, 1)
    told = "Of the seven claims checked, five are not supported, one is inconclusive, one was not run."
    assert told in " ".join(README.split())


def test_the_paper_is_cited_the_same_way_twice() -> None:
    citation = text_of("CITATION.cff")
    pages = re.search(r"pages += \{(\d+)--(\d+)\}", README)
    assert pages is not None
    assert pages.groups() == tuple(re.findall(r'(?:start|end): "(\d+)"', citation))
    for key in ("doi", "url"):
        value = re.search(rf"{key} += \{{(.*)\}}", README)
        assert value is not None
        assert f"{key}: {value.group(1)}\n" in citation
    named = re.findall(r"family-names: (\w+), given-names: ([\w-]+)", citation)
    author = re.search(r"author += \{(.*?)\}", README, re.DOTALL)
    assert author is not None
    assert " ".join(author.group(1).split()) == " and ".join(f"{family}, {given}" for family, given in named)
