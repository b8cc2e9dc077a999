"""Checkpoints whose numbers are codes, said or unsaid: none of them is read as plain numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from folders import write

import lata
from lata.checkpoints import FolderCheckpoint, open_checkpoint
from lata.checkpoints.quantised import MARKERS, is_of_quantiser
from lata.planning import Inputs, make_plan

P = "model.layers.0.mlp.up_proj."
PLAIN = {P + "weight": torch.zeros(8, 8), "model.norm.weight": torch.ones(8)}
BYTES = torch.zeros(8, 4, dtype=torch.uint8)
WORDS = torch.zeros(1, 8, dtype=torch.int32)

#: What a layer is stored as.
LAYOUTS: dict[str, dict[str, torch.Tensor]] = {
    "fp8 without scales": {P + "weight": torch.zeros(8, 8).to(torch.float8_e4m3fn)},
    "ModelOpt fp8": {P + "weight": torch.zeros(8, 8).to(torch.float8_e4m3fn), P + "weight_scale": torch.ones(1)},
    "DeepSeek fp8": {P + "weight": torch.zeros(8, 8).to(torch.float8_e5m2), P + "weight_scale_inv": torch.ones(1, 1)},
    "int8 with scales": {P + "weight": torch.zeros(8, 8, dtype=torch.int8), P + "weight_scale": torch.ones(8, 1)},
    "scales alone": {P + "weight": torch.zeros(8, 8), P + "weight_scale": torch.ones(8, 1)},
    "GPTQ": {P + "qweight": WORDS, P + "qzeros": WORDS, P + "scales": torch.ones(1, 8), P + "g_idx": WORDS[0]},
    "bitsandbytes 4": {
        P + "weight": BYTES,
        P + "weight.absmax": torch.ones(8),
        P + "weight.quant_map": torch.ones(4),
    },
    "bitsandbytes state": {P + "weight.quant_state.bitsandbytes__nf4": BYTES[0]},
    "bitsandbytes 8": {P + "weight": torch.zeros(8, 8, dtype=torch.int8), P + "SCB": torch.ones(8)},
    "compressed-tensors": {P + "weight_packed": WORDS, P + "weight_shape": torch.tensor([8, 8])},
    "MLX": {P + "weight": torch.zeros(8, 1, dtype=torch.uint32), P + "scales": torch.ones(8, 1)},
    "MXFP4": {"model.layers.0.mlp.experts.up_proj_blocks": BYTES, "model.layers.0.mlp.experts.up_proj_scales": BYTES},
    "quanto": {P + "weight._data": torch.zeros(8, 8, dtype=torch.int8), P + "weight._scale": torch.ones(8)},
    "AQLM": {P + "codebooks": torch.ones(1, 2, 1, 8), P + "codes": BYTES},
}
#: What a config says.
SAID: list[dict[str, Any]] = [
    {"quantization_config": {"quant_method": "gptq", "bits": 4}},
    {"compression_config": {"format": "pack-quantized"}},
    {"text_config": {"quantization_config": {"quant_method": "fp8"}}},
    {"thinker_config": {"quantization_config": {"quant_method": "awq"}}},
    {"quantization": {"group_size": 64, "bits": 4}},
]


def refused(folder: Path, match: str, **options: Any) -> None:
    with pytest.raises(ValueError, match=f"pre: .* is quantised .*{match}.*; give the model as it was before"):
        open_checkpoint(folder, "pre", **options)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("scored", [False, True])
def test_codes_are_known_by_headers_alone(tmp_path: Path, layout: str, scored: bool) -> None:
    folder = write(tmp_path / "m", {"model.norm.weight": torch.ones(8), **LAYOUTS[layout]})
    refused(folder, "it stores", quantised=scored)


@pytest.mark.parametrize("marker", MARKERS)
def test_codes_are_known_by_the_file_of_the_tool(tmp_path: Path, marker: str) -> None:
    folder = write(tmp_path / "m", PLAIN)
    (folder / marker).write_text(json.dumps({"bits": 4}))
    refused(folder, marker)
    refused(folder, marker, quantised=True)


@pytest.mark.parametrize("config", SAID)
def test_codes_are_known_by_the_config_wherever_it_says_so(tmp_path: Path, config: dict[str, Any]) -> None:
    refused(write(tmp_path / "m", PLAIN, config=config), "in config.json")


def test_only_what_transformers_reads_by_its_config_may_be_scored(tmp_path: Path) -> None:
    for number, config in enumerate(SAID):
        folder = write(tmp_path / str(number), {**PLAIN, **LAYOUTS["GPTQ"]}, config=config)
        if "quantization_config" in config:
            assert open_checkpoint(folder, quantised=True).quantised
        else:
            refused(folder, "config", quantised=True)


@pytest.mark.parametrize("config", [{"quantization_config": None}, {"text_config": {"quantization_config": None}}])
def test_null_says_nothing(tmp_path: Path, config: dict[str, Any]) -> None:
    assert not FolderCheckpoint(write(tmp_path / "m", PLAIN, config=config)).quantised


@pytest.mark.parametrize(
    "name",
    [
        "model.layers.0.mlp.router.per_expert_scale",
        "model.layers.0.layer_scalar",
        "vision.blocks.0.ls1.lambda1",
        "model.layers.0.self_attn.q_norm.weight",
        "logit_scale",
        "model.layers.0.mlp.gate.e_score_correction_bias",
        "encoder.block.0.layer_scale_1",
    ],
)
def test_plain_models_have_scales_too(name: str) -> None:
    assert not is_of_quantiser(name)


def test_plain_models_may_hold_whole_numbers(tmp_path: Path) -> None:
    stored = {**PLAIN, "position_ids": torch.arange(4)[None], "mask": torch.ones(1, 1, 2, 2, dtype=torch.bool)}
    assert open_checkpoint(write(tmp_path / "m", stored)).tensors.keys() == stored.keys()


def test_whole_numbers_that_differ_between_models_are_refused(tmp_path: Path) -> None:
    def model(name: str, first: int) -> FolderCheckpoint:
        return FolderCheckpoint(write(tmp_path / name, {**PLAIN, "table": torch.tensor([first, 2])}), name)

    pre, same, other = model("pre", 1), model("same", 1), model("other", 3)
    assert not make_plan(Inputs(pre, {"a": same}), passes=1, needs_base=False, output=None).problems
    (problem,) = make_plan(Inputs(pre, {"a": same, "b": other}), passes=1, needs_base=False, output=None).problems
    assert problem.startswith("table: its I64 values differ between pre and other, and only floats can be merged")


def test_merge_and_hold_refuse_alike(tmp_path: Path) -> None:
    pre = write(tmp_path / "pre", PLAIN)
    codes = write(tmp_path / "codes", {**PLAIN, **LAYOUTS["ModelOpt fp8"]})
    with pytest.raises(ValueError, match="codes is quantised"):
        lata.merge(pre, {"a": codes}, output=tmp_path / "out")
    with pytest.raises(ValueError, match="codes is quantised"), lata.hold(pre, {"a": codes}):
        pass
    assert not (tmp_path / "out").exists()
