"""Turning what a user names, a folder or a model on the Hugging Face hub, into a folder on this disk."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

#: What is fetched: weights, configs, tokenizer and chat template; never code, never copies in other formats.
WANTED = ["*.safetensors", "*.json", "*.jinja", "*.model", "*.spm", "*.tiktoken", "*.txt"]
#: Copies in other formats; every folder but ``additional_chat_templates``.
UNWANTED = ["[!a]*/*", "a[!d]*/*", "ad[!d]*/*", "consolidated*"]

_HUB_ID = re.compile(r"(?P<name>\w[\w.-]*/\w[\w.-]*)(@(?P<revision>[\w./-]+))?", re.ASCII)


@dataclass(frozen=True)
class Located:
    """A source on this disk.

    Attributes:
        folder: where its files are.
        source: a name that finds the same files again: the absolute folder, or ``org/name@commit``.
    """

    folder: Path
    source: str


def is_id(source: str) -> bool:
    """Whether `source` reads like ``org/name`` or ``org/name@revision``."""
    return _HUB_ID.fullmatch(source) is not None


def is_plausible(source: str) -> bool:
    """Whether `source` is a folder, or reads like a hub id."""
    return is_folder(source) or is_id(source)


def is_folder(source: str) -> bool:
    """Whether `source`, any text at all, is a folder here."""
    return os.path.isdir(os.path.expanduser(source))


def locate(source: str) -> Located:
    """Find `source`: an existing folder, or else a hub id ``org/name`` or ``org/name@revision``, fetched if need be.

    Raises:
        ValueError: it is neither, or the hub does not give it; the line says what to do.
    """
    if is_folder(source):
        folder = Path(source).expanduser().resolve()
        return Located(folder, str(folder))
    if os.path.exists(os.path.expanduser(source)):
        raise ValueError(f"{source} is a file; give the folder that holds it")
    parts = _HUB_ID.fullmatch(source)
    if parts is None:
        raise ValueError(
            f"{source} is no folder, and no hub id either (org/name or org/name@revision); mend the path"
        )
    snapshot = _fetch(source, parts["name"], parts["revision"])
    return Located(snapshot, f"{parts['name']}@{snapshot.name}")


def _fetch(source: str, name: str, revision: str | None) -> Path:
    from huggingface_hub import errors, snapshot_download

    head = f"{source} is no folder here, and as a hub id "
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=WANTED, ignore_patterns=UNWANTED))
    except errors.GatedRepoError:
        reason = f"it is gated: accept its licence on https://huggingface.co/{name} and log in with `hf auth login`"
    except errors.RevisionNotFoundError:
        reason = f"it has no revision {revision}; choose one listed on https://huggingface.co/{name}/commits/main"
    except errors.RepositoryNotFoundError:
        reason = "it is not on the hub, or it is private: check the name, or log in with `hf auth login`"
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled):
        reason = "it is neither cached nor can the hub be reached: unset HF_HUB_OFFLINE, go online, or give a folder"
    except (OSError, errors.HFValidationError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        reason = f"it could not be fetched ({first}): try again, or give a folder"
    raise ValueError(head + reason)


def push(folder: Path, name: str, instead: Mapping[str, bytes | None]) -> str:
    """Upload a model folder to ``org/name``, which is made as a private repository where it does not exist.

    Args:
        folder: the model.
        name: ``org/name``.
        instead: file name → content to upload instead of the folder's own; None leaves it out.

    Returns:
        The address of the model.

    Raises:
        ValueError: the hub refuses it, or cannot be reached; the model stays where it is.
    """
    from huggingface_hub import CommitOperationAdd, HfApi, errors

    if _HUB_ID.fullmatch(name) is None or "@" in name:
        raise ValueError(f"push={name} is no hub id; give org/name")
    files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    contents: dict[str, str | bytes | None] = {file: str(path) for file, path in files.items()}
    contents.update({file: content for file, content in instead.items() if file in files})
    operations = [CommitOperationAdd(file, content) for file, content in contents.items() if content is not None]
    try:
        api = HfApi()
        address = str(api.create_repo(name, private=True, exist_ok=True))
        api.create_commit(name, operations, commit_message="Upload a merged model")
    except (OSError, ValueError, errors.HFValidationError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(
            f"{folder} could not be pushed to {name} ({first}): log in with `hf auth login`, go online, and try again"
        ) from None
    return address
