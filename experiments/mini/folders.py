"""Finished folders: written beside their place, sealed with digests, moved there in one step; and a lock.

A folder is complete if and only if its ``SHA256SUMS`` (the format of ``sha256sum -c``) names every file with the
right digest. A reader never sees half of one.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

log = logging.getLogger(__name__)

SUMS = "SHA256SUMS"


def digest(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    sha = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            sha.update(block)
    return sha.hexdigest()


def sums(folder: Path) -> dict[str, str]:
    """The digests by file that were written down when `folder` was finished."""
    lines = (folder / SUMS).read_text().splitlines()
    return {name: expected for expected, name in (line.split("  ", 1) for line in lines)}


def is_complete(folder: Path) -> bool:
    """Whether every file of `folder` is there with the digest that was written down."""
    try:
        expected = sums(folder)
        there = {path.name for path in folder.iterdir()} - {SUMS}
        return (
            bool(expected)
            and there == expected.keys()
            and all(digest(folder / name) == expected[name] for name in expected)
        )
    except (OSError, ValueError):  # ValueError: a line of SHA256SUMS that is cut off, or bytes that are no text
        return False


def publish(draft: Path, folder: Path) -> None:
    """Seal `draft` and move it to `folder`; if another process was faster and its folder is whole, keep that."""
    files = sorted(path for path in draft.iterdir() if path.name != SUMS)
    (draft / SUMS).write_text("".join(f"{digest(path)}  {path.name}\n" for path in files))
    for path in [*files, draft / SUMS, draft]:
        _sync(path)
    try:
        draft.rename(folder)
    except OSError:
        if not is_complete(folder):
            raise
        shutil.rmtree(draft)
    _sync(folder.parent)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove(folder: Path) -> None:
    """Remove a folder so that nobody finds half of it under its name."""
    grave = folder.with_name(f".removed-{folder.name}-{os.getpid()}")
    folder.rename(grave)
    shutil.rmtree(grave)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on `path` among processes; the system releases it when this process ends in any way."""
    # Imported here: it takes longer to import than all that a finished family needs.
    from filelock import FileLock, Timeout

    lock = FileLock(path)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        log.warning("another process is building in %s; waiting for it", path.parent)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
