"""Run merges in mergekit's own environment: ``python mergekit_runner.py JOBS.json``; imports nothing of lata.

A job is ``{"config": YAML file, "output": folder, "masks": safetensors file or null, "stable": bool}``. ``masks``
replaces what mergekit would draw, by tensors named ``MODEL|PARAMETER``; ``stable`` makes its choice among equal
magnitudes the first ones instead of arbitrary ones.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
import yaml
from mergekit.config import MergeConfiguration
from mergekit.merge import run_merge
from mergekit.merge_methods.generalized_task_arithmetic import GeneralizedTaskArithmeticMerge
from mergekit.options import MergeOptions
from safetensors.torch import load_file

_own = {
    "merge_group": GeneralizedTaskArithmeticMerge.merge_group,
    "bernoulli": torch.bernoulli,
    "argsort": torch.argsort,
}


def main() -> None:
    """Run every job of the file."""
    for job in json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")):
        _set_masks(load_file(job["masks"]) if job["masks"] else None)
        torch.argsort = _stable_argsort if job["stable"] else _own["argsort"]
        config = MergeConfiguration.model_validate(yaml.safe_load(Path(job["config"]).read_text(encoding="utf-8")))
        options = MergeOptions(lazy_unpickle=True, quiet=True, copy_tokenizer=False, write_model_card=False)
        run_merge(config, job["output"], options)


def _set_masks(masks: dict[str, torch.Tensor] | None) -> None:
    """Let every draw of the merge of one parameter give that parameter's masks, in the order of the models."""
    GeneralizedTaskArithmeticMerge.merge_group = _own["merge_group"]
    torch.bernoulli = _own["bernoulli"]
    if masks is None:
        return

    def merge_group(self: Any, group: Any, /, **parameters: Any) -> torch.Tensor:
        waiting = [masks[f"{entry.id.model.path}|{group.metadata.name}"] for entry in group.non_base]
        torch.bernoulli = lambda probabilities: waiting.pop(0).to(probabilities.dtype)
        merged = _own["merge_group"](self, group, **parameters)
        assert not waiting, f"{group.metadata.name}: mergekit drew fewer masks than models"
        return merged

    GeneralizedTaskArithmeticMerge.merge_group = merge_group


def _stable_argsort(values: torch.Tensor, descending: bool = False) -> torch.Tensor:
    return _own["argsort"](values, descending=descending, stable=True)


if __name__ == "__main__":
    main()
