"""Runs model-written programs so that they can harm nothing: in another process, isolated, under limits.

Each batch gets one short-lived Python process without site packages, with an empty environment and an empty
working folder. It isolates itself once and forks two children a program (``supervisor.py``). The best of these
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
A program's test runs in another process, which takes plain values from the program and nothing else (``roles.py``).
"""

from __future__ import annotations

import contextlib
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
from typing import IO, Any

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

#: Imported before the first fork when a program of the batch mentions them, so that each child need not.
COMMON_MODULES = (
    *("typing", "math", "re", "collections", "itertools", "functools", "string", "hashlib", "heapq", "bisect"),
    *("copy", "operator", "random", "datetime", "statistics", "fractions", "decimal", "json"),
)

_PROFILE = (
    "(version 1)(allow default)(deny network*)(deny file-write*)"
    '(allow file-write* (literal "/dev/null"))(deny signal (target others))'
)
_BOOT = "import sys; sys.path[0] = sys.argv[1]; import supervisor; supervisor.main()"


@dataclass(frozen=True)
class Program:
    """A program and how it is tested.

    Attributes:
        code: Python source, as the model completed it.
        prompt: Python source that the test may use: what the data set gives of the program.
        test: Python source that calls ``entry_point``, and raises if the program is wrong. Empty: to run to its end
            is enough, and the program's own process says that it did.
        entry_point: the name of the function under test.
    """

    code: str
    prompt: str = ""
    test: str = ""
    entry_point: str = ""


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
    programs: Sequence[str | Program],
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
        programs: one passes if it and its test run to their ends without an exception. A text has no test.
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
        "timeout_s": timeout_s,
        "wall_s": 2 * timeout_s if wall_s is None else wall_s,
        "memory_bytes": memory_bytes,
        "workers": workers or os.cpu_count() or 1,
    }
    name = force_level or level(allow_weaker)
    complete = [program if isinstance(program, Program) else Program(program) for program in programs]
    outcomes = _batch(name, job, complete)
    # A supervisor that was killed takes its batch along: by a program (at the weakest level), or for memory.
    for index in sorted(set(range(len(programs))) - set(outcomes)):
        alone = _batch(name, job, [complete[index]])
        outcomes[index] = alone.get(0, Outcome("crashed", "its supervisor was killed"))
    return [outcomes[index] for index in range(len(programs))]


#: What became of programs that this process ran. Merges of one study often write the same program.
_outcomes: dict[Program, Outcome] = {}
_KEPT = 20_000


def run_once(programs: Sequence[Program], *, allow_weaker: bool = False) -> list[Outcome]:
    """As `run_programs`, but the same program with the same test runs once in a process, unless a limit ended it."""
    new = list(dict.fromkeys(program for program in programs if program not in _outcomes))
    found = dict(zip(new, run_programs(new, allow_weaker=allow_weaker), strict=True))
    outcomes = [found[program] if program in found else _outcomes[program] for program in programs]
    if len(_outcomes) + len(new) > _KEPT:
        _outcomes.clear()
    _outcomes.update(
        (program, outcome) for program, outcome in found.items() if outcome.status in ("passed", "failed")
    )
    return outcomes


def _batch(name: str, job: dict[str, Any], programs: Sequence[Program]) -> dict[int, Outcome]:
    """One supervisor's outcomes by position; some are missing only if it was killed by a signal."""
    process = _supervise(name, job, programs)
    outcomes: dict[int, Outcome] = {}
    for line in process.stdout.splitlines():
        # At the weakest level a program of root's can write here too: what is no outcome is passed over.
        with contextlib.suppress(ValueError, TypeError, RecursionError):
            index, status, reason = json.loads(line)
            outcomes[index] = Outcome(status, reason)
    # bwrap reports a signal as a shell does, by a code above 128.
    failed = 0 < process.returncode <= (128 if name == "bubblewrap" else 255)
    if failed or (process.returncode == 0 and len(outcomes) < len(programs)):
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


def _supervise(name: str, job: dict[str, Any], programs: Sequence[Program]) -> subprocess.CompletedProcess[bytes]:
    """Run the supervisor on ``programs`` in an empty folder of its own."""
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
    patience = 60 + len(programs) * (job["wall_s"] + 1)
    text = "\n".join(f"{program.code}\n{program.test}" for program in programs)
    mentioned = [module for module in COMMON_MODULES if f"import {module}" in text or f"from {module} " in text]
    with (
        tempfile.TemporaryDirectory(prefix="sandbox-") as root,
        tempfile.TemporaryFile() as codes,
        tempfile.TemporaryFile() as tests,
    ):
        job = {**job, "level": name, "root": root, "caller": os.getpid(), "modules": mentioned}
        job["programs"] = codes.fileno(), [_write(codes, p, "code", "entry_point") for p in programs]
        job["tests"] = tests.fileno(), [_write(tests, p, "prompt", "test", "entry_point") for p in programs]
        try:
            return subprocess.run(
                [*prefix, python, "-s", "-S", "-B", "-c", _BOOT, modules],
                input=json.dumps(job).encode(),
                env=ENVIRONMENT,
                cwd=root,
                pass_fds=(codes.fileno(), tests.fileno()),
                capture_output=True,
                timeout=patience,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise RuntimeError(f"the sandbox ({name}) did not end within {patience:.0f} seconds") from error


def _write(file: IO[bytes], program: Program, *fields: str) -> tuple[int, int]:
    """Put ``fields`` of ``program`` at the file's end; returns where, in bytes, and how many they are."""
    place = file.tell(), file.write(json.dumps({field: getattr(program, field) for field in fields}).encode())
    file.flush()
    return place
