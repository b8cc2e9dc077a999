"""Compare merges with mergekit's own: ``python -m tests.benchmarks.mergekit_agreement --mergekit VENV``.

Builds tiny random Llamas (fp32 and bf16, tied and untied embeddings), merges them here, exports every merge and has
mergekit 0.1.5 in its own environment make it from that file. Printed are the share of elements that are equal bit for
bit and the largest difference of the others, in units in the last place of θ_pre or the result, whichever is larger
(a result near zero is not measured by its own tiny spacing).

TIES is shown twice: as mergekit is, and with its choice among equal magnitudes made the first ones, which is what the
variant ``mergekit`` does here. DARE gets the masks of `lata.numerics.masks` there; what is left is the order in which
the L1 norms are added up, so the scale of a tensor may differ by roundings of fp32.

    python -m venv VENV && VENV/bin/pip install mergekit==0.1.5 && \\
        python -m tests.benchmarks.mergekit_agreement --mergekit VENV
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file, save_file

from lata.engine.stream import expert
from lata.merging.on_disk import run
from lata.merging.request import Request
from lata.numerics import masks

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
TASKS = ("code", "math", "ua")
SEED = 3


@dataclass(frozen=True)
class Case:
    """One merge.

    Attributes:
        label: how the table names it.
        method: name of the method.
        parameters: its parameters.
        lam: λ, or one a task.
        target: member of the family that forgets the first task; empty for learning all.
        stable: whether mergekit's sort is made stable.
    """

    label: str
    method: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    lam: float | Mapping[str, float] = 1.0
    target: str = ""
    stable: bool = False


_TIES = {"variant": "mergekit", "density": 0.2}
_DARE = {"variant": "mergekit", "drop_rate": 0.9}
CASES = (
    Case("ta", "ta"),
    Case("ta, λ = 0.7", "ta", lam=0.7),
    Case("ta, λ a task", "ta", lam={"code": 0.2, "math": 0.5, "ua": 0.3}),
    Case("ta_half", "ta_half"),
    Case("lata_linear", "lata_linear"),
    Case("lata_log, λ = 0.7", "lata_log", lam=0.7),
    Case("lata_linear, outside ranked", "lata_linear", {"outside": "rank"}),
    Case("lata_linear, by module", "lata_linear", {"granularity": "module"}),
    Case("lata_linear, by tensor", "lata_linear", {"granularity": "tensor"}),
    Case("lata_threshold, forgetting", "lata_threshold", {"quantile": 0.5}, lam=0.5, target="pre"),
    Case("lata_threshold, into a target", "lata_threshold", {"quantile": 0.5}, target="target"),
    Case("depth_linear", "depth_linear"),
    Case("ties", "ties", _TIES),
    Case("ties, first of equals", "ties", _TIES, stable=True),
    Case("ties, λ = 0.7, first of equals", "ties", _TIES, 0.7, stable=True),
    Case("ties, λ a task, first of equals", "ties", _TIES, {"code": 0.2, "math": 0.5, "ua": 0.3}, stable=True),
    Case("dare, same masks", "dare", _DARE),
    Case("dare, λ a task, same masks", "dare", _DARE, {"code": 0.2, "math": 0.5, "ua": 0.3}),
    Case("dare_ties, same masks", "dare_ties", _DARE),
)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.mergekit_agreement", description=__doc__)
    parser.add_argument(
        "--mergekit", type=Path, required=True, metavar="VENV", help="environment with mergekit 0.1.5"
    )
    python = parser.parse_args().mergekit / "bin" / "python"
    with tempfile.TemporaryDirectory() as place:
        merged = _merges(Path(place), python)
        print("| merge | dtype | elements | bit-equal | largest difference, ulps |\n|---|---|---:|---:|---:|")
        for case in CASES:
            for dtype in DTYPES:
                distances = np.concatenate([_distances(*folders) for folders in merged[case.label, dtype]])
                print(
                    f"| {case.label} | {dtype} | {distances.size:,} | {np.mean(distances == 0):.4%} | "
                    f"{distances.max():.3g} |"
                )


def _merges(place: Path, python: Path) -> dict[tuple[str, str], list[tuple[Path, Path, Path]]]:
    """(label, dtype) → the folders (θ_pre, ours, mergekit's) of the tied and of the untied model."""
    jobs: list[dict[str, Any]] = []
    merged: dict[tuple[str, str], list[tuple[Path, Path, Path]]] = {}
    for dtype in DTYPES:
        for tied in (True, False):
            family = _family(place / f"{dtype}-{tied}", DTYPES[dtype], tied)
            for number, case in enumerate(CASES):
                ours, theirs = (place / f"{dtype}-{tied}" / f"{number}-{side}" for side in ("ours", "mergekit"))
                tasks = TASKS[:1] if case.target else TASKS
                sources = {"pre": "pre", "base": "base", **{expert(task): task for task in tasks}}
                if case.target:
                    sources["target"] = case.target
                request = Request(
                    sources={role: str(family[member]) for role, member in sources.items()},
                    method=case.method,
                    parameters=case.parameters,
                    lam=case.lam,
                    mode="forget" if case.target else "learn",
                    seed=SEED,
                )
                run(request, ours, mergekit=True)
                mask_file = _masks(ours, family, case) if "drop_rate" in case.parameters else None
                jobs.append(
                    {
                        "config": str(ours / "mergekit.yaml"),
                        "output": str(theirs),
                        "masks": mask_file and str(mask_file),
                        "stable": case.stable,
                    }
                )
                merged.setdefault((case.label, dtype), []).append((family["pre"], ours, theirs))
    (place / "jobs.json").write_text(json.dumps(jobs), encoding="utf-8")
    subprocess.run([python, Path(__file__).with_name("mergekit_runner.py"), place / "jobs.json"], check=True)
    return merged


def _family(folder: Path, dtype: torch.dtype, tied: bool) -> dict[str, Path]:
    """A tiny pre with experts near it and a base further away, saved in `dtype`."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=64,
        intermediate_size=160,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=256,
        tie_word_embeddings=tied,
    )
    pre = LlamaForCausalLM(config)
    folders = {}
    for member, noise in {"pre": 0.0, "base": 0.2, "target": 0.1, "code": 0.03, "math": 0.02, "ua": 0.05}.items():
        model = LlamaForCausalLM(config)
        model.load_state_dict(pre.state_dict())
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(noise * parameter.std(correction=0).clamp(min=0.01) * torch.randn_like(parameter))
        folders[member] = folder / member
        model.to(dtype=dtype).save_pretrained(folders[member])
    return folders


def _masks(merged: Path, family: Mapping[str, Path], case: Case) -> Path:
    """Write the masks of a merge, under the names that the runner looks for."""
    kept = {}
    for name, tensor in load_file(merged / "model.safetensors").items():
        for task in TASKS:
            mask = masks.keep(SEED, task, name, tensor.numel(), case.parameters["drop_rate"])
            kept[f"{family[task]}|{name}"] = torch.from_numpy(mask).view(tensor.shape)
    path = merged.with_suffix(".masks.safetensors")
    save_file(kept, path)
    return path


def _distances(pre: Path, ours: Path, theirs: Path) -> npt.NDArray[np.float64]:
    """|ours − theirs| in units in the last place of the larger of θ_pre and ours, element by element."""
    start, one, other = (load_file(folder / "model.safetensors") for folder in (pre, ours, theirs))
    assert one.keys() == other.keys(), f"{ours} and {theirs}: {sorted(one.keys() ^ other.keys())}"
    distances = []
    for name, tensor in one.items():
        assert tensor.dtype == other[name].dtype, name
        size = torch.maximum(start[name].abs(), tensor.abs()).double().clamp(min=torch.finfo(tensor.dtype).tiny)
        unit = torch.exp2(torch.floor(torch.log2(size))) * torch.finfo(tensor.dtype).eps
        distances.append(((tensor.double() - other[name].double()).abs() / unit).flatten().numpy())
    return np.concatenate(distances)


if __name__ == "__main__":
    main()
