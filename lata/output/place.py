"""Where an output is made, and whether its folder can be taken.

A folder is made beside its place and renamed to it, so that it appears whole or not at all. A mount point (a
container's volume, ``docker -v out:/out``) cannot be renamed over, and what lies beside it is on another disk: such
an output is made inside its own folder, and its files are moved up at the end, the configuration last.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from pathlib import Path

from lata.names import for_file
from lata.output.files import sync, write_synced

#: What a fresh file system may hold already.
_FRESH = "lost+found"


def partial_folder(path: Path) -> Path:
    """The folder in which the output `path` is made."""
    real = Path(os.path.realpath(path))
    return real / ".lata.partial" if is_mount(real) else real.with_name(f".{for_file(real.name)}.partial")


def held_bytes(path: Path) -> int:
    """Bytes of disk that an unfinished attempt at the output `path` holds; a new one reuses or frees them."""
    return sum(file.lstat().st_blocks * 512 for file in partial_folder(path).rglob("*") if file.is_file())


def is_free(path: Path) -> bool:
    """Whether an output can be made at `path`: nothing is there, or a folder that is empty.

    An empty mount point may hold ``lost+found``, and what an unfinished attempt left in it.
    """
    if not path.is_dir():
        return not os.path.lexists(path)
    there = set(os.listdir(path))
    if is_mount(path):
        partial = partial_folder(path)
        there -= {_FRESH, partial.name, *moved(partial)}
    return not there


def is_mount(path: Path) -> bool:
    """Whether a file system, or a folder of another place (a bind mount), is mounted at `path`."""
    real = os.path.realpath(path)
    if os.path.ismount(real):
        return True
    with contextlib.suppress(OSError):
        # A bind mount from the same file system shows only here; spaces and the like stand in octal.
        for line in Path("/proc/self/mountinfo").read_bytes().splitlines():
            point = re.sub(rb"\\([0-7]{3})", lambda found: bytes([int(found[1], 8)]), line.split(b" ")[4])
            if point == os.fsencode(real):
                return True
    return False


def note_moving(partial: Path) -> list[str]:
    """The files of a finished model in the order in which they are moved up to the folder around `partial`.

    They are noted first: a process can be ended between two of them. The configuration comes last, for without it
    nothing takes the folder for a model.
    """
    names = sorted(os.listdir(partial / "model"), key=lambda name: (name == "config.json", name))
    write_synced(partial / "moving", json.dumps(names).encode())
    sync(partial)
    return names


def moved(partial: Path) -> list[str]:
    """Files that an attempt had moved up when it was ended between two; none where it had moved all."""
    with contextlib.suppress(OSError, ValueError, TypeError):
        if any((partial / "model").iterdir()):
            names = [os.path.basename(name) for name in json.loads((partial / "moving").read_bytes())]
            return [name for name in names if name and os.path.lexists(partial.parent / name)]
    return []
