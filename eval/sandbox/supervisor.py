"""Runs generated programs and their tests, each in a forked process of its own under limits.

The sandbox's own process executes this file. It reads one JSON object from standard input: ``level``, ``root`` (an
empty folder), ``caller`` (a process id), ``timeout_s``, ``wall_s``, ``memory_bytes``, ``workers``, ``modules`` to
import once, and ``programs`` and ``tests``: a file descriptor each, with an offset and a size for every program. It
isolates itself once, then writes one JSON line a program: ``[index, status, reason]``. It refuses to run anything at
a weaker level than asked for. It never reads a program or a test itself, so that no program has in its memory, which
is a copy of this process's, what its test expects. Standard library only; nothing of the caller's environment,
packages or other open files is here.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from roles import check, serve

#: As much as a pipe takes at once; a verdict's 200 characters need at most 12 bytes each.
REPORT_BYTES = select.PIPE_BUF
OPEN_FILES = 32


def limit(kind: int, value: int, margin: int = 0) -> None:
    """Lower a resource limit to ``value``, its hard bound ``margin`` above; never raise one."""
    _, hard = resource.getrlimit(kind)
    top = value + margin if hard == resource.RLIM_INFINITY else min(value + margin, hard)
    resource.setrlimit(kind, (min(value, top), top))


def confine(job: dict[str, Any], keep: tuple[int, ...]) -> None:
    """Everything that stands between what is about to run and the machine. Only the files ``keep`` stay open."""
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR) if job["null"] < 0 else job["null"]
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    for below, above in zip((2, *sorted(keep)), (*sorted(keep), 4096), strict=True):
        os.closerange(below + 1, above)
    os.environ.clear()
    limit(resource.RLIMIT_CPU, int(job["timeout_s"] + 0.999), margin=1)  # SIGXCPU, then SIGKILL a second later
    limit(resource.RLIMIT_AS, job["memory_bytes"])
    limit(resource.RLIMIT_FSIZE, 0)
    limit(resource.RLIMIT_NOFILE, OPEN_FILES)
    limit(resource.RLIMIT_CORE, 0)
    if job["filter"] is None:
        limit(resource.RLIMIT_NPROC, 0)  # no effect on root; with the filter, fork is refused to everybody
    else:
        job["drop_privileges"]()
    if job["die_with_parent"] is not None:
        job["die_with_parent"]()  # changing identity clears it, so it comes after
        if os.getppid() != job["supervisor"]:
            os._exit(1)  # the parent ended before this process could ask to go with it
    if job["filter"] is not None:
        job["filter"].install()


def read(file: int, offset: int, size: int) -> Any:
    """The JSON value at that place of an open file."""
    data = b""
    while len(data) < size:
        more = os.pread(file, size - len(data), offset + len(data))
        if not more:
            raise EOFError
        data += more
    return json.loads(data)


def start(job: dict[str, Any], body: Callable[..., None], text: tuple[int, int, int], keep: tuple[int, ...]) -> int:
    """Fork a process that is confined and runs ``body(refusal, text, *keep)``; the files ``keep`` are its alone.

    ``refusal`` is empty, or says why it could not be confined; ``body`` then runs nothing.
    """
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            refusal, content = "", read(*text)
            try:
                confine(job, keep)
            except BaseException as error:
                refusal = f"{type(error).__name__}: {error}"[:200]
            body(refusal, content, *keep)
        os._exit(0)
    for descriptor in keep:
        os.close(descriptor)
    return pid


@dataclass(frozen=True)
class Item:
    """A program that runs, and its test."""

    index: int
    program: int  # process ids
    test: int
    deadline: float

    @classmethod
    def begin(cls, job: dict[str, Any], index: int) -> tuple[int, Item]:
        """Start both; returns the end of a pipe from which the test's verdict can be read, too."""
        (calls, call), (answers, answer), (report, verdict) = os.pipe(), os.pipe(), os.pipe()
        program = start(job, serve, (job["programs"][0], *job["programs"][1][index]), (calls, answer))
        test = start(job, check, (job["tests"][0], *job["tests"][1][index]), (answers, call, verdict))
        return report, cls(index, program, test, time.monotonic() + job["wall_s"])

    def outcome(self, message: bytes | None) -> tuple[str, str]:
        """Stop both, and say what became of the program. No message: its time was over before there was one."""
        program, test = stop(self.program), stop(self.test)
        if message is None:
            return "timeout", "wall-clock limit"
        if not message:
            return ended(test)
        try:
            status, reason = json.loads(message)
            known = status in ("passed", "failed", "gone", "refused") and isinstance(reason, str)
        except (ValueError, TypeError, RecursionError):
            known = False
        if not known:  # at the weakest level a program of root's can write here too
            return "failed", "its verdict was written over"
        return ended(program) if status == "gone" else (status, reason)


