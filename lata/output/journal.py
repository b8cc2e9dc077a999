"""The folder in which an output is made: its lock, and the journal that lets a later run go on where one ended."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import threading
import warnings
from pathlib import Path
from typing import Any

from lata.output.files import remove, sync, write_synced


class Lock:
    """An exclusive lock on a folder, which is made where it is missing; it ends with the process at the latest.

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
            warnings.warn(f"{purpose}: no locks on this file system; do not run it twice at a time", stacklevel=4)

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

    Args:
        path: the file; it is written at once.
        key: what the values belong to. Values under another key, and a damaged file, are dropped.
    """

    def __init__(self, path: Path, key: str) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._values: dict[str, dict[str, Any]] = {}
        self._key = key
        with contextlib.suppress(FileNotFoundError, ValueError):
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["key"] == key:
                self._values = content["values"]
        self._store()

    def section(self, name: str) -> dict[str, Any]:
        """The values of a section by name; a copy."""
        with self._lock:
            return dict(self._values.get(name, {}))

    def put(self, section: str, name: str, value: Any) -> None:
        """Keep a value; it is on the disk when this returns."""
        with self._lock:
            self._values.setdefault(section, {})[name] = value
            self._store()

    def _store(self) -> None:
        temporary = self._path.with_suffix(".tmp")
        write_synced(temporary, json.dumps({"key": self._key, "values": self._values}).encode())
        temporary.rename(self._path)
        sync(self._path.parent)
