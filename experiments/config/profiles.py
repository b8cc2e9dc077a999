"""Similarities of another family's blocks, for `lata.methods.controls.lata_transferred`: from a configuration or a
CSV file.

Three files are read: what ``python -m experiments.analyze output=FILE`` writes, a study's ``tables/similarity.csv``
(means over its seeds; both with columns ``similarity TASK`` among others), and what `lata.similarity` gives, as CSV
(``layer``, one column a task).
"""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any, cast

from lata.methods.rules import Cosines, Profile
from lata.quantities import OUTSIDE

_PREFIX = "similarity "


def profile(value: Any) -> Profile:
    """A profile in the one form that methods keep, see `lata.methods.rules`.

    Args:
        value: the path of a CSV file; a mapping task → similarities from the first block to the last; or a profile.

    Raises:
        ValueError: there is none, the file cannot be read as such a table, or a number is no cosine.
    """
    if value is None:
        raise ValueError("profile is missing: give the file of experiments.analyze output=FILE for another family")
    given = _read(Path(value).expanduser()) if isinstance(value, (str, Path)) else value
    rule = Cosines()
    problem = rule.problem(given)
    if problem:
        raise ValueError(f"profile{f'={value}' if isinstance(value, (str, Path)) else ''} {problem}")
    return cast(Profile, rule.normal(given))


def _read(file: Path) -> dict[str, list[float | None]]:
    """Task → similarities of blocks, from a table of layers."""
    try:
        with file.open(encoding="utf-8", newline="") as opened:
            rows = list(csv.DictReader(opened, restval=""))
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"profile={file} cannot be read ({error}); give a CSV file or task → list") from None
    rows = [row for row in rows if row.get("layer") != OUTSIDE]
    names = [name for name in rows[0] if name] if rows else []
    columns = {name.removeprefix(_PREFIX): name for name in names if name.startswith(_PREFIX)}
    if not columns:
        columns = {name: name for name in names if name not in ("layer", "section")}
    if "layer" not in names or not columns:
        raise ValueError(f"profile={file} has no layers and tasks; give the file of experiments.analyze output=FILE")
    if [row["layer"] for row in rows] != [str(block) for block in range(len(rows))]:
        raise ValueError(
            f"profile={file}: its rows must be the blocks 0, 1, 2, …; measure with granularity=block outside=keep"
        )
    return {task: [_number(file, row, column) for row in rows] for task, column in columns.items()}


def _number(file: Path, row: dict[str, str], column: str) -> float | None:
    """A cell; None where it is empty, for a block without a cosine."""
    try:
        number = float(row[column] or "nan")
    except ValueError:
        raise ValueError(f"profile={file}: {column} of layer {row['layer']} is not a number") from None
    return None if math.isnan(number) else number
