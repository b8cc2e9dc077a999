"""A stranger's YAML is read as data: what goes beyond is refused, at once and in one line."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
import yaml

from lata.untrusted.plain_yaml import DEEPEST, LARGEST, LONGEST, MOST, read_yaml


def file(folder: Path, text: str | bytes) -> Path:
    path = folder / "file.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_plain_data_are_read_as_yaml_reads_them(tmp_path: Path) -> None:
    content = {
        "text": "modèle, ${oc.env:HOME} = (1)",
        "numbers": [1, -2.5, 1e-05, float("inf")],
        "words": ["no", "1e5", "null", "", "12345e67"],
        "nested": {"yes": True, "none": None},
    }
    assert read_yaml(file(tmp_path, yaml.safe_dump(content, allow_unicode=True))) == content


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: &x 1", "line 1: anchors and aliases are not read"),
        ("a: 1\nb: *x", "line 2: anchors and aliases are not read"),
        ("a: !!python/object/apply:os.system [id]", "line 1: tags are not read"),
        ("a: !!binary aGk=", "tags are not read"),
        ("!local {a: 1}", "tags are not read"),
        ("a: 1\na: 2", "line 2: 'a' stands twice"),
        ("a: {b: 1, c: 2, b: 1}", "'b' stands twice"),
        ("<<: {a: 1}", "a key is not a text"),
        ("1: a", "a key is not a text"),
        ("no: a", "a key is not a text"),
        ("[1, 2]: a", "a key is not a text"),
        ("a: 1\n---\nb: 2", "but found another document"),
        ("a: " + "[" * (DEEPEST + 1), "too many levels"),
        ("a: '" + "x" * (LONGEST + 1) + "'", "a value is too long"),
        ("a: [" + "1," * MOST + "]", "too many values"),
        ("a: [1", "is not plain YAML: line 1: "),
        ("a: \x1b[31m", "is not plain YAML: "),
        (b"a: \xff", "is no text in UTF-8 (byte 3)"),
        ("- a", "holds no keys with values"),
        ("", "holds no keys with values"),
        ("a: " + "1" * 5000, "is not plain YAML: "),
        ("a: 2020-13-45", "is not plain YAML: "),
        (b"a: " + b"x" * LARGEST, "more than"),
    ],
)
def test_everything_else_is_refused_in_one_line(text: str | bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the text is compared below
        read_yaml(file(tmp_path, text))
    assert message in str(caught.value)
    assert "file.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("piece", ["[", "{a: ", "a: ", "- ", "? ", "a,", "'", "1:", "%", "!", "&a ", "\n", "x: 1\n"])
def test_no_file_takes_long(piece: str, tmp_path: Path) -> None:
    path = file(tmp_path, piece * (LARGEST // len(piece)))
    begun = time.process_time()
    with pytest.raises(ValueError, match=r"file\.yaml"):
        read_yaml(path)
    assert time.process_time() - begun < 5


def test_only_a_regular_file_is_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for place, message in (
        (tmp_path / "pipe", "no regular file"),
        (Path("/dev/zero"), "no regular file"),
        (tmp_path / "none", "No such file"),
        (tmp_path, "no regular file"),
    ):
        with pytest.raises(ValueError, match=message):
            read_yaml(place)
    (tmp_path / "link").symlink_to(file(tmp_path, "a: 1"))
    assert read_yaml(tmp_path / "link") == {"a": 1}
