"""The model card that lies beside every merge: what it is, what it was made of, and how to make it again.

Its metadata are those of the Hugging Face hub (https://huggingface.co/docs/hub/model-cards), its text is in
``card.md.j2``. A card may be published, so it names folders of the machine by their last part only.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from lata.names import code, for_line, for_markdown
from lata.output.documents.facts import Facts, LayerTable, is_folder, public_name, sides
from lata.output.templates import Markdown, render

__all__ = ["Facts", "LayerTable", "model_card"]


def model_card(facts: Facts) -> str:
    """The text of ``README.md``: YAML metadata, then Markdown."""
    start = "target" if facts.mode == "forget" else "pre"
    local = [role for role, source in facts.sources.items() if any(map(is_folder, sides(source)))]
    command = ["python -m experiments.merge recipe=recipe.yaml output=NEW_FOLDER"]
    command += [for_line(shlex.quote(f"family.{role}=FOLDER")) for role in local]
    titles, rows = _layers(facts)
    return render(
        Path(__file__).with_name("card.md.j2"),
        facts=facts,
        metadata=Markdown(yaml.safe_dump(_metadata(facts), sort_keys=False, allow_unicode=True)),
        source=" + ".join(
            public_name(side) if is_folder(side) else side.partition("@")[0] for side in sides(facts.sources[start])
        ),
        forgets=facts.mode == "forget",
        tasks=_listed(facts.tasks),
        start=start,
        equation=Markdown(facts.equation),
        note=Markdown(facts.note),
        lam=_lam(facts.lam),
        parameters=[(key, _parameter(value)) for key, value in facts.parameters.items()],
        dtypes=", ".join(f"{dtype} ({count:,})" for dtype, count in facts.dtypes.items()),
        inputs=[(role, Markdown(" + ".join(map(_link, sides(source))))) for role, source in facts.sources.items()],
        titles=titles,
        rows=rows,
        outside=", ".join(f"{task} {100 * share:.1f} %" for task, share in facts.outside.items()),
        warnings=_warnings(facts),
        local=local,
        command=Markdown(" ".join(command)),
        versions=", ".join(f"{package} {version}" for package, version in facts.versions.items()),
    )


def _metadata(facts: Facts) -> dict[str, Any]:
    # θ_base only decides layer weights; nothing of it is in the result.
    merged = [source for role, source in facts.sources.items() if role != "base"]
    models = dict.fromkeys(
        side.partition("@")[0] for source in merged for side in sides(source) if not is_folder(side)
    )
    ancestry = {"base_model": list(models), "base_model_relation": "merge"} if models else {}
    return {**ancestry, "library_name": "transformers", "tags": ["merge", "lata", "task-arithmetic", facts.method]}


def _lam(lam: float | Mapping[str, float]) -> str:
    if isinstance(lam, Mapping):
        return ", ".join(f"{task}: {value:g}" for task, value in lam.items())
    return f"{lam:g}"


def _parameter(value: Any) -> Markdown:
    """A parameter in a cell; a profile (`lata.methods.rules`) is too long for one."""
    if isinstance(value, tuple):
        tasks = for_markdown(_listed([task for task, _ in value]))
        return Markdown(f"{tasks} on {len(value[0][1])} blocks, numbers in `recipe.yaml`")
    return Markdown(code(str(value)))


def _layers(facts: Facts) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """Titles of the columns of numbers, and (layer, its numbers); empty without layer weights."""
    if facts.weights_LT is None:
        return [], []
    tables = {"s": facts.similarity_LT, "c": facts.cosine_LT, "w": facts.weights_LT}
    columns = {
        f"{letter} {task}": {layer: row[number] for layer, row in zip(table.layers, table.values_LT, strict=True)}
        for letter, table in tables.items()
        if table is not None
        for number, task in enumerate(table.tasks)
    }
    layers = facts.weights_LT.layers
    return list(columns), [(layer, [_number(own.get(layer)) for own in columns.values()]) for layer in layers]


def _warnings(facts: Facts) -> list[str]:
    lines, folders = facts.warnings, {side for s in facts.sources.values() for side in sides(s) if is_folder(side)}
    for folder in sorted(folders, key=len, reverse=True):
        lines = tuple(line.replace(folder, public_name(folder)) for line in lines)
    return list(lines)


def _link(side: str) -> str:
    if is_folder(side):
        return f"{code(public_name(side))} (a folder)"
    name, _, revision = side.partition("@")
    label = f"{name}@{revision[:12]}" if revision else name
    return f"[{label}](https://huggingface.co/{name}{f'/tree/{revision}' if revision else ''})"


def _listed(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _number(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.4f}"