def ended(status: int) -> tuple[str, str]:
    """What an exit status says of a process that ended too early."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number == signal.SIGXCPU:
            return "timeout", "processor-time limit"
        return "crashed", signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
    return "failed", f"ended by itself with exit code {os.WEXITSTATUS(status)}"


def stop(pid: int) -> int:
    """Kill a process that has not ended, and its process group; returns its exit status."""
    if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    return os.waitpid(pid, 0)[1]


def run(job: dict[str, Any]) -> None:
    """Run the job's programs, ``workers`` at a time, and print an outcome for each as it ends.

    Raises:
        SystemExit: a process could not be confined.
    """
    job["supervisor"] = os.getpid()
    waiting = list(range(len(job["programs"][1])))[::-1]
    running: dict[int, Item] = {}  # by the pipe of its verdict
    while waiting or running:
        while waiting and len(running) < job["workers"]:
            report, item = Item.begin(job, waiting.pop())
            running[report] = item
        patience = max(0.0, min(item.deadline for item in running.values()) - time.monotonic())
        ready = select.select(list(running), [], [], patience)[0]
        now = time.monotonic()
        for report, item in list(running.items()):
            if report not in ready and now < item.deadline:
                continue
            status, reason = item.outcome(os.read(report, REPORT_BYTES) if report in ready else None)
            os.close(report)
            del running[report]
            if status == "refused":
                for other in running.values():
                    other.outcome(None)
                sys.exit(f"could not confine a program: {reason}")
            print(json.dumps([item.index, status, reason]), flush=True)  # who is killed next loses nothing


def isolate(job: dict[str, Any]) -> None:
    """Shut this process in as far as ``job["level"]`` says, before any program runs (Linux).

    Raises:
        OSError: the kernel does not permit it.
    """
    from landlock import read_only
    from namespaces import die_with_parent, drop_privileges, enter, keep_to_oneself, python_folders
    from seccomp import Filter

    job.update(die_with_parent=die_with_parent, drop_privileges=drop_privileges)
    die_with_parent()
    if job["level"] != "bubblewrap" and os.getppid() != job["caller"]:  # bubblewrap is told to see to this itself
        sys.exit("the caller has ended")
    if job["level"] != "limits":
        job["filter"] = Filter()
    folders = python_folders([path for path in sys.path if path != job["here"]])
    if job["level"] == "namespaces":
        enter(job["root"], folders)
    elif job["level"] == "landlock":
        read_only(folders)
    keep_to_oneself()


def main() -> None:
    """Read the job, isolate, run. An isolation that fails ends the process with its reason on stderr."""
    job = json.loads(sys.stdin.buffer.read())
    for module in job["modules"]:
        importlib.import_module(module)
    job.update(here=sys.path[0], null=os.open(os.devnull, os.O_RDWR), filter=None, die_with_parent=None)
    if sys.platform == "linux":
        isolate(job)
    sys.path.remove(job["here"])  # our own folder, which the programs need not see
    for name, module in list(sys.modules.items()):
        if (getattr(module, "__file__", None) or "").startswith(job["here"]):
            del sys.modules[name]
    run(job)
