"""A process that sees a small file system mounted at a folder, where the machine allows that; nobody else sees it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

_MOUNT = 'mount -t tmpfs -o "size=$1" none "$2" && shift 2 && exec "$@"'


def with_test_modules() -> dict[str, str]:
    """The environment of a process that imports what the tests import."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def run_mounted(place: Path, size: str, script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run Python code with a fresh tmpfs at `place`; the test is skipped where mounting is not allowed.

    Args:
        place: an existing folder.
        size: of the file system, as ``mount`` takes it: ``64k``.
        script: the code; its ``sys.argv[1:]`` are `place` and `arguments`.
        arguments: of the code.
    """

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        within = ["unshare", "-rm", "sh", "-c", _MOUNT, "sh", size, str(place), *command]
        return subprocess.run(within, capture_output=True, text=True, check=False, env=with_test_modules())

    if shutil.which("unshare") is None or run("true").returncode:
        pytest.skip("mounting a file system is not allowed here")
    return run(sys.executable, "-c", script, str(place), *map(str, arguments))
