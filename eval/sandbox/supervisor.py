"""Runs generated programs, each in a forked child under limits. The sandbox's own process executes this file.

It reads one JSON object from standard input: ``level``, ``root`` (an empty folder), ``caller`` (a process id),
``timeout_s``, ``wall_s``, ``memory_bytes``, ``workers``, ``programs``. It isolates itself once, then writes one JSON
line a program: ``[index, status, reason]``. It refuses to run anything at a weaker level than asked for. Standard
library only; nothing of the caller's environment, packages or open files is here.
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
from typing import Any

#: Imported before the first fork when a program of the batch mentions them, so that each child need not.
COMMON_MODULES = (
    *("typing", "math", "re", "collections", "itertools", "functools", "string", "hashlib", "heapq", "bisect"),
    *("copy", "operator", "random", "datetime", "statistics", "fractions", "decimal", "json"),
)
REPORT_BYTES = 2000
OPEN_FILES = 32


def limit(kind: int, value: int, margin: int = 0) -> None:
    """Lower a resource limit to ``value``, its hard bound ``margin`` above; never raise one."""
    _, hard = resource.getrlimit(kind)
    top = value + margin if hard == resource.RLIM_INFINITY else min(value + margin, hard)
    resource.setrlimit(kind, (min(value, top), top))


def confine(job: dict[str, Any], report: int) -> None:
    """Everything that stands between the program about to run and the machine."""
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR) if job["null"] < 0 else job["null"]
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.closerange(3, report)
    os.closerange(report + 1, 1024)
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


def execute(program: str) -> tuple[str, str]:
    """Run one program as HumanEval's reference does: ``exec`` in an empty namespace; an exception fails it."""
    try:
        exec(compile(program, "<program>", "exec"), {})
    except BaseException as error:  # the program may raise anything, SystemExit included
        return "failed", f"{type(error).__name__}: {error}"[:200]
    return "passed", ""


def child(job: dict[str, Any], program: str, report: int) -> None:
    """Body of a forked child; never returns."""
    try:
        confine(job, report)
    except BaseException as error:
        os.write(report, json.dumps(["refused", f"{type(error).__name__}: {error}"[:200]]).encode())
        os._exit(1)
    try:
        outcome = json.dumps(execute(program)).encode()[:REPORT_BYTES]
    except BaseException:
        outcome = b'["failed", "the program broke the interpreter"]'
    os.write(report, outcome)
    os._exit(0)


def ended(status: int, message: bytes, killed: bool) -> tuple[str, str]:
    """What became of a child, from its exit status and what it reported."""
    if killed:
        return "timeout", "wall-clock limit"
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number == signal.SIGXCPU:
            return "timeout", "processor-time limit"
        return "crashed", signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
    try:
        outcome, reason = json.loads(message)
        return str(outcome), str(reason)
    except ValueError:
        return "failed", f"ended by itself with exit code {os.WEXITSTATUS(status)}"


def run(job: dict[str, Any]) -> None:
    """Run the job's programs, ``workers`` at a time, and print an outcome for each as it ends."""
    job["supervisor"] = os.getpid()
    waiting = list(enumerate(job["programs"]))[::-1]
    running: dict[int, tuple[int, int, float]] = {}  # pipe → program's index, process, deadline
    messages: dict[int, bytes] = {}
    while waiting or running:
        while waiting and len(running) < job["workers"]:
            index, program = waiting.pop()
            report, write_end = os.pipe()
            pid = os.fork()
            if pid == 0:
                child(job, program, write_end)
            os.close(write_end)
            running[report] = (index, pid, time.monotonic() + job["wall_s"])
            messages[report] = b""
        patience = max(0.0, min(deadline for _, _, deadline in running.values()) - time.monotonic())
        ready = select.select(list(running), [], [], patience)[0]
        now = time.monotonic()
        for report, (index, pid, deadline) in list(running.items()):
            killed = now >= deadline
            if report in ready and not killed:
                chunk = os.read(report, REPORT_BYTES)
                messages[report] += chunk
                if chunk and len(messages[report]) <= REPORT_BYTES:
                    continue
            elif not killed:
                continue
            stop(pid)
            _, status = os.waitpid(pid, 0)
            os.close(report)
            del running[report]
            outcome = ended(status, messages.pop(report), killed)
            print(json.dumps([index, *outcome]), flush=True)  # a supervisor that is killed loses nothing


def stop(pid: int) -> None:
    """Kill a child that has not ended, and its process group."""
    if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def isolate(job: dict[str, Any]) -> None:
    """Shut this process in as far as ``job["level"]`` says, before any program runs (Linux).

    Raises:
        OSError: the kernel does not permit it.
    """
    from landlock import read_only
    from namespaces import die_with_parent, drop_privileges, enter, python_folders
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


def main() -> None:
    """Read the job, isolate, run. An isolation that fails ends the process with its reason on stderr."""
    job = json.loads(sys.stdin.buffer.read())
    text = "\n".join(job["programs"])
    for module in COMMON_MODULES:
        if f"import {module}" in text or f"from {module} " in text:
            importlib.import_module(module)
    job.update(here=sys.path[0], null=os.open(os.devnull, os.O_RDWR), filter=None, die_with_parent=None)
    if sys.platform == "linux":
        isolate(job)
    sys.path.remove(job["here"])  # our own folder, which the programs need not see
    run(job)
