"""Runs model-written programs so that they can harm nothing: in another process, isolated, under limits.

Each batch gets one short-lived Python process without site packages, with an empty environment and an empty
working folder. It isolates itself once and forks one child a program (``supervisor.py``). The best of these
levels that works is taken; ``README.md`` has a table of what each contains, and a test holds it to that:

- ``bubblewrap`` (Linux with ``bwrap``): own network, process, IPC, mount and user namespaces, a read-only file
  system with Python's library only, an empty private /tmp, and the filter of the level ``seccomp``.
- ``namespaces`` (Linux): the same without the tool, where the kernel lets everybody make namespaces.
- ``landlock`` (Linux 5.13 and later): the filter, and Landlock, so that no file but Python's library can be read.
- ``seccomp`` (Linux on x86-64 or ARM64): a filter of system calls that leaves reading files, memory and time:
  no sockets, processes, signals, or writing. Files that the user may read can be read, the caller's
  environment in /proc among them unless the caller is root.
- ``sandbox-exec`` (macOS): a profile that denies network and writing; limits against the rest.
- ``limits``: resource limits alone, only when asked for. Sockets, files and signals are not contained.

Processor time, wall time, memory, file size, open files and the length of a report are limited at every level.
What no level prevents is a program that forges its own success: as in HumanEval's reference, it shares a process
with its test.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LEVELS = {
    "bubblewrap": "bwrap: own namespaces, a read-only file system, a private /tmp, filtered system calls",
    "namespaces": "own namespaces, a read-only file system with Python's library only, filtered system calls",
    "landlock": "filtered system calls: no network, processes, signals or writing; Python's library can be read",
    "seccomp": "filtered system calls: no network, processes, signals or writing; readable files can be read",
    "sandbox-exec": "a macOS profile without network and writing, and resource limits",
    "limits": "resource limits alone: network, files and signals are not contained",
}

#: The reference implementation gives a program three seconds (``code_eval``'s ``timeout``).
TIMEOUT_S = 3.0
MEMORY_BYTES = 512 * 2**20

#: The hash seed is fixed, so that a program that iterates over a set ends the same way every time.
ENVIRONMENT = {"PYTHONHASHSEED": "0"}

#: A machine that is slow for the moment must not look like one without a sandbox.
_PROBE_S = 60.0

_PROFILE = (
    "(version 1)(allow default)(deny network*)(deny file-write*)"
    '(allow file-write* (literal "/dev/null"))(deny signal (target others))'
)
_BOOT = "import sys; sys.path[0] = sys.argv[1]; import supervisor; supervisor.main()"


@dataclass(frozen=True)
class Outcome:
    """How a program ended.

    Attributes:
        status: ``passed``, ``failed`` (an exception, or it ended by itself), ``timeout``, ``crashed`` (a signal).
        reason: a few words on why it did not pass.
    """

    status: str
    reason: str = ""

    @property
    def passed(self) -> bool:
        return self.status == "passed"


def level(allow_weaker: bool = False) -> str:
    """The best level that works here; one of ``LEVELS``.

    Raises:
        ValueError: only resource limits would work and they are not allowed, or not even they do.
    """
    found = _strongest()
    if found is None:
        raise ValueError("generated code cannot be run here: it needs Linux or macOS. Leave humaneval out.")
    if found == "limits" and not allow_weaker:
        raise ValueError(
            "no sandbox works here for generated code (no bwrap, namespaces, Landlock, seccomp or sandbox-exec). "
            "Install bubblewrap, leave humaneval out of eval.tasks, or accept resource limits alone with "
            "eval.allow_weaker_sandbox=true."
        )
    return found


def check(allow_weaker: bool = False) -> str:
    """Fail early where generated code could not be contained; returns the level."""
    return level(allow_weaker)


def describe(allow_weaker: bool = False) -> str:
    """The level that works here, in words."""
    name = level(allow_weaker)
    return f"{name}: {LEVELS[name]}"


def run_programs(
    programs: Sequence[str],
    *,
    timeout_s: float = TIMEOUT_S,
    wall_s: float | None = None,
    memory_bytes: int = MEMORY_BYTES,
    workers: int | None = None,
    allow_weaker: bool = False,
    force_level: str | None = None,
) -> list[Outcome]:
    """Run every program by itself and say how each ended, in the order given.

    Args:
        programs: Python sources; one passes if it runs to its end without an exception.
        timeout_s: processor seconds of one program, rounded up to whole ones.
        wall_s: seconds of one program on the clock; by default twice ``timeout_s``, so that a busy machine does
            not fail programs.
        memory_bytes: address space of one program.
        workers: programs at a time; by default the processor's cores.
        allow_weaker: accept resource limits alone where nothing better works.
        force_level: this level instead of the best one (for tests).

    Raises:
        ValueError: as ``level``.
        RuntimeError: the sandbox itself failed.
    """
    if not programs:
        return []
    job = {
        "programs": list(programs),
        "timeout_s": timeout_s,
        "wall_s": 2 * timeout_s if wall_s is None else wall_s,
        "memory_bytes": memory_bytes,
        "workers": workers or os.cpu_count() or 1,
    }
    name = force_level or level(allow_weaker)
    outcomes = _batch(name, job)
    # A supervisor that was killed takes its batch along: by a program (at the weakest level), or for memory.
    for index in sorted(set(range(len(programs))) - set(outcomes)):
        alone = _batch(name, {**job, "programs": [programs[index]]})
        outcomes[index] = alone.get(0, Outcome("crashed", "its supervisor was killed"))
    return [outcomes[index] for index in range(len(programs))]


def _batch(name: str, job: dict[str, Any]) -> dict[int, Outcome]:
    """One supervisor's outcomes by position; some are missing only if it was killed by a signal."""
    process = _supervise(name, job)
    outcomes: dict[int, Outcome] = {}
    for line in process.stdout.decode().splitlines():
        index, status, reason = json.loads(line)
        if status == "refused":
            raise RuntimeError(f"the sandbox ({name}) could not confine a program: {reason}")
        outcomes[index] = Outcome(status, reason)
    # bwrap reports a signal as a shell does, by a code above 128.
    failed = 0 < process.returncode <= (128 if name == "bubblewrap" else 255)
    if failed or (process.returncode == 0 and len(outcomes) < len(job["programs"])):
        detail = (process.stderr.decode(errors="replace").strip().splitlines() or ["no message"])[-1]
        raise RuntimeError(f"the sandbox ({name}) ended with code {process.returncode}: {detail}")
    return outcomes


