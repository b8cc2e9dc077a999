"""Committed outcomes anew: ``python -m experiments.study.outcomes``.

Reads the stored items and scores of every run in ``results/outcomes/``, writes its tables, figures, claims and report
again, and puts the tables that pages show back into them. Nothing is trained, merged or evaluated: it takes a minute.
Two calls give the same bytes.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

from experiments import ROOT
from experiments.steps.store import write_atomic
from experiments.study.provenance import file_digests

#: The control that a table of methods needs beside it: Task Arithmetic that moves as far as LATA.
MATCHED = "ta_norm_matched"


def whole(file: str, committed: Path) -> str:
    """A committed table as it is."""
    return (committed / file).read_text(encoding="utf-8").strip()


def verdicts(file: str, committed: Path) -> str:
    """The first table of a page of claims."""
    text = whole(file, committed)
    return text[text.index("| claim |") :].split("\n\n")[0]


def summary(folder: str, committed: Path) -> str:
    """Mean score and one perplexity of every method of a study, and of the control that moves as far as LATA."""
    with (committed / folder / "tables" / "overview.csv").open(encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["section"] == "methods" or row["method"] == MATCHED]
    mean, perplexity = "all mean of merged tasks", "ua+math+code wikitext"
    lines = [
        "| method | mean score over four merges, % [95 % CI] | perplexity, all three merged [95 % CI] |",
        "|---|---:|---:|",
    ]
    for row in rows:
        score, low, high = (100 * float(row[mean + part]) for part in ("", " ci_low", " ci_high"))
        ppl, least, most = (float(row[perplexity + part]) for part in ("", " ci_low", " ci_high"))
        name = f"*control:* `{row['method']}`" if row["section"] == "controls" else f"`{row['method']}`"
        lines.append(f"| {name} | {score:.1f} [{low:.1f}, {high:.1f}] | {ppl:.2f} [{least:.2f}, {most:.2f}] |")
    return "\n".join(lines)


#: Page → name of a block on it → what makes its text from the folder of the committed outcomes.
SHOWN: dict[str, dict[str, Callable[[Path], str]]] = {
    "README.md": {"summary": partial(summary, "mini")},
    "results/outcomes/README.md": {
        "overview": partial(whole, "mini/tables/overview.md"),
        "claims": partial(verdicts, "mini/claims.md"),
        "breaks": partial(whole, "mini_sweep/tables/breaks.md"),
        "harm": partial(whole, "mini_forgetting_l2/tables/harm.md"),
        "choosing": partial(whole, "mini_choosing/tables/choosing.md"),
    },
}


def outcomes(root: Path) -> list[Path]:
    """The folders of the committed runs."""
    return sorted(file.parent for file in (root / "results" / "outcomes").glob("*/study.json"))


def remake(folder: Path) -> None:
    """Write everything of one run again, and its new digests into ``provenance.json``."""
    from results.study import store as stored
    from results.summaries.study import summarise
    from results.summaries.sweep import summarise_sweep

    run = stored.load(folder)
    summary = summarise_sweep(run, folder) if "development" in run.meta else summarise(run.at(), folder)
    target = folder / "provenance.json"
    record = json.loads(target.read_text(encoding="utf-8"))
    for name in record["files"].keys() - {file.relative_to(folder).as_posix() for file in summary.files}:
        (folder / name).unlink(missing_ok=True)
    record["files"] = file_digests(folder, list(summary.files))
    write_atomic(target, (json.dumps(record, indent=1, ensure_ascii=False) + "\n").encode())


def with_tables(page: str, text: str, root: Path) -> str:
    """A page's text with the committed tables in its blocks."""
    for name, make in SHOWN[page].items():
        start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        assert text.count(start) == text.count(end) == 1, name
        before, _, rest = text.partition(start)
        text = f"{before}{start}\n\n{make(root / 'results' / 'outcomes')}\n\n{end}{rest.partition(end)[2]}"
    return text


def main() -> None:
    """The command."""
    for folder in outcomes(ROOT):
        print(f"results/outcomes/{folder.name}", flush=True)
        remake(folder)
    for page in SHOWN:
        text = (ROOT / page).read_text(encoding="utf-8")
        write_atomic(ROOT / page, with_tables(page, text, ROOT).encode())


if __name__ == "__main__":
    main()
