"""The table in ``eval/sandbox/README.md``: each cell is tried out, and the text holds what was found."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from sandbox_levels import PLENTY_S, need, precious_file, root_of_the_machine, root_with_capabilities, works

from eval import sandbox
from eval.sandbox import Outcome, Program, run_programs

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the table is about Linux")

LEVELS = ("bubblewrap", "namespaces", "landlock", "seccomp", "limits")
README = Path(sandbox.__file__).with_name("README.md")

#: What each level contains, as the README says it, in the order of ``LEVELS``.
FACTS = {
    "looping without end": "yes | yes | yes | yes | yes",
    "sleeping for ever": "yes | yes | yes | yes | yes",
    "printing without end": "yes | yes | yes | yes | yes",
    "filling memory": "yes | yes | yes | yes | yes",
    "filling the disk": "yes | yes | yes | yes | yes",
    "opening files without end": "yes | yes | yes | yes | yes",
    "starting threads without end": "yes | yes | yes | yes | yes",
    "forking without end": "yes | yes | yes | yes | not as root",
    "opening sockets": "yes | yes | yes | yes | no",
    "killing its parent or another process": "yes | yes | yes | yes | no",
    "leaving files behind": "yes | yes | yes | yes | no",
    "changing or deleting files": "yes | yes | yes | yes | no",
    "reading the home folder": "yes | yes | yes | no | no",
    "reading the caller's environment": "yes | yes | yes | only as root | no",
    "reading its test": "yes | yes | yes | yes | not as root",
    "writing its own verdict": "yes | yes | yes | yes | not as root",
}
CELLS = [
    (act, level, cell) for act, cells in FACTS.items() for level, cell in zip(LEVELS, cells.split(" | "), strict=True)
]

#: These end by their limit on time, so they get a short one and run together.
ENDLESS = {
    "looping without end": "while True: pass",
    "sleeping for ever": "import time\ntime.sleep(10**6)",
    "printing without end": "while True: print('x' * 10**5)",
}
#: These pass where nothing contains them. None does harm: what a program could do without end it does a few times.
BOUNDED = {
    "filling memory": "kept = [bytearray(10**7) for _ in range(100)]",
    "filling the disk": "f = open({victim!r}, 'ab', 0)\nfor _ in range(10): f.write(b'x' * 10**6)",
    "opening files without end": "kept = [open('/dev/null') for _ in range(1000)]",
    "starting threads without end": (
        "import _thread, threading\nthreading.stack_size(32768)\nforever = threading.Event()\n"
        "for _ in range(5000): _thread.start_new_thread(forever.wait, ())"
    ),
    "forking without end": "import os\npid = os.fork()\nif pid == 0: os._exit(0)\nos.waitpid(pid, 0)",
    "opening sockets": "import socket\nsocket.create_connection(('127.0.0.1', {port})).close()",
    "leaving files behind": "open({victim!r} + '-2', 'w').close()",
    "changing or deleting files": "import os\nos.rename({victim!r}, {victim!r} + '-3')",
    "reading the home folder": "assert open({secret!r}).read() == 'precious'",
    "reading the caller's environment": "assert b'password' in open('/proc/{bystander}/environ', 'rb').read()",
}
KILLING = "killing its parent or another process"
KILL = "import os\ntry: os.kill({bystander}, 9)\nexcept OSError: pass\nos.kill(os.getppid(), 9)"

#: These have a test, and pass only by what they do. A function that looks for the test in its own memory, and in the
#: memory and open files of the process that started it; and one that writes a verdict where that process writes its
#: own, then kills it.
SPYING = """
import os, re
word = re.compile(b"kept[-]from[-]the[-]program")  # does not hold what it matches
def found():
    for pid in ("self", os.getppid()):
        for number in range(3, 40):
            try:
                file = os.open(f"/proc/{pid}/fd/{number}", os.O_RDONLY | os.O_NONBLOCK)
                if word.search(os.read(file, 10**6)): return True
            except OSError: pass
        try:
            with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
                for low, high in (line.split()[0].split("-") for line in maps if " rw" in line):
                    memory.seek(int(low, 16))
                    if word.search(memory.read(int(high, 16) - int(low, 16))): return True
        except OSError: pass
    return False
