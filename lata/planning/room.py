"""Whether a folder can be written: its place, its neighbours, the room on its disk."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from lata.output.place import held_bytes, is_free, partial_folder
from lata.planning import units

#: What must be free beyond the bytes to write, as a share of them.
_MARGIN = 0.01


def free_bytes(output: Path) -> int:
    """Room for `output` in bytes, with what an unfinished attempt to write it holds already; 0 where unknown."""
    try:
        return shutil.disk_usage(_existing(output)).free + held_bytes(output)
    except OSError:
        return 0


def problems_of(output: Path, write_bytes: int, inputs: Iterable[Path]) -> list[str]:
    """Why `output` cannot be made, one line each.

    Args:
        output: the folder to make.
        write_bytes: what it will hold.
        inputs: folders that are read meanwhile.
    """
    place, found = output.resolve(), []
    if place.exists() and not place.is_dir():
        found.append(f"output {output} is a file; choose another folder")
    elif not is_free(place):
        found.append(f"output {output} exists and is not empty; choose another folder or remove it")
    around = [folder for folder in inputs if folder.resolve() in (place, *place.parents)]
    if around:
        found.append(f"output {output} is inside the input {around[0]}; choose another folder")
    parent = _existing(partial_folder(place).parent)
    if not parent.is_dir():
        found.append(f"output {output} cannot be made: {parent} is a file; choose another folder")
    elif not os.access(parent, os.W_OK | os.X_OK):
        found.append(f"output {output} cannot be made: {parent} is not writable; choose another folder")
    needed, free = round(write_bytes * (1 + _MARGIN)), free_bytes(place)
    if free < needed:
        found.append(
            f"output {output} needs {units.size(needed)} and its disk has {units.size(free)} free; make room or "
            "choose another folder"
        )
    return found


def _existing(path: Path) -> Path:
    return next(place for place in (path, *path.absolute().parents) if place.exists())
