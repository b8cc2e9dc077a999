"""The model card that lies beside every merge: what it is, what it was made of, and how to make it again.

Its metadata are those of the Hugging Face hub (https://huggingface.co/docs/hub/model-cards). A card may be
published, so it names folders of the machine by their last part only.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from lata.names import code, for_line, for_markdown
from lata.output.documents.facts import Facts, LayerTable, is_folder, public_name, sides

__all__ = ["Facts", "LayerTable", "model_card"]

_LATA = "https://arxiv.org/abs/2502.20186"
_CITATION = """\
@inproceedings{chen2025lata,
  title         = {Layer-Aware Task Arithmetic: Disentangling Task-Specific and Instruction-Following Knowledge},
  author        = {Chen and Wei and Hsu and Yu and Huang and Lin and Wu and Lee},
  booktitle     = {Findings of the Association for Computational Linguistics: EMNLP 2025},
  year          = {2025},
  url           = {https://aclanthology.org/2025.findings-emnlp.644},
  eprint        = {2502.20186},
  archivePrefix = {arXiv}
}"""


def model_card(facts: Facts) -> str:
    """The text of ``README.md``: YAML metadata, then Markdown."""
    sections = [
        f"---\n{yaml.safe_dump(_metadata(facts), sort_keys=False, allow_unicode=True)}---",
        f"# {for_markdown(facts.summary)}",
        *_unstable(facts),
        _what(facts),
        "## Inputs",
        _inputs(facts),
        *_layers(facts),
        *_warnings(facts),
        "## Make it again",
        _again(facts),
        "## Citation",
        f"```bibtex\n{_CITATION}\n```",
    ]
    return "\n\n".join(sections) + "\n"


def _metadata(facts: Facts) -> dict[str, Any]:
    # θ_base only decides layer weights; nothing of it is in the result.
    merged = [source for role, source in facts.sources.items() if role != "base"]
    models = dict.fromkeys(
        side.partition("@")[0] for source in merged for side in sides(source) if not is_folder(side)
    )
    ancestry = {"base_model": list(models), "base_model_relation": "merge"} if models else {}
    return {**ancestry, "library_name": "transformers", "tags": ["merge", "lata", "task-arithmetic", facts.method]}


def _unstable(facts: Facts) -> list[str]:
    return [] if facts.finite else ["**Unstable:** some of the merged weights are not finite. Do not use this model."]


def _what(facts: Facts) -> str:
    start, sign, how = ("target", "−", "without") if facts.mode == "forget" else ("pre", "+", "with")
    source = " + ".join(_short(side) for side in sides(facts.sources[start]))
    if isinstance(facts.lam, Mapping):
        lam = ", ".join(f"{for_markdown(task)}: {value:g}" for task, value in facts.lam.items())
        direction = "D, each τ_t times λ_t"
    else:
        lam, direction = f"{facts.lam:g}", "λ · D"
    rows = [
        ("method", f"`{facts.method}`" + (f" ([paper]({facts.paper}))" if facts.paper else " (a control)")),
        ("λ", lam),
        *((f"`{key}`", _parameter(value)) for key, value in facts.parameters.items()),
        *([("seed", str(facts.seed))] if facts.seed is not None else []),
        ("parameters", f"{facts.parameters_count:,}"),
        ("dtype", ", ".join(f"{dtype} ({count:,})" for dtype, count in facts.dtypes.items())),
        (f"distance from θ_{start}", f"{facts.distance:.6g}"),
        ("digest of the weights", f"`{facts.digests['merged']}`"),
    ]
    tasks = "τ_t = θ_t − θ_pre is what fine-tuning on task t changed."
    lata = f": Layer-Aware Task Arithmetic ([LATA]({_LATA}))" if facts.similarity_LT else ""
    weights = f"w_t weighs its layers{lata}." if facts.weights_LT else ""
    return (
        f"{source} {how} what {_listed([for_markdown(task) for task in facts.tasks])} learned, merged by lata.\n\n"
        f"```text\nθ = θ_{start} {sign} {direction}\n{facts.equation}\n```\n\n"
        f"{' '.join(filter(None, [tasks, weights, facts.note]))}\n\n{_table(('', ''), rows)}"
    )


def _parameter(value: Any) -> str:
    """A parameter in a cell; a profile (`lata.methods.rules`) is too long for one."""
    if isinstance(value, tuple):
        tasks = _listed([for_markdown(task) for task, _ in value])
        return f"{tasks} on {len(value[0][1])} blocks, numbers in `recipe.yaml`"
    return code(str(value))


def _inputs(facts: Facts) -> str:
    rows = [
        (for_markdown(role), " + ".join(_link(side) for side in sides(source)), f"`{facts.digests[role]}`")
        for role, source in facts.sources.items()
    ]
    note = "Digests are of the weights (blake3), whatever the files they are divided into. Their licences apply."
    return _table(("role", "model", "digest"), rows) + "\n\n" + note


def _layers(facts: Facts) -> list[str]:
    if facts.weights_LT is None:
        return []
    tables = {"s": facts.similarity_LT, "w": facts.weights_LT}
    columns = [
        (f"{letter} {for_markdown(task)}", [row[number] for row in table.values_LT])
        for letter, table in tables.items()
        if table is not None
        for number, task in enumerate(table.tasks)
    ]
    layers = [for_markdown(layer) for layer in facts.weights_LT.layers]
    rows = [(layer, *(_number(values[place]) for _, values in columns)) for place, layer in enumerate(layers)]
    meaning = (
        "w is the weight of a layer's task vector; s, where given, its similarity to instruction following, "
        + ("cos(θ_t − θ_base, θ_pre − θ_base).")
    )
    table = _table(("layer", *(title for title, _ in columns)), rows)
    return ["## Layer weights", meaning, f"<details><summary>{len(rows)} layers</summary>\n\n{table}\n\n</details>"]


def _warnings(facts: Facts) -> list[str]:
    if not facts.warnings:
        return []
    lines, folders = facts.warnings, {side for s in facts.sources.values() for side in sides(s) if is_folder(side)}
    for folder in sorted(folders, key=len, reverse=True):
        lines = tuple(line.replace(folder, public_name(folder)) for line in lines)
    return ["## Warnings", "\n".join(f"- {for_markdown(line)}" for line in lines)]


def _again(facts: Facts) -> str:
    local = [role for role, source in facts.sources.items() if any(map(is_folder, sides(source)))]
    folders = " It names folders as they were; say where yours are." if local else ""
    command = ["python -m experiments.merge recipe=recipe.yaml output=NEW_FOLDER"]
    command += [for_line(shlex.quote(f"family.{role}=FOLDER")) for role in local]
    versions = ", ".join(f"{package} {version}" for package, version in facts.versions.items())
    return (
        "`recipe.yaml` is data that gives the same bytes again; inputs whose digests differ from those above are "
        f"refused.{folders}\n\n```bash\n{' '.join(command)}\n```\n\nMade with {versions}."
    )


def _short(side: str) -> str:
    return for_markdown(public_name(side) if is_folder(side) else side.partition("@")[0])


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


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