"""
WRITING = """
import os
def found():
    try:
        with open(f"/proc/{os.getppid()}/fd/1", "wb", 0) as file: file.write(b'[0, "passed", ""]\\n')
    except OSError: pass
    os.kill(os.getppid(), 9)
"""
FORGED = {
    "reading its test": Program(SPYING, "", "assert found(), 'kept-from-the-program'", "found"),
    "writing its own verdict": Program(WRITING, "", "assert found()", "found"),
}


@dataclass(frozen=True)
class World:
    """What programs aim at, outside the sandbox."""

    victim: Path
    secret: Path
    listener: socket.socket
    bystander: subprocess.Popen[bytes]

    def aimed(self, program: str) -> str:
        return program.format(
            victim=str(self.victim),
            secret=str(self.secret),
            port=self.listener.getsockname()[1],
            bystander=self.bystander.pid,
        )

    def was_reached(self) -> bool:
        try:
            self.listener.accept()[0].close()
        except BlockingIOError:
            return False
        return True


@contextlib.contextmanager
def world() -> Iterator[World]:
    with precious_file() as victim, precious_file() as secret, socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.setblocking(False)
        waits = [sys.executable, "-S", "-c", "input()"]
        with subprocess.Popen(waits, stdin=subprocess.PIPE, env={"SECRET": "password"}) as bystander:
            yield World(victim, secret, listener, bystander)
            bystander.kill()


def observe(level: str) -> dict[str, bool]:
    """For each act, whether ``level`` contained it: judged by what it did outside where that can be seen."""
    with world() as outside:
        endless = run_programs(list(ENDLESS.values()), force_level=level, timeout_s=1, workers=len(ENDLESS))
        found = dict(zip(ENDLESS, (outcome.status == "timeout" for outcome in endless), strict=True))
        acts = [outside.aimed(program) for program in BOUNDED.values()]
        outcomes = run_programs(acts, force_level=level, timeout_s=PLENTY_S, memory_bytes=128 * 2**20, workers=1)
        found |= dict(zip(BOUNDED, (not outcome.passed for outcome in outcomes), strict=True))
        files = sorted(path.name for path in outside.victim.parent.iterdir())
        sizes = {path.stat().st_size for path in outside.victim.parent.iterdir()} - {0}
        assert found["leaving files behind"] == ("victim-2" not in files)
        assert found["changing or deleting files"] == ("victim" in files)
        assert found["filling the disk"] == (sizes == {len("precious")})
        assert found["opening sockets"] == (not outside.was_reached())
        for act, program in FORGED.items():
            (forged,) = run_programs([program], force_level=level, timeout_s=PLENTY_S)
            found[act] = not forged.passed
        (killing,) = run_programs([outside.aimed(KILL)], force_level=level, timeout_s=PLENTY_S)
        spared = killing != Outcome("crashed", "its supervisor was killed")
        found[KILLING] = spared and outside.bystander.poll() is None and not killing.passed
    return found


@pytest.fixture(scope="module")
def observed() -> dict[str, dict[str, bool]]:
    """All levels at once: most of their time is waiting for a limit."""
    there = [level for level in LEVELS if works(level)]
    with ThreadPoolExecutor(len(LEVELS)) as pool:
        return dict(zip(there, pool.map(observe, there), strict=True))


@pytest.mark.parametrize(("act", "level", "cell"), CELLS)
def test_a_level_contains_what_its_cell_says(
    act: str, level: str, cell: str, observed: dict[str, dict[str, bool]]
) -> None:
    expected = {
        "yes": True,
        "no": False,
        "only as root": root_with_capabilities(),
        "not as root": not root_of_the_machine(),
    }
    assert observed[need(level)][act] == expected[cell]


def test_the_readme_has_the_table() -> None:
    lines = ["| a program that tries | " + " | ".join(LEVELS) + " |", "|---" * (1 + len(LEVELS)) + "|"]
    lines += [f"| {act} | {cells} |" for act, cells in FACTS.items()]
    assert "\n".join(lines) in README.read_text(encoding="utf-8")


def test_every_act_of_the_table_is_tried() -> None:
    assert {*ENDLESS, *BOUNDED, *FORGED, KILLING} == set(FACTS)
    assert set(LEVELS) == set(sandbox.LEVELS) - {"sandbox-exec"}