@functools.cache
def _strongest() -> str | None:
    """The first of ``LEVELS`` at which a harmless program passes."""
    if not hasattr(os, "fork"):
        return None
    for name in LEVELS:
        try:
            if run_programs(["import typing, json"], force_level=name, timeout_s=_PROBE_S)[0].passed:
                return name
        except (RuntimeError, OSError):
            continue
    return None


def _supervise(name: str, job: dict[str, Any]) -> subprocess.CompletedProcess[bytes]:
    """Run the supervisor on ``job`` in an empty folder of its own."""
    here = str(Path(__file__).resolve().parent)
    prefix: list[str] = []
    python, modules = sys.executable, here
    if name == "bubblewrap":
        from eval.sandbox import bubblewrap

        (prefix, python), modules = bubblewrap.command(here), bubblewrap.INSIDE
    elif name == "sandbox-exec":
        tool = shutil.which("sandbox-exec")
        if sys.platform != "darwin" or tool is None:
            raise OSError("sandbox-exec is macOS only")
        prefix = [tool, "-p", _PROFILE]
    patience = 60 + len(job["programs"]) * (job["wall_s"] + 1)
    with tempfile.TemporaryDirectory(prefix="sandbox-") as root:
        try:
            return subprocess.run(
                [*prefix, python, "-s", "-S", "-B", "-c", _BOOT, modules],
                input=json.dumps({**job, "level": name, "root": root, "caller": os.getpid()}).encode(),
                env=ENVIRONMENT,
                cwd=root,
                capture_output=True,
                timeout=patience,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise RuntimeError(f"the sandbox ({name}) did not end within {patience:.0f} seconds") from error
