"""Documents are read whole and as they are; a file that is wrong is refused by the line."""

from __future__ import annotations

from pathlib import Path

import pytest

from eval.data import mini, read_documents


def test_fields_are_kept_as_they_are_and_others_left_out(tmp_path: Path) -> None:
    path = tmp_path / "x_test.jsonl"
    path.write_text('{"q": " a\\u2028b\\n", "extra": 1, "cluster": "c"}\n\n{"q": "\\u00e9"}\n', encoding="utf-8")
    assert read_documents(path, ["q"], ["rule"]) == [
        {"q": " a\u2028b\n", "rule": None, "cluster": "c"},
        {"q": "\u00e9", "rule": None, "cluster": None},
    ]


def test_an_unescaped_line_separator_does_not_split_a_line(tmp_path: Path) -> None:
    path = tmp_path / "x_test.jsonl"
    path.write_text('{"q": "a\u2028b"}\n', encoding="utf-8")
    assert read_documents(path, ["q"])[0]["q"] == "a\u2028b"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"q": "a"}\n{"q": \n', r"line 2: not valid JSON"),
        ('{"q": "a"}\n\n[1]\n', r"line 3: expected a JSON object, found list"),
        ('{"q": "a"}\n{"p": "b"}\n', r"line 2: field 'q' is missing\. Needed: q"),
        ('{"q": 5}\n', r"line 1: field 'q' is a int, not a string"),
        ("\n\n", r"holds no documents"),
        ("", r"holds no documents"),
    ],
)
def test_wrong_data_are_refused_with_the_line(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "x_test.jsonl"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=message) as caught:
        read_documents(path, ["q"])
    assert str(path) in str(caught.value)


def test_a_missing_file_is_refused_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"x_dev\.jsonl\. Set eval\.data_dir"):
        mini(name="x", fields=["q"], data_dir=str(tmp_path), split="dev")


def test_without_a_folder_the_task_is_named() -> None:
    with pytest.raises(ValueError, match="task 'x' reads local files"):
        mini(name="x", fields=["q"])


def test_the_split_chooses_the_file(data_dir: Path) -> None:
    fields = ["question", "answer"]
    test = mini(name="gsm8k", fields=fields, data_dir=str(data_dir))["test"]
    dev = mini(name="gsm8k", fields=fields, data_dir=str(data_dir), split="dev", version=3)["test"]
    assert test["question"][:] == dev["question"][:][::-1]
