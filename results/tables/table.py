"""A table as data, and its four written forms: Markdown, LaTeX (booktabs), CSV and plain text for a terminal."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from itertools import accumulate

from lata.names import for_csv, for_line, for_markdown
from lata.names import for_latex as latex

CONFIRMED, EXPLORED, UNSTABLE, BROKEN = "*", "°", "†", "‡"


@dataclass(frozen=True)
class Cell:
    """One entry: the number as written, what stands beside it in small, marks, and the raw numbers for CSV."""

    text: str
    aside: str = ""
    marks: str = ""
    best: bool = False
    raw: tuple[float | str, ...] = ()

    @property
    def plain(self) -> str:
        return " ".join(part for part in (self.text + self.marks, self.aside) if part)


@dataclass(frozen=True)
class Column:
    """A heading, the group above it, the names of its raw numbers in CSV and what they start with there."""

    title: str
    group: str = ""
    raw: tuple[str, ...] = ("value",)
    key: str = ""

    @property
    def marked(self) -> bool:
        """Whether cells may carry marks: those with intervals do."""
        return len(self.raw) > 1

    @property
    def full(self) -> str:
        return f"{self.group}: {self.title}" if self.group else self.title


@dataclass(frozen=True)
class Row:
    """A label and its cells; rows of one section stand together."""

    label: str
    section: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Table:
    """A named table: columns (without the first, which holds the labels), rows and notes."""

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = field(default=())
    corner: str = "method"

    @property
    def sections(self) -> list[tuple[str, list[Row]]]:
        """Rows by section, in order."""
        found: dict[str, list[Row]] = {}
        for row in self.rows:
            found.setdefault(row.section, []).append(row)
        return list(found.items())

    @property
    def groups(self) -> list[tuple[str, int]]:
        """Neighbouring columns of one group: (group, how many)."""
        found: list[tuple[str, int]] = []
        for column in self.columns:
            if found and found[-1][0] == column.group:
                found[-1] = (column.group, found[-1][1] + 1)
            else:
                found.append((column.group, 1))
        return found

    @property
    def grouped(self) -> bool:
        """Whether some columns have a heading above them."""
        return any(column.group for column in self.columns)

    @property
    def starts(self) -> list[int]:
        """The first column of each of `groups`."""
        return list(accumulate((count for _, count in self.groups[:-1]), initial=0))

    @property
    def asides(self) -> list[bool]:
        """Whether a column has something beside its numbers."""
        return [any(row.cells[place].aside for row in self.rows) for place in range(len(self.columns))]


def to_markdown(table: Table) -> str:
    """GitHub Markdown; sections as italic lines, the best value bold."""

    def written(cell: Cell) -> str:
        text = f"**{for_markdown(cell.text)}**" if cell.best else for_markdown(cell.text)
        return text + for_markdown(cell.marks) + (f" {for_markdown(cell.aside)}" if cell.aside else "")

    lines = [f"### {for_markdown(table.title)}", ""]
    lines.append(
        "| "
        + " | ".join([for_markdown(table.corner), *(for_markdown(column.full) for column in table.columns)])
        + " |"
    )
    lines.append("|---|" + "---:|" * len(table.columns))
    for section, rows in table.sections:
        if section:
            lines.append(f"| *{for_markdown(section)}* |" + " |" * len(table.columns))
        for row in rows:
            lines.append("| " + " | ".join([for_markdown(row.label), *(written(cell) for cell in row.cells)]) + " |")
    lines += [
        "",
        *(for_markdown(note) + "  " for note in table.notes[:-1]),
        *(for_markdown(note) for note in table.notes[-1:]),
    ]
    return "\n".join(lines).rstrip() + "\n"


def to_latex(table: Table) -> str:
    """A `table*` for a paper; needs only `booktabs`."""
    count = len(table.columns)
    lines = [
        "% needs \\usepackage{booktabs}",
        "\\begin{table*}",
        "\\centering\\small",
        f"\\caption{{{latex(table.title)}.}}",
        f"\\label{{tab:{table.name.replace('+', '-').replace('_', '-')}}}",
        "\\begin{tabular}{l" + "r" * count + "}",
        "\\toprule",
    ]
    if table.grouped:
        heads, rules, at = [""], [], 2
        for group, width in table.groups:
            heads.append(f"\\multicolumn{{{width}}}{{c}}{{{latex(group)}}}")
            if group:
                rules.append(f"\\cmidrule(lr){{{at}-{at + width - 1}}}")
            at += width
        lines += [" & ".join(heads) + " \\\\", "".join(rules)]
    lines.append(" & ".join([latex(table.corner), *(latex(column.title) for column in table.columns)]) + " \\\\")
    for section, rows in table.sections:
        lines.append("\\midrule")
        if section:
            lines.append(f"\\multicolumn{{{count + 1}}}{{l}}{{\\emph{{{latex(section)}}}}} \\\\")
        for row in rows:
            cells = [latex(row.label)]
            for cell in row.cells:
                text = f"\\textbf{{{latex(cell.text)}}}" if cell.best else latex(cell.text)
                aside = f" {{\\scriptsize {latex(cell.aside)}}}" if cell.aside else ""
                cells.append(text + latex(cell.marks) + aside)
            lines.append(" & ".join(cells) + " \\\\")
    lines += ["\\bottomrule", "\\end{tabular}", "", "\\smallskip"]
    lines += [f"\\parbox{{\\linewidth}}{{\\footnotesize {latex(' '.join(table.notes))}}}", "\\end{table*}"]
    return "\n".join(lines) + "\n"


def to_csv(table: Table) -> str:
    """Raw numbers at full precision: one column for each raw number, marks and best beside them."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    head = ["section", table.corner]
    for column in table.columns:
        key = " ".join(part for part in (column.group, column.key or column.title) if part)
        head += [key if name == "value" else f"{key} {name}" for name in column.raw]
        head += [f"{key} marks", f"{key} best"] if column.marked else []
    writer.writerow(map(for_csv, head))
    for row in table.rows:
        line: list[object] = [row.section, row.label]
        for column, cell in zip(table.columns, row.cells, strict=True):
            raw = [*cell.raw, *[""] * (len(column.raw) - len(cell.raw))]
            line += [format(value, ".10g") if isinstance(value, float) and value == value else value for value in raw]
            line += [cell.marks, int(cell.best)] if column.marked else []
        writer.writerow(["" if value != value else for_csv(value) for value in line])
    return buffer.getvalue()


