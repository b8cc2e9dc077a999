from __future__ import annotations

import pytest

from lata.layers import block_of, depth_of, layer_map, layers_in_order, module_of


@pytest.mark.parametrize(
    ("name", "block"),
    [
        ("model.layers.1.mlp.up_proj.weight", 1),
        ("model.layers.10.mlp.up_proj.weight", 10),
        ("transformer.h.3.attn.c_attn.weight", 3),
        ("h.0.ln_1.weight", 0),
        ("gpt_neox.layers.7.attention.dense.bias", 7),
        ("model.layers.2.block_sparse_moe.experts.5.w1.weight", 2),
        ("model.embed_tokens.weight", None),
        ("lm_head.weight", None),
        ("model.norm.weight", None),
        ("model.language_model.layers.4.mlp.up_proj.weight", 4),
        ("model.vision_tower.vision_model.encoder.layers.4.mlp.fc1.weight", None),
        ("visual.blocks.4.attn.qkv.weight", None),
    ],
)
def test_a_parameter_belongs_to_the_block_its_name_counts(name: str, block: int | None) -> None:
    assert block_of(name) == block


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("model.layers.0.self_attn.q_norm.weight", "attention"),
        ("model.layers.0.input_layernorm.weight", "norm"),
        ("transformer.h.0.ln_1.weight", "norm"),
        ("transformer.h.0.attn.c_attn.weight", "attention"),
        ("model.layers.0.mlp.gate_proj.weight", "mlp"),
        ("gpt_neox.layers.0.attention.dense.weight", "attention"),
    ],
)
def test_a_parameter_belongs_to_the_module_under_its_block(name: str, module: str) -> None:
    assert module_of(name) == module


NAMES = [
    "model.norm.weight",
    "model.layers.10.mlp.up_proj.weight",
    "model.layers.2.self_attn.q_proj.weight",
    "model.layers.2.mlp.up_proj.weight",
    "model.embed_tokens.weight",
]


def test_layers_come_in_order_of_depth_not_of_text() -> None:
    assert layers_in_order(layer_map(NAMES)) == ["2", "10"]


def test_outside_parameters_become_layers_only_when_ranked() -> None:
    assert layer_map(NAMES, outside="keep")["model.norm.weight"] is None
    ranked = layer_map(NAMES, outside="rank")
    assert layers_in_order(ranked) == ["model.embed_tokens.weight", "2", "10", "model.norm.weight"]


@pytest.mark.parametrize("granularity", ["block", "module", "tensor"])
def test_the_depth_of_a_layer_is_its_block_and_minus_one_outside(granularity: str) -> None:
    for name, layer in layer_map(NAMES, granularity, outside="rank").items():
        assert layer is not None
        assert depth_of(layer) == (-1 if block_of(name) is None else block_of(name))
    assert [depth_of(layer) for layer in ("12", "12.mlp", "model.layers.3.mlp.up_proj.weight")] == [12, 12, 3]
    assert depth_of("visual.blocks.4.attn.qkv.weight") == -1


def test_granularity_splits_blocks() -> None:
    assert layers_in_order(layer_map(NAMES, "module")) == ["2.mlp", "2.attention", "10.mlp"]
    assert len(layers_in_order(layer_map(NAMES, "tensor"))) == 3


@pytest.mark.parametrize("options", [{"granularity": "row"}, {"outside": "forget"}])
def test_an_unknown_option_is_refused_with_the_known_ones(options: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="choose one of"):
        layer_map(NAMES, **options)
