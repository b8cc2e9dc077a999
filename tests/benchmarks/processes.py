"""Time whole processes and measure their memory (Linux)."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_INTERVAL = 0.05
_READ = 8 << 20


@dataclass(frozen=True)
class Usage:
    """What one command took.

    Attributes:
        seconds: from its start to its end.
        flush_seconds: what writing its output to the disk took after that; next to nothing where it did so itself.
        peak_bytes: most resident memory at any time, of the process and its descendants together.
        private_bytes: the same without pages of mapped files, which the system can drop.
    """

    seconds: float
    flush_seconds: float
    peak_bytes: int
    private_bytes: int


def measure(command: Sequence[str | Path], output: Path, cwd: Path, env: Mapping[str, str] | None = None) -> Usage:
    """Run `command` to its end; SystemExit with what it printed where it fails."""
    with tempfile.TemporaryFile() as log:
        began = time.perf_counter()
        child = subprocess.Popen(command, cwd=cwd, env=env, stdout=log, stderr=subprocess.STDOUT)
        sampler = _Sampler(child.pid)
        sampler.start()
        # wait4 also gives the peak that the kernel counted, which no sampling misses; Popen.wait would take it away.
        _, status, used = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - began
        child.returncode = os.waitstatus_to_exitcode(status)
        sampler.stop()
        if child.returncode != 0:
            log.seek(0)
            sys.exit(f"{' '.join(map(str, command))}\nfailed:\n{log.read().decode(errors='replace')[-3000:]}")
    began = time.perf_counter()
    flush(files_in(output))
    flushed = time.perf_counter() - began
    return Usage(seconds, flushed, max(used.ru_maxrss * 1024, sampler.resident), sampler.private)


class _Sampler(threading.Thread):
    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.resident = self.private = 0
        self._pid = pid
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.wait(_INTERVAL):
            memory = [_memory(pid) for pid in _tree(self._pid)]
            self.resident = max(self.resident, sum(resident for resident, _ in memory))
            self.private = max(self.private, sum(private for _, private in memory))

    def stop(self) -> None:
        self._ended.set()
        self.join()


def _tree(pid: int) -> list[int]:
    found = [pid]
    for parent in found:
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                found.extend(int(child) for child in children.read_text().split())
            except OSError:  # the thread has ended
                continue
    return found


def _memory(pid: int) -> tuple[int, int]:
    """(resident, private) bytes of one process, shared memory counted as private; zeros once it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0, 0
    kilobytes = {
        key: int(value.split()[0]) for key, _, value in (s.partition(":") for s in lines) if key[:3] in _KEYS
    }
    private = kilobytes.get("RssAnon", 0) + kilobytes.get("RssShmem", 0)
    return kilobytes.get("VmRSS", 0) * 1024, private * 1024


_KEYS = ("VmR", "Rss")


def files_in(folder: Path) -> list[Path]:
    """All files of a folder."""
    return [path for path in sorted(folder.rglob("*")) if path.is_file()]


def flush(files: Iterable[Path]) -> None:
    """Wait until the disk holds the files."""
    for path in files:
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)


def forget(files: Iterable[Path]) -> None:
    """Take the files out of the page cache."""
    for path in files:
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def read(files: Iterable[Path]) -> int:
    """Read the files with two threads and return their bytes; afterwards the page cache holds what it can."""
    parts = [(path, start) for path in files for start in range(0, path.stat().st_size, _READ)]
    descriptors = {path: os.open(path, os.O_RDONLY) for path in {path for path, _ in parts}}
    total = [0, 0]

    def work(index: int) -> None:
        buffer = bytearray(_READ)
        for path, start in parts[index::2]:
            total[index] += os.preadv(descriptors[path], [buffer], start)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for descriptor in descriptors.values():
        os.close(descriptor)
    return sum(total)
