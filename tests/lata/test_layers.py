"""Which parameters are the decoder's blocks, on the names that published families store.

``families.json`` holds for every causal language model that transformers 5.23 could build with three blocks: what its
config says of their number, the containers of its checkpoint with their numbers of children, and which of them is the
decoder's (null where that is open: the model has several, and the user names one).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lata.engine.layers import Blocks, find_blocks, layer_map, layers_in_order, module_of
from lata.planning import configs

FAMILIES: dict[str, Any] = json.loads((Path(__file__).parent / "families.json").read_text())
LAYERS = "model.layers"


def children(**containers: int) -> list[str]:
    """Parameter names: container (dots written as __) → number of its children."""
    return [f"{c.replace('__', '.')}.{i}.mlp.weight" for c, count in containers.items() for i in range(count)]


@pytest.mark.parametrize("kind", FAMILIES)
def test_the_decoder_of_every_family_is_found(kind: str) -> None:
    family = FAMILIES[kind]
    names = [f"{c}.{i}.attention.weight" for c, count in family["numbered"].items() for i in range(count)]
    found = find_blocks([*names, "lm_head.weight"], configs.layers(family["config"]))
    assert (found.container or None) == family["container"]
    if family["container"]:
        assert not found.problem
        assert {found.of(name) for name in names} - {None} == {0, 1, 2}
        assert all((found.of(name) is not None) == name.startswith(f"{found.container}.") for name in names)


@pytest.mark.parametrize(
    "foreign",
    [
        "mtp__layers",
        "mm_projector",
        "model__mm_projector",
        "model__altup_projections",
        "model__altup_unembed_projections",
        "vpm__encoder__layers",
        "apm__layers",
        "talker__model__layers",
        "projector__layers",
        "visual__blocks",
        "model__vision_tower__vision_model__encoder__layers",
        "model__audio_tower__layers",
        "thinker__audio_tower__layers",
        "encoder__layers",
        "vision_model__transformer__layers",
    ],
)
@pytest.mark.parametrize("count", [3, None])
def test_numbered_parts_beside_the_decoder_are_outside(foreign: str, count: int | None) -> None:
    decoder, more = children(model__language_model__layers=3), children(**{foreign: 3})
    found = find_blocks([*more, *decoder], count)
    assert found.container == "model.language_model.layers"
    assert [found.of(name) for name in (*decoder, *more)] == [0, 1, 2, None, None, None]


def test_children_past_those_of_the_config_are_outside() -> None:
    names = children(model__layers=4)
    assert find_blocks(names, 3) == Blocks(LAYERS, 3)
    assert [find_blocks(names, 3).of(name) for name in names] == [0, 1, 2, None]
    assert [find_blocks(names).of(name) for name in names] == [0, 1, 2, 3]


def test_the_decoder_counts_where_the_encoder_has_as_many() -> None:
    names = children(encoder__block=3, decoder__block=3)
    config = {"is_encoder_decoder": True, "num_layers": 5, "num_decoder_layers": 3}
    assert find_blocks(names, configs.layers(config)) == Blocks("decoder.block", 3)


def test_experts_inside_a_block_are_no_blocks() -> None:
    names = [f"model.layers.{i}.mlp.experts.{j}.w1.weight" for i in range(2) for j in range(9)]
    assert find_blocks(names, 2) == Blocks(LAYERS, 2)
    assert find_blocks(names).of(names[-1]) == 1


def test_a_checkpoint_that_lacks_blocks_has_those_that_are_there() -> None:
    assert find_blocks(children(model__layers=2, mtp__layers=1), 5) == Blocks(LAYERS, 5)


def test_an_open_choice_is_refused_with_the_candidates_until_one_is_named() -> None:
    names = children(model__h_module__layers=16, model__l_module__layers=12)
    found = find_blocks(names, 3)
    assert found.of(names[0]) is None
    assert "model.h_module.layers (16), model.l_module.layers (12): give blocks=CONTAINER" in found.problem
    assert "3 by config.json" in found.problem
    with pytest.raises(ValueError, match="it is open which tensors"):
        layer_map(names, blocks=found)
    named = find_blocks(names, 3, "model.l_module.layers")
    assert sorted({named.of(name) for name in names} - {None}) == list(range(12))  # type: ignore[type-var]
    assert "blocks=model.layers has no numbered children" in find_blocks(names, 3, LAYERS).problem


def test_a_container_that_is_named_has_the_blocks_that_the_config_counts() -> None:
    assert find_blocks(children(model__layers=4, talker__layers=3), 3, LAYERS) == Blocks(LAYERS, 3)
    assert find_blocks(children(model__layers=3, talker__layers=4), 3, "talker.layers") == Blocks("talker.layers")
    inside = find_blocks(["model.layers.0.parts.0.w", "model.layers.0.parts.1.w"], 1, "model.layers.0.parts")
    assert inside.of("model.layers.0.parts.1.w") == 1


@pytest.mark.parametrize(
    "config",
    [
        {"num_hidden_layers": 3},
        {"n_layer": 3},
        {"text_config": {"num_hidden_layers": 3}, "num_hidden_layers": 9},
        {"thinker_config": {"text_config": {"num_hidden_layers": 3}}, "talker_config": {"num_hidden_layers": 2}},
        {"layers_block_type": ["mamba", "attention", "mamba"]},
        {"hybrid_override_pattern": "M*-"},
    ],
)
def test_a_config_says_how_many_blocks_there_are(config: dict[str, Any]) -> None:
    assert configs.layers(config) == 3


@pytest.mark.parametrize(
    ("inside", "module"),
    [
        ("self_attn.q_norm.weight", "attention"),
        ("input_layernorm.weight", "norm"),
        ("ln_1.weight", "norm"),
        ("attn.c_attn.weight", "attention"),
        ("mlp.gate_proj.weight", "mlp"),
        ("attention.dense.weight", "attention"),
    ],
)
def test_a_parameter_belongs_to_the_module_under_its_block(inside: str, module: str) -> None:
    assert module_of(inside) == module
    assert find_blocks(["h.0.x"]).inside(f"h.0.{inside}") == inside


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
    blocks = find_blocks(NAMES)
    for name, layer in layer_map(NAMES, granularity, outside="rank").items():
        assert layer is not None
        assert blocks.depth(layer) == (-1 if blocks.of(name) is None else blocks.of(name))
    assert [blocks.depth(layer) for layer in ("12", "12.mlp", "model.layers.3.mlp.up_proj.weight")] == [12, 12, 3]
    assert blocks.depth("visual.blocks.4.attn.qkv.weight") == -1


def test_granularity_splits_blocks() -> None:
    assert layers_in_order(layer_map(NAMES, "module")) == ["2.mlp", "2.attention", "10.mlp"]
    assert len(layers_in_order(layer_map(NAMES, "tensor"))) == 3


@pytest.mark.parametrize("options", [{"granularity": "row"}, {"outside": "forget"}])
def test_an_unknown_option_is_refused_with_the_known_ones(options: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="choose one of"):
        layer_map(NAMES, **options)  # type: ignore[arg-type]
