"""Files of results: written beside their target and renamed, so that nobody ever sees half a file."""

from __future__ import annotations

import io
import os
import tempfile
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from lata.names import for_csv, for_file, for_line
from results.tables.table import Table, to_csv, to_latex, to_markdown, to_text

#: Columns of a terminal.
WIDTH = 110


class Folder:
    """A folder of results that remembers what was written into it."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.files: list[Path] = []

    def write(self, name: str, content: str | bytes | pd.DataFrame) -> None:
        """Text, bytes, or a frame as CSV or Parquet by the ending of the name.

        Raises:
            OSError: the folder cannot be written.
        """
        if isinstance(content, pd.DataFrame):
            content = parquet(content) if name.endswith(".parquet") else csv_text(content)
        write(self.path / name, content if isinstance(content, bytes) else content.encode())
        self.files.append(self.path / name)

    def tables(self, tables: Iterable[Table]) -> None:
        """Each table as Markdown, LaTeX and CSV; their names can hold those of merges."""
        for table in tables:
            name = for_file(table.name)
            self.write(f"tables/{name}.md", to_markdown(table))
            self.write(f"tables/{name}.tex", to_latex(table))
            self.write(f"tables/{name}.csv", to_csv(table))

    def figures(self, figures: Mapping[str, tuple[str, bytes, bytes]]) -> None:
        """Each figure as SVG and PNG; their names can hold those of merges."""
        for title, (_, svg, png) in figures.items():
            name = for_file(title)
            self.write(f"figures/{name}.svg", svg)
            self.write(f"figures/{name}.png", png)


def terminal(table: Table) -> str:
    """A table and its notes as text for a terminal."""
    notes = [textwrap.fill(for_line(note).replace("in bold", "marked >"), WIDTH) for note in table.notes]
    return "\n".join([for_line(table.title), "", to_text(table, WIDTH), *notes])


def csv_text(frame: pd.DataFrame) -> str:
    """A frame as CSV, the same on every system."""
    safe = frame.rename(columns=for_csv)
    text = safe.select_dtypes(exclude=["number", "bool"]).columns
    return str(
        safe.assign(**{name: safe[name].map(for_csv) for name in text}).to_csv(index=False, lineterminator="\n")
    )


def parquet(frame: pd.DataFrame) -> bytes:
    """A frame as Parquet."""
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False)
    return buffer.getvalue()


def write(path: Path, content: bytes) -> None:
    """Write beside the target, then rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException as error:
        Path(name).unlink(missing_ok=True)
        if isinstance(error, OSError):  # writing to an open file on a full disk names none
            error.filename = error.filename or str(path)
        raise
