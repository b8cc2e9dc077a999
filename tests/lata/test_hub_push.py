"""Uploading a merge: what is sent, and that nothing of the user's folders is."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import huggingface_hub
import pytest

from lata.checkpoints.hub import push


class Api:
    """Stands in for the hub."""

    sent: ClassVar[dict[str, Any]] = {}

    def create_repo(self, name: str, *, private: bool, exist_ok: bool) -> str:
        assert private
        assert exist_ok
        return f"https://huggingface.co/{name}"

    def create_commit(self, name: str, operations: list[Any], *, commit_message: str) -> None:
        Api.sent = {operation.path_in_repo: operation.path_or_fileobj for operation in operations}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("model.safetensors", "recipe.yaml", "mergekit.yaml"):
        (tmp_path / name).write_text(str(tmp_path))
    return tmp_path


def test_what_names_folders_is_sent_in_its_public_form_or_not_at_all(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    address = push(folder, "org/name", {"recipe.yaml": b"public", "mergekit.yaml": None})
    assert address == "https://huggingface.co/org/name"
    assert Api.sent == {"model.safetensors": str(folder / "model.safetensors"), "recipe.yaml": b"public"}


@pytest.mark.parametrize("name", ["name", "org/name@main", "a/b/c"])
def test_a_name_that_is_no_hub_id_is_refused(folder: Path, name: str) -> None:
    with pytest.raises(ValueError, match="give org/name"):
        push(folder, name, {})


def test_a_hub_that_refuses_is_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise OSError("401 Unauthorized\nmore")

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    monkeypatch.setattr(Api, "create_repo", refuse)
    with pytest.raises(ValueError, match=r"could not be pushed to org/name \(401 Unauthorized\): log in"):
        push(folder, "org/name", {})
