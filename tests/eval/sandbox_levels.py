"""Which of the sandbox's levels this system has, and things for programs to aim at."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from eval.sandbox import run_programs

STRONG = ("sandbox-exec",) if sys.platform == "darwin" else ("bubblewrap", "namespaces", "landlock", "seccomp")
#: Time that no machine needs, however busy: for programs that must not end by it.
PLENTY_S = 60.0


@functools.cache
def works(name: str) -> bool:
    try:
        return run_programs(["1"], force_level=name, timeout_s=PLENTY_S)[0].passed
    except (RuntimeError, OSError):
        return False


def need(name: str) -> str:
    """``name``, or a skip where this system does not have that level."""
    if not works(name):
        pytest.skip(f"the level {name} does not work on this system")
    return name


@contextlib.contextmanager
def precious_file() -> Iterator[Path]:
    """A file that anybody may read, change, delete or rename."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        file = Path(folder, "victim")
        file.write_text("precious")
        file.chmod(0o666)
        yield file


def root_of_the_machine() -> bool:
    """Whether this user is root outside every user namespace, whom the kernel's limit on processes spares."""
    if os.geteuid() != 0:
        return False
    return Path("/proc/self/uid_map").read_text().split() == ["0", "0", "4294967295"]


def root_with_capabilities() -> bool:
    """Whether this user is root with rights that a program in the sandbox gives up."""
    status = Path("/proc/self/status").read_text().splitlines()
    permitted = next(line.split()[1] for line in status if line.startswith("CapPrm:"))
    return os.geteuid() == 0 and int(permitted, 16) != 0


def descendants(pid: int, at_least: int = 0) -> list[int]:
    """Processes below ``pid``; none where there are fewer than ``at_least``."""
    found = [pid]
    for parent in found:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            found += [int(child) for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]
    return found[1:] if len(found) > at_least else []


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
