"""What a program must not do fails it, and leaves what it aimed at as it was."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from sandbox_levels import PLENTY_S, STRONG, alive, descendants, need, precious_file

from eval.sandbox import Outcome, run_programs

ROOT = Path(__file__).parents[2]


@pytest.fixture(params=STRONG, scope="module")
def level(request: pytest.FixtureRequest) -> str:
    """Each level that contains programs, where the system has it."""
    return need(request.param)


@pytest.fixture(params=[*STRONG, "limits"], scope="module")
def any_level(request: pytest.FixtureRequest) -> str:
    """Each level, resource limits alone included."""
    return need(request.param)


def one(program: str, level: str) -> Outcome:
    """The outcome of ``program`` between two others that must not notice it."""
    before, outcome, after = run_programs(["x = 1", program, "x = 1"], timeout_s=PLENTY_S, force_level=level)
    assert before.passed
    assert after.passed
    return outcome


def test_the_environment_is_empty(any_level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_TOKEN", "secret")
    assert one("import os\nassert not os.environ, os.environ", any_level).passed
    leak = "data = open('/proc/self/environ').read()\nassert 'secret' in data"
    assert not one(leak, any_level).passed


FORBIDDEN = {
    "fork bomb": "import os\nwhile True: os.fork()",
    "subprocess": "import subprocess\nsubprocess.run(['/bin/true'])",
    "exec": "import os\nos.execv('/bin/true', ['true'])",
    "posix_spawn": "import os\nos.posix_spawn('/bin/true', ['true'], {{}})",
    "internet socket": "import socket\nsocket.socket()",
    "unix socket": "import socket\nsocket.socket(socket.AF_UNIX)",
    "socket pair": "import socket\nsocket.socketpair()",
    "new file": "open('/tmp/sandbox-left-behind', 'w')",
    "new file here": "open('left-behind', 'w')",
    "folder": "import os\nos.mkdir('/tmp/sandbox-left-behind')",
    "link": "import os\nos.symlink('/', '/tmp/sandbox-left-behind')",
    "delete": "import os\nos.unlink({victim!r})",
    "rename": "import os\nos.rename({victim!r}, {victim!r} + 'x')",
    "chmod": "import os\nos.chmod({victim!r}, 0)",
    "truncate": "import os\nos.truncate({victim!r}, 0)",
    "utime": "import os\nos.utime({victim!r})",
    "memory file": "import os\nos.memfd_create('x')",
    "kill parent": "import os\nos.kill(os.getppid(), 9)",
    "kill all": "import os\nos.kill(-1, 9)",
    "kill the caller": "import os\nos.kill({caller}, 9)",
    "kill by thread": "import ctypes\nassert ctypes.CDLL(None).tgkill({caller}, {caller}, 9) == 0",
    "raise limits": "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (1, 1))",
    "ptrace": "import ctypes\nassert ctypes.CDLL(None).ptrace(16, {caller}, 0, 0) == 0",
    "unshare": "import ctypes\nassert ctypes.CDLL(None).unshare(0x10000000) == 0",
    "mount": "import ctypes\nassert ctypes.CDLL(None).mount(b'x', b'/tmp', b'tmpfs', 0, None) == 0",
    "io_uring": "import ctypes\nassert ctypes.CDLL(None).syscall(425, 1, ctypes.create_string_buffer(256)) >= 0",
    "bpf": "import ctypes\nassert ctypes.CDLL(None).syscall(321, 0, None, 0) >= 0",
    "the caller's environment": "assert b'PATH' in open('/proc/{caller}/environ', 'rb').read()",
    "the caller's memory": "open('/proc/{caller}/mem', 'rb')",
    "root again": "import os\nos.setuid(0)\nos.mkdir('/tmp/sandbox-left-behind')",
    "terminal input": "import fcntl\nfcntl.ioctl(0, 0x5412, b'x')",
}


@pytest.fixture(scope="module")
def forbidden_outcomes(level: str) -> dict[str, Outcome]:
    """The outcome of every forbidden act, all run in one batch; what they aimed at must be as it was."""
    with precious_file() as file:
        before = file.stat()
        time_s = 1.0 if level == "sandbox-exec" else PLENTY_S  # there, forking without end ends by the clock
        programs = [program.format(victim=str(file), caller=os.getpid()) for program in FORBIDDEN.values()]
        outcomes = run_programs([*programs, "x = 1"], timeout_s=time_s, force_level=level)
        assert outcomes.pop().passed
        assert file.read_text() == "precious"
        after = file.stat()
        assert (after.st_mode, after.st_mtime_ns, after.st_ino) == (before.st_mode, before.st_mtime_ns, before.st_ino)
        assert [path.name for path in file.parent.iterdir()] == ["victim"]
        assert not os.path.lexists("/tmp/sandbox-left-behind")
    return dict(zip(FORBIDDEN, outcomes, strict=True))


@pytest.mark.parametrize("attempt", FORBIDDEN)
def test_a_forbidden_act_fails_the_program(level: str, attempt: str, forbidden_outcomes: dict[str, Outcome]) -> None:
    if level == "sandbox-exec" and attempt not in ("internet socket", "new file", "delete", "truncate"):
        pytest.skip("not contained by the macOS profile, or not there")
    assert not forbidden_outcomes[attempt].passed


def test_forbidden_acts_would_pass_without_the_sandbox() -> None:
    """A sample of the table above really does something where nothing contains it."""
    with precious_file() as victim:
        for attempt in (
            "subprocess",
            "posix_spawn",
            "unix socket",
            "socket pair",
            "utime",
            "chmod",
            "truncate",
            "delete",
        ):
            program = FORBIDDEN[attempt].format(victim=str(victim), caller=os.getpid())
            subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("name", ["bubblewrap", "namespaces", "landlock"])
def test_no_file_but_pythons_library_can_be_read(name: str, tmp_path: Path) -> None:
    need(name)
    secret = tmp_path / "secret"
    secret.write_text("x")
    caller = f"/proc/{os.getpid()}/environ"
    for path in (str(secret), caller, "/etc/passwd", "/proc/self/status", "/dev/zero", str(ROOT / "pyproject.toml")):
        outcome = one(f"open({path!r}, 'rb').read(1)", name)
        assert outcome.reason.startswith(("FileNotFoundError", "PermissionError")), (path, outcome)
    assert one("import os, ast, csv\nassert open(os.__file__).read(1)", name).passed


@pytest.mark.parametrize("name", ["bubblewrap", "namespaces"])
def test_other_processes_are_hidden(name: str) -> None:
    assert one("import os\nassert os.getpid() < 50 and os.getppid() <= 2", need(name)).passed


def test_bubblewrap_has_a_private_folder_for_temporary_files(tmp_path: Path) -> None:
    need("bubblewrap")
    assert tmp_path.exists()
    assert one("import os\nassert os.getcwd() == '/tmp' and os.listdir() == []", "bubblewrap").passed


def test_nothing_is_left_behind(any_level: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = descendants(os.getpid())
    sleep = "import time\ntime.sleep(10**6)"
    assert run_programs([sleep], wall_s=0.3, force_level=any_level)[0].status == "timeout"
    assert list(tmp_path.iterdir()) == []
    assert set(descendants(os.getpid())) <= set(before)


def test_killing_the_caller_kills_its_programs(level: str) -> None:
    if level == "sandbox-exec":
        pytest.skip("macOS has no signal on the parent's death")
    call = f"run_programs(['import time; time.sleep(999)'] * 2, force_level={level!r}, timeout_s=500)"
    code = f"from eval.sandbox import run_programs; {call}"
    caller = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    deadline = time.monotonic() + 120
    processes = {"bubblewrap": 5, "namespaces": 4}.get(level, 3)
    while not (family := descendants(caller.pid, processes)) and time.monotonic() < deadline:
        os.sched_yield()
    assert family
    caller.kill()
    caller.wait()
    deadline = time.monotonic() + 120
    while any(alive(pid) for pid in family) and time.monotonic() < deadline:
        os.sched_yield()
    assert not any(alive(pid) for pid in family)


def test_an_unprivileged_user_gets_the_same_containment(tmp_path: Path) -> None:
    setpriv = shutil.which("setpriv")
    if os.geteuid() != 0 or setpriv is None:
        pytest.skip("needs root and setpriv, to become another user; without root, every other test is this one")
    become = [setpriv, "--reuid", "65534", "--regid", "65534", "--clear-groups", "env", f"PYTHONPATH={ROOT}"]
    code = (
        "import os\n"
        "from eval.sandbox import run_programs, level\n"
        "bad = ['import os; os.fork()', 'import socket; socket.socket()', \"open('/tmp/left', 'w')\","
        " 'import os; os.kill(os.getppid(), 9)']\n"
        "leak = f\"open('/proc/{os.getpid()}/environ')\"\n"
        "for name in ('bubblewrap', 'namespaces', 'landlock', 'seccomp'):\n"
        "    programs = ['import math, json', *bad] + [leak] * (name != 'seccomp')\n"
        "    try: outcomes = run_programs(programs, force_level=name)\n"
        "    except (RuntimeError, OSError): continue\n"
        "    assert [o.status for o in outcomes] == ['passed'] + ['failed'] * (len(programs) - 1), (name, outcomes)\n"
        "print(level())"
    )
    for python in (sys.executable, "/usr/bin/python3"):
        probe = subprocess.run([*become, python, "-c", "import eval.sandbox"], capture_output=True, check=False)
        if probe.returncode == 0:
            done = subprocess.run([*become, python, "-c", code], capture_output=True, text=True, check=True)
            assert done.stdout.strip() in STRONG
            return
    pytest.skip("no Python that another user may read")
