"""Folders are whole or they are not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.mini import folders


def make(path: Path, text: str) -> Path:
    path.mkdir()
    (path / "a").write_text(text)
    return path


def test_a_published_folder_is_complete_and_its_draft_is_gone(tmp_path: Path) -> None:
    draft, folder = make(tmp_path / "draft", "1"), tmp_path / "folder"
    folders.publish(draft, folder)
    assert folders.is_complete(folder)
    assert not draft.exists()


def test_digests_are_in_the_format_of_sha256sum(tmp_path: Path) -> None:
    folders.publish(make(tmp_path / "draft", "abc"), tmp_path / "folder")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, example of "abc"
    assert (tmp_path / "folder" / folders.SUMS).read_text() == f"{expected}  a\n"


def test_the_faster_of_two_wins(tmp_path: Path) -> None:
    folders.publish(make(tmp_path / "first", "1"), tmp_path / "folder")
    folders.publish(make(tmp_path / "second", "2"), tmp_path / "folder")
    assert (tmp_path / "folder" / "a").read_text() == "1"
    assert not (tmp_path / "second").exists()


def test_a_broken_folder_in_the_way_is_an_error_and_not_lost(tmp_path: Path) -> None:
    make(tmp_path / "folder", "in the way")
    with pytest.raises(OSError, match="not empty"):
        folders.publish(make(tmp_path / "draft", "1"), tmp_path / "folder")
    assert (tmp_path / "folder" / "a").read_text() == "in the way"


@pytest.mark.parametrize("sums", ["", "abc", "\x00", "0" * 64 + "  a\n", "0" * 64 + "  gone\n"])
def test_a_folder_with_wrong_digests_is_not_complete(tmp_path: Path, sums: str) -> None:
    folder = make(tmp_path / "folder", "1")
    (folder / folders.SUMS).write_text(sums)
    assert not folders.is_complete(folder)


def test_a_missing_folder_is_not_complete(tmp_path: Path) -> None:
    assert not folders.is_complete(tmp_path / "nothing")
