"""The folder in which an output is made: its lock, and the journal that lets a later run go on where one ended."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import stat
import threading
import warnings
from pathlib import Path
from typing import Any

from blake3 import blake3

from lata.output.files import remove, sync, write_synced


class AttemptWarning(UserWarning):
    """Something about this attempt to write, not about what is written: it stays out of the model card."""


class Lock:
    """An exclusive lock on a folder, which is made where it is missing; it ends with the process at the latest.

    Not of `filelock`, for this lock lies in the folder that it guards and is removed with it.

    Raises:
        ValueError: another process holds it.
    """

    def __init__(self, folder: Path, purpose: str) -> None:
        self.folder = folder
        self._path = folder / "lock"
        while True:
            folder.mkdir(parents=True, exist_ok=True)
            try:
                self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
            except FileNotFoundError:  # Another process removed the folder just now.
                continue
            try:
                self._acquire(purpose)
                if os.path.samestat(os.fstat(self._file), os.stat(self._path)):
                    return
            except FileNotFoundError:  # Removed after it was opened: what is held is no longer the lock.
                pass
            except BaseException:
                self.release()
                raise
            self.release()

    def _acquire(self, purpose: str) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"{purpose}: another process is at it; wait for it or choose another output") from None
        except OSError as error:
            if error.errno not in (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP):
                raise
            line = f"{purpose}: no locks on this file system; do not run it twice at a time"
            warnings.warn(line, AttemptWarning, stacklevel=4)

    def release(self) -> None:
        """Let others in; the folder stays."""
        os.close(self._file)

    def remove(self) -> None:
        """Remove the folder with all that is in it, the lock last, and let others in."""
        for entry in self.folder.iterdir():
            if entry != self._path:
                remove(entry)
        self._path.unlink()
        # Another process may have begun in the folder since.
        with contextlib.suppress(OSError):
            self.folder.rmdir()
        self.release()


class Journal:
    """JSON values by section and name, in a file that always holds all values of one moment.

    Its first line is a digest of the rest. A file of any other content is discarded with a warning: what a crash, a
    disk or another version of this code has made of it is not taken for what was noted.

    Args:
        path: the file.
        key: what the values belong to. Values under another key are dropped.
    """

    def __init__(self, path: Path, key: str) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._values: dict[str, dict[str, Any]] = {}
        self._key = key
        if os.path.lexists(path):
            try:
                content = self._load()
            except (OSError, ValueError) as error:
                warnings.warn(f"{path} is discarded: {error}; its merge begins anew", AttemptWarning, stacklevel=2)
                remove(path)
            else:
                self._values = content["values"] if content["key"] == key else {}

    def section(self, name: str) -> dict[str, Any]:
        """The values of a section by name; a copy."""
        with self._lock:
            return dict(self._values.get(name, {}))

    def put(self, section: str, name: str, value: Any) -> None:
        """Keep a value; it is on the disk when this returns."""
        with self._lock:
            self._values.setdefault(section, {})[name] = value
            self._store()

    def _load(self) -> dict[str, Any]:
        if not stat.S_ISREG(self._path.lstat().st_mode):
            raise ValueError("it is no file")
        with self._path.open("rb") as stream:
            # Looked at first: the rest can be of any size.
            if re.fullmatch(rb"lata journal [0-9a-f]{64}\n", seal := stream.read(_SEAL)) is None:
                raise ValueError("it is no journal of this version")
            text = stream.read()
        if seal != _seal(text):
            raise ValueError("it is damaged")
        content: dict[str, Any] = json.loads(text)
        return content

    def _store(self) -> None:
        temporary = self._path.with_suffix(".tmp")
        text = json.dumps({"key": self._key, "values": self._values}).encode()
        write_synced(temporary, _seal(text) + text)
        temporary.rename(self._path)
        sync(self._path.parent)


def _seal(text: bytes) -> bytes:
    """The first line of a journal that goes on with `text`."""
    return f"lata journal {blake3(text).hexdigest()}\n".encode()


#: Bytes of `_seal`.
_SEAL = len(_seal(b""))
