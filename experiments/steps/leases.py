"""Who works on an entry of the store right now, where many processes on many machines share its folder.

A claim is a file ``claims/<kind>/<key>.<generation>``, created with ``O_EXCL``: of several processes that try, one
succeeds, on NFS as well. The highest generation counts. A thread of the holder touches the file; once it has not
been touched for `expiry` seconds the holder is taken for dead, and whoever creates the next generation succeeds it.
Nothing is renamed, so of those who find the same dead claim one succeeds it.

Age is the difference of two times that the file server gave: those of the claim and of a file made beside it just
now. Clocks of machines that disagree do not matter. A holder of this machine that has ended is seen at once.

Claims only keep work from being done twice. No result depends on them: entries of the store are named by their
content's causes and the first writer wins. A holder that slept longer than `expiry` and its successor do the same
work and write the same entry. Whoever takes a claim looks into the store again before it begins, for the last
holder may have finished between the first look and the taking.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import platform
import tempfile
import threading
import uuid
from functools import lru_cache
from pathlib import Path
from types import TracebackType

from experiments.steps.store import named

#: Seconds without a sign of life after which a holder counts as dead. NFS clients may show times a minute late.
EXPIRY = 180.0

#: Signs of life in the time of an expiry.
_BEATS = 6


class Claims:
    """The claims below a folder that every process shares.

    Args:
        root: their folder is ``root/claims``; made when the first is taken.
        expiry: seconds without a sign of life after which a holder counts as dead; the same in all processes.

    Raises:
        ValueError: `expiry` is not positive.
    """

    def __init__(self, root: Path, expiry: float = EXPIRY) -> None:
        if not expiry > 0:
            raise ValueError(f"expiry={expiry} must be a positive number of seconds")
        self.root = root / "claims"
        self.expiry = expiry

    def take(self, kind: str, key: str) -> Claim | None:
        """Claim an entry; None where somebody alive has it, this process included."""
        folder = self.root / kind
        folder.mkdir(parents=True, exist_ok=True)
        newest = max(_generations(folder, key), default=-1)
        if newest >= 0 and self._is_alive(_file(folder, key, newest)):
            return None
        return Claim.create(folder, key, newest + 1, self.expiry / _BEATS)

    def alive(self, kind: str, key: str) -> bool:
        """Whether somebody alive has claimed the entry."""
        folder = self.root / kind
        newest = max(_generations(folder, key), default=-1)
        return newest >= 0 and self._is_alive(_file(folder, key, newest))

    def _is_alive(self, file: Path) -> bool:
        try:
            with file.open("rb") as stream:
                # Looked at through the open file: opening makes an NFS client ask the server again.
                touched = os.fstat(stream.fileno()).st_mtime
                content = stream.read()
        except OSError as error:
            # An NFS client can find a name for a while after the file went.
            if error.errno not in (errno.ENOENT, errno.ESTALE):
                raise
            return False
        try:
            holder = json.loads(content)
            ended = holder["machine"] == _machine() and not _is_running(holder["pid"])
        except (ValueError, TypeError, KeyError):
            # Its holder is between creating and writing, or was ended there: only its age can tell.
            ended = False
        return not ended and _now(file.parent) - touched < self.expiry


class Claim:
    """A claim of this process; it gives signs of life until it is released. See `Claims.take`.

    Attributes:
        file: of the claim.
    """

    def __init__(self, file: Path, token: str, beat: float) -> None:
        self.file = file
        self._token = token
        self._released = threading.Event()
        threading.Thread(target=self._give_signs_of_life, args=(beat,), daemon=True).start()

    @classmethod
    def create(cls, folder: Path, key: str, generation: int, beat: float) -> Claim | None:
        """Make the file of a generation and touch it every `beat` seconds; None where it is there already."""
        file = _file(folder, key, generation)
        try:
            handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        except FileExistsError:
            return None
        token = uuid.uuid4().hex
        holder = {"host": platform.node(), "machine": _machine(), "pid": os.getpid(), "token": token}
        try:
            with named(file), open(handle, "w", encoding="utf-8") as stream:
                json.dump(holder, stream)
            # Without a time of its own, which makes the file server set its clock's.
            os.utime(file)
        except BaseException:
            # Empty, on a full disk say, it would pass for the claim of somebody alive until it is old.
            file.unlink(missing_ok=True)
            raise
        return cls(file, token, beat)

    def release(self) -> None:
        """Give the entry up, whether its work was finished or failed; what dead holders left goes as well."""
        self._released.set()
        key, _, generation = self.file.name.rpartition(".")
        if not self._is_mine():
            return
        # What cannot be removed is without signs of life from now on; the work is in the store by itself.
        with contextlib.suppress(OSError):
            for older in _generations(self.file.parent, key):
                if older < int(generation):
                    _file(self.file.parent, key, older).unlink(missing_ok=True)
            self.file.unlink(missing_ok=True)

    def __enter__(self) -> Claim:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _is_mine(self) -> bool:
        """False after another process took this one for dead, finished and removed the file."""
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            return bool(json.loads(self.file.read_bytes())["token"] == self._token)
        return False

    def _give_signs_of_life(self, beat: float) -> None:
        while not self._released.wait(beat):
            try:
                os.utime(self.file)
            except FileNotFoundError:
                return
            except OSError:
                # A file server that does not answer for a while; the next sign may get through.
                continue


def _file(folder: Path, key: str, generation: int) -> Path:
    return folder / f"{key}.{generation}"


def _generations(folder: Path, key: str) -> list[int]:
    """The generations of a key's claim that are there."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    parts = [name.rpartition(".") for name in names]
    return [int(generation) for start, _, generation in parts if start == key and generation.isdecimal()]


def _now(folder: Path) -> float:
    """The file server's clock, in seconds."""
    with tempfile.NamedTemporaryFile(prefix=".now-", dir=folder) as stream:
        os.utime(stream.fileno())
        return os.fstat(stream.fileno()).st_mtime


@lru_cache
def _machine() -> str:
    """A name for where this process's number means something: this boot of this machine, this container."""
    parts = [platform.node()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _is_running(pid: int) -> bool:
    """Whether a process of this machine is there and has not ended; True where that cannot be told."""
    with contextlib.suppress(OSError, IndexError):
        # Ended, but its parent has not asked for its status yet: a signal would still find it.
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0] not in "ZX"
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
