"""Finished steps by key: a step whose key is in the store is not run again.

A key is a hash of everything that decides the step's result. An entry is a folder of files with a digest of each
in ``entry.json``; it is written under a temporary name, synced and renamed, so that it is there whole or not at
all. A damaged entry counts as missing, with a warning.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


def key_of(**parts: Any) -> str:
    """sha256 of `parts` as canonical JSON: equal parts give equal keys on every machine."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=True, allow_nan=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


class Store:
    """Entries of one kind of step below a folder.

    Args:
        root: folder of the store; made when the first entry is written.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, kind: str, key: str) -> Path:
        """Folder of the entry, whether it exists or not."""
        return self.root / kind / key[:2] / key

    def get(self, kind: str, key: str) -> dict[str, bytes] | None:
        """The entry's files by name, or None where there is none or it is damaged."""
        folder = self.path(kind, key)
        if not folder.is_dir():
            return None
        try:
            digests = json.loads((folder / "entry.json").read_text(encoding="utf-8"))
            files = {name: (folder / name).read_bytes() for name in digests}
            if files and all(hashlib.sha256(data).hexdigest() == digests[name] for name, data in files.items()):
                return files
        except (OSError, ValueError, TypeError, AttributeError):
            pass
        warnings.warn(f"damaged cache entry {folder}; it is made again", stacklevel=2)
        return None

    def put(self, kind: str, key: str, files: Mapping[str, bytes]) -> None:
        """Write an entry; the first of several writers wins, for they all write the same."""
        folder = self.path(kind, key)
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{key[:8]}-", dir=folder.parent))
        try:
            digests = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
            for name, data in {**files, "entry.json": json.dumps(digests, indent=1).encode()}.items():
                write_synced(temporary / name, data)
            if folder.is_dir() and self.get(kind, key) is None:
                # Moved aside first: a folder that is being removed must not be taken for an entry.
                aside = temporary / "damaged"
                folder.rename(aside)
                shutil.rmtree(aside, ignore_errors=True)
            try:
                temporary.rename(folder)
            except OSError:
                # Another process has written the same entry in the meantime.
                if not folder.is_dir():
                    raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def named(path: Path) -> Iterator[None]:
    """Let an OSError from inside tell which file it is about: writing to an open one on a full disk names none."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def write_synced(path: Path, data: bytes) -> None:
    """Write a file and wait until it is on the disk."""
    with named(path), path.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def write_atomic(path: Path, data: bytes) -> None:
    """Replace a file by a new one in one step: a reader sees the old or the new content, never a part."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        write_synced(temporary, data)
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def check_writable(key: str, folder: Path, advice: str) -> None:
    """ValueError where the folder that a configuration names under `key` cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(f"{key}={folder} cannot be written: {error.strerror}; {advice}") from error
