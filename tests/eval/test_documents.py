"""Documents are read whole and as they are; a file that is wrong is refused by the line."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from eval.documents.files import mini, read_documents


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
        ('{"q": "a", "rule": 5}\n', r"line 1: field 'rule' is a int, not a string"),
        ('{"q": "a", "cluster": 5}\n', r"line 1: field 'cluster' is a int, not a string"),
        ('{"q": "a"}\n{"q": "b", "rule": "("}\n', r"line 2: field 'rule' is no regular expression \(missing \)"),
        ("\n\n", r"holds no documents"),
        ("", r"holds no documents"),
    ],
)
def test_wrong_data_are_refused_with_the_line(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "x_test.jsonl"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=message) as caught:
        read_documents(path, ["q"], ["rule"])
    assert str(path) in str(caught.value)


def test_a_compressed_file_reads_as_the_plain_one_and_half_of_it_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x_test.jsonl.gz"
    whole = gzip.compress(b'{"q": "a"}\n' * 50)
    path.write_bytes(whole)
    assert len(read_documents(path, ["q"])) == 50
    for broken in (whole[: len(whole) // 2], b"plain text"):
        path.write_bytes(broken)
        with pytest.raises(ValueError, match=r"x_test\.jsonl\.gz is not a whole gzip file"):
            read_documents(path, ["q"])


def test_text_that_is_not_utf8_is_refused_by_the_line(tmp_path: Path) -> None:
    path = tmp_path / "x_test.jsonl"
    path.write_bytes(b'{"q": "a"}\n{"q": "\xe9"}\n')
    with pytest.raises(ValueError, match=r"line 2: not UTF-8 text"):
        read_documents(path, ["q"])


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
