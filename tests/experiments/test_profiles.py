"""Profiles of another family: both tables that hold one are read, and what is no profile is refused in a line."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from experiments.config.profiles import profile

PROFILE = (("code", (0.98, 0.5, -0.25)), ("math", (1.0, None, 0.75)))


def written(folder: Path, text: str) -> str:
    file = folder / "other.csv"
    file.write_text(text, encoding="utf-8")
    return str(file)


def test_a_mapping_a_profile_and_both_tables_give_the_same(tmp_path: Path) -> None:
    assert profile({"math": [1, None, 0.75], "code": [0.98, 0.5, -0.25]}) == PROFILE
    assert profile(PROFILE) == PROFILE
    assert profile([["math", [1.0, None, 0.75]], ["code", [0.98, 0.5, -0.25]]]) == PROFILE
    index = pd.Index(["0", "1", "2"], name="layer")
    pd.DataFrame({"math": [1.0, float("nan"), 0.75], "code": [0.98, 0.5, -0.25]}, index).to_csv(tmp_path / "a.csv")
    assert profile(tmp_path / "a.csv") == profile(str(tmp_path / "a.csv")) == PROFILE
    study = (
        "section,layer,similarity code,similarity math,lata_linear code,lata_linear math\n"
        ",0,0.98,1,0,0\n,1,0.5,,0.5,1\n,2,-0.25,0.75,1,1\n"
    )
    assert profile(written(tmp_path, study)) == PROFILE


def test_a_number_keeps_every_digit_of_the_table(tmp_path: Path) -> None:
    number = 0.1 + 0.2
    pd.DataFrame({"math": [number]}, pd.Index(["0"], name="layer")).to_csv(tmp_path / "a.csv")
    assert profile(tmp_path / "a.csv") == (("math", (number,)),)


def test_the_committed_similarities_of_the_miniature_family_are_a_profile() -> None:
    table = Path(__file__).resolve().parents[2] / "results" / "outcomes" / "mini" / "tables" / "similarity.csv"
    found = profile(table)
    assert [task for task, _ in found] == ["code", "math", "ua"]
    assert all(len(numbers) == 12 and all(0 < number <= 1 for number in numbers) for _, numbers in found)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no layers and tasks"),
        ("layer\n0\n", "has no layers and tasks"),
        ("block,math\n0,0.5\n", "has no layers and tasks"),
        (
            "layer,math\n0.mlp,0.5\n0.attention,0.5\n",
            "the blocks 0, 1, 2, …; measure with granularity=block outside=keep",
        ),
        (
            "layer,math\nmodel.embed_tokens.weight,0.5\n0,0.5\n1,0.5\n",
            "the blocks 0, 1, 2, …; measure with granularity=block outside=keep",
        ),
        ("layer,math\n1,0.5\n2,0.5\n", "rows must be the blocks"),
        ("layer,math\n0,0.5\n0,0.5\n", "rows must be the blocks"),
        ("layer,math\n0,high\n", "math of layer 0 is not a number"),
        ("layer,math\n0,1.5\n", r"task 'math' a list of numbers in \[-1, 1\]"),
        ("layer,math\n0,inf\n", r"task 'math' a list of numbers in \[-1, 1\]"),
    ],
)
def test_a_table_that_is_no_profile_is_refused_with_its_name(tmp_path: Path, text: str, message: str) -> None:
    file = written(tmp_path, text)
    with pytest.raises(ValueError, match=message) as caught:
        profile(file)
    assert str(caught.value).startswith(f"profile={file}")


def test_no_profile_and_no_file_are_refused_with_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"profile is missing: give the file of experiments\.analyze output=FILE"):
        profile(None)
    with pytest.raises(ValueError, match=r"cannot be read .* give a CSV file or task → list"):
        profile(tmp_path / "nothing.csv")
    with pytest.raises(ValueError, match="profile must give task → list"):
        profile(3)
