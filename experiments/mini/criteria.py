"""What was asked of the family before any merge of it was made: ``python -m experiments.mini.criteria SEED …``.

Prints a row of the table in this folder's README for each seed. No merge is looked at.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from experiments.mini.family import MiniFamily

EXPERTS = {"math": "gsm8k", "code": "humaneval", "ua": "refusal"}
ITEMS = 300


@dataclass(frozen=True)
class Geometry:
    """How an expert's task vector lies in its layers.

    Attributes:
        inside: share of ‖τ‖² in the blocks.
        cosine: the largest cos(τ, τ_instr) of a block.
        order: Spearman's ρ between the similarities of the blocks and their depth.
    """

    inside: float
    cosine: float
    order: float


def geometry(folders: Mapping[str, Path]) -> dict[str, Geometry]:
    """Of every expert, from the models' folders by name."""
    from scipy.stats import spearmanr

    from lata.merging.on_disk import similarity_tables

    experts = {name: folders[name] for name in EXPERTS}
    table = similarity_tables(folders["base"], folders["pre"], experts, ("block",))["block"]
    return {
        name: Geometry(
            inside=1 - float(table.attrs["outside"][name]),
            cosine=float(table["cosine"][name].max()),
            order=float(spearmanr(range(len(table)), table["similarity"][name]).statistic),
        )
        for name in EXPERTS
    }


def scores(folders: Mapping[str, Path], data: Path, items: int = ITEMS) -> dict[str, dict[str, float]]:
    """The main metric of every task, by the models in `folders`: perplexity, or shares of `items` test items."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from eval.harness import EvalSettings, Evaluator
    from eval.schema import PRIMARY

    settings = EvalSettings(tasks=("wikitext", *EXPERTS.values()), data_dir=data, limit=items, device="cpu")
    found = {}
    for name, folder in folders.items():
        evaluate = Evaluator(settings, AutoTokenizer.from_pretrained(folder, trust_remote_code=False))
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, trust_remote_code=False)
        found[name] = {
            score["task"]: score["value"]
            for score in evaluate(model).scores
            if PRIMARY[score["task"]] == (score["metric"], score["filter"])
        }
    return found


def row(family: MiniFamily) -> str:
    """A line of the table, of the family's models."""
    folders = family.ensure(["math", "code", "ua"])
    shapes = geometry(folders)
    values = scores({name: folders[name] for name in ("pre", *EXPERTS)}, family.data_dir())
    cells = [str(family.seed), f"{min(shape.inside for shape in shapes.values()):.1%}"]
    cells += [" / ".join(f"{shapes[name].cosine:.2f}" for name in EXPERTS)]
    cells += [" / ".join(f"{shapes[name].order:+.2f}" for name in EXPERTS)]
    cells += [f"{values[name][task]:.0%} ({values['pre'][task]:.0%})" for name, task in EXPERTS.items()]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """The command."""
    cache = Path(os.environ.get("LATA_CACHE") or "~/.cache/lata")
    print("| seed | τ in blocks | largest cos(τ, τ_instr) | ρ of s and depth | math (pre) | code (pre) | ua (pre) |")
    print("|---" * 7 + "|")
    for seed in sys.argv[1:]:
        print(row(MiniFamily(seed=int(seed), cache=cache)), flush=True)


if __name__ == "__main__":
    main()
