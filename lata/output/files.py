"""Small steps on files that must survive a crash, and errors of the disk in words that help."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path


def sync(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def write_synced(path: Path, data: bytes) -> None:
    """Write a file and bring it to the disk; the folder that names it is not synced."""
    path.write_bytes(data)
    sync(path)


def remove(path: Path) -> None:
    """Remove a file or a folder with all that is in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


@contextlib.contextmanager
def explained(purpose: str, folder: Path, needed: Callable[[], int]) -> Iterator[None]:
    """Turn what the operating system refuses into one line that says what to do.

    Args:
        purpose: what was being done; the line begins with it.
        folder: where; it need not exist.
        needed: bytes of weights that are still to be written there.

    Raises:
        ValueError: in place of every OSError.
    """
    try:
        yield
    except OSError as error:
        reason = f"{error.strerror or error}" + (f" ({error.filename})" if error.filename else "")
        advice = "choose another output"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            place = next(parent for parent in (folder, *folder.parents) if parent.exists())
            free = shutil.disk_usage(place).free
            weights = f"{missing:,} bytes of weights are still to be written, " if (missing := needed()) else ""
            reason = f"the disk is full: {weights}{free:,} bytes are free"
            advice = f"make room or {advice}"
        elif error.errno == errno.EFBIG:
            reason = "a file would be too large for this file system or for the limit of this process"
            advice = f"lower shard_bytes or {advice}"
        raise ValueError(f"{purpose}: {reason}; {advice}") from error
