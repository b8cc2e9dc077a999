"""The command that starts the sandbox's process under bubblewrap (``bwrap``), where it is installed (Linux).

Bubblewrap gives what ``namespaces.py`` gives, by a small program that many eyes have read and that distributions
permit where they forbid namespaces to everybody else: own user, network, process, IPC and mount namespaces, a
read-only root that holds Python's library, the interpreter and /dev/null, an empty private /tmp, and no capability.
The filter of system calls comes on top, from inside. See bwrap(1), https://github.com/containers/bubblewrap.
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig

from eval.sandbox.namespaces import python_folders

#: Where the sandbox's own modules are inside.
INSIDE = "/sandbox"


def command(here: str) -> tuple[list[str], str]:
    """What to write before an interpreter's arguments, and the interpreter to start.

    Args:
        here: the folder of the sandbox's own modules, read-only at ``INSIDE`` within.

    Raises:
        OSError: no bwrap on the search path.
    """
    tool = shutil.which("bwrap")
    if tool is None:
        raise OSError("bwrap is not installed")
    python = os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)
    library = sysconfig.get_paths(vars={"platbase": sys.base_exec_prefix})  # not the virtual environment's packages
    command = [tool, "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    command += ["--tmpfs", "/tmp"]  # first, so that it hides no Python that is installed below it
    for folder in python_folders([library["stdlib"], library["platstdlib"]]):
        command += ["--ro-bind", folder, folder]
    command += ["--ro-bind", python, python, "--ro-bind", here, INSIDE, "--dev-bind", os.devnull, os.devnull]
    command += ["--remount-ro", "/", "--chdir", "/tmp", "--"]
    return command, python