def to_text(table: Table, width: int = 110) -> str:
    """For a terminal: `>` before the best value; groups of columns wrap into further blocks past `width`."""
    first = max([len(table.corner), *(len(row.label) for row in table.rows)])
    columns = [_text_column([row.cells[i] for row in table.rows], c.title) for i, c in enumerate(table.columns)]
    blocks: list[list[list[int]]] = [[]]
    used, at = first, 0
    for group, count in table.groups:
        places = list(range(at, at + count))
        at += count
        need = 2 + max(len(group), sum(len(columns[i][0]) for i in places))
        if blocks[-1] and used + need > width:
            blocks.append([])
            used = first
        blocks[-1].append(places)
        used += need
    return "\n\n".join("\n".join(map(for_line, _text_block(table, block, first, columns))) for block in blocks)


def _text_column(cells: list[Cell], title: str) -> list[str]:
    """Heading and cells of one column at one width: numbers above one another, marks behind them."""
    room = max((len(cell.marks) for cell in cells), default=0)
    texts = []
    for cell in cells:
        written = (">" if cell.best else " ") + cell.text + cell.marks.ljust(room)
        texts.append(f"{written} {cell.aside}".rstrip() if cell.aside else written)
    size = max(len(title) + 1 + room, *(len(text) for text in texts)) if texts else len(title) + 1
    return [(title + " " * room).rjust(size), *(text.rjust(size) for text in texts)]


def _text_block(table: Table, groups: list[list[int]], first: int, columns: list[list[str]]) -> list[str]:
    spans = [max(len(table.columns[g[0]].group), sum(len(columns[i][0]) for i in g)) for g in groups]

    def line(label: str, at: int) -> str:
        parts = ["  " + "".join(columns[i][at] for i in g).rjust(span) for g, span in zip(groups, spans, strict=True)]
        return (label.ljust(first) + "".join(parts)).rstrip()

    lines = []
    if any(table.columns[g[0]].group for g in groups):
        heads = ["  " + table.columns[g[0]].group.center(span) for g, span in zip(groups, spans, strict=True)]
        lines.append((" " * first + "".join(heads)).rstrip())
    lines.append(line(table.corner, 0))
    long = max(len(text) for text in lines)
    at = 0
    for section, rows in table.sections:
        lines.append(f"── {section} ".ljust(long, "─") if section else "─" * long)
        for row in rows:
            at += 1
            lines.append(line(row.label, at))
    return lines
