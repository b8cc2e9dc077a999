from __future__ import annotations

from pathlib import Path

import pytest

from experiments.steps.store import Store, key_of, write_atomic


def test_an_entry_comes_back_as_it_was_put(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.get("merge", "ab12") is None
    store.put("merge", "ab12", {"a.json": b"{}", "b.bin": b"\0\1"})
    assert store.get("merge", "ab12") == {"a.json": b"{}", "b.bin": b"\0\1"}


@pytest.mark.parametrize("damage", ["change", "truncate", "delete", "index", "empty", "null"])
def test_a_damaged_entry_counts_as_missing_with_a_warning_and_can_be_made_again(tmp_path: Path, damage: str) -> None:
    store = Store(tmp_path)
    store.put("merge", "ab12", {"a.json": b"good"})
    folder = store.path("merge", "ab12")
    if damage == "change":
        (folder / "a.json").write_bytes(b"evil")
    elif damage == "truncate":
        (folder / "a.json").write_bytes(b"")
    elif damage == "delete":
        (folder / "a.json").unlink()
    else:
        (folder / "entry.json").write_text({"index": "{", "empty": "{}", "null": "null"}[damage])
    with pytest.warns(UserWarning, match="damaged cache entry"):
        assert store.get("merge", "ab12") is None
    with pytest.warns(UserWarning, match="damaged cache entry"):
        store.put("merge", "ab12", {"a.json": b"good"})
    assert store.get("merge", "ab12") == {"a.json": b"good"}


def test_a_second_writer_of_the_same_entry_changes_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for _ in range(2):
        store.put("merge", "ab12", {"a.json": b"good"})
    assert [p.name for p in store.path("merge", "ab12").parent.iterdir()] == ["ab12"]


def test_keys_depend_on_content_and_not_on_order() -> None:
    assert key_of(a=1, b={"x": 1, "y": 2}) == key_of(b={"y": 2, "x": 1}, a=1)
    assert key_of(a=1) != key_of(a=2)
    assert key_of(a=1) != key_of(b=1)


def test_an_atomic_write_replaces_the_whole_file_and_leaves_no_other(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    write_atomic(target, b"one")
    write_atomic(target, b"two")
    assert target.read_bytes() == b"two"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]
