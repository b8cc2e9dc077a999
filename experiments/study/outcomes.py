"""Committed outcomes anew: ``python -m experiments.study.outcomes``.

Reads the stored items and scores of every run in ``results/outcomes/``, writes its tables, figures, claims and report
again, and puts the tables that README shows back into it. Nothing is trained, merged or evaluated: it takes a minute.
Two calls give the same bytes.
"""

from __future__ import annotations

import json
from pathlib import Path

from experiments.steps.store import write_atomic
from experiments.study.provenance import file_digests

ROOT = Path(__file__).resolve().parents[2]
#: Name of a block of README → the file of a committed outcome that it shows, or shows the first table of.
SHOWN = {
    "overview": "mini/tables/overview.md",
    "claims": "mini/claims.md",
    "breaks": "mini_sweep/tables/breaks.md",
    "harm": "mini_forgetting_l2/tables/harm.md",
    "choosing": "mini_choosing/tables/choosing.md",
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


def shown(root: Path, name: str) -> str:
    """What a block of README shows."""
    text = (root / "results" / "outcomes" / SHOWN[name]).read_text(encoding="utf-8").strip()
    return text[text.index("| claim |") :].split("\n\n")[0] if name == "claims" else text


def with_tables(text: str, root: Path) -> str:
    """README with the committed tables in its blocks."""
    for name in SHOWN:
        start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        assert text.count(start) == text.count(end) == 1, name
        block = f"{start}\n\n{shown(root, name)}\n\n{end}"
        before, _, rest = text.partition(start)
        text = before + block + rest.partition(end)[2]
    return text


def main() -> None:
    """The command."""
    for folder in outcomes(ROOT):
        print(f"results/outcomes/{folder.name}", flush=True)
        remake(folder)
    readme = ROOT / "README.md"
    write_atomic(readme, with_tables(readme.read_text(encoding="utf-8"), ROOT).encode())


if __name__ == "__main__":
    main()
