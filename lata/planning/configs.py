"""Where two models' ``config.json`` say different things about the same weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lata.untrusted.json_files import shown

#: Config values that shapes or heads depend on; some families shorten them.
SHAPES = (
    ("hidden_size", "n_embd"),
    ("num_attention_heads", "n_head"),
    ("num_key_value_heads",),
    ("head_dim",),
    ("intermediate_size", "n_inner"),
    ("num_local_experts", "num_experts"),
    ("num_experts_per_tok",),
)
#: Config values under which the same weights compute something else.
MEANINGS = (
    ("rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon"),
    ("hidden_act", "hidden_activation", "activation_function"),
    ("sliding_window",),
    ("query_pre_attn_scalar",),
    ("attn_logit_softcapping",),
    ("final_logit_softcapping",),
    ("partial_rotary_factor", "rotary_pct"),
)

# Where a config says how many blocks there are; the first two count those of a decoder behind an encoder.
_LAYERS = ("num_decoder_layers", "decoder_layers", "num_hidden_layers", "n_layer", "n_layers", "num_layers")
_KINDS = ("layers_block_type", "layer_types", "hybrid_override_pattern")
# Parts of a config that are a config of their own: that of the decoder.
_TEXT = ("thinker_config", "text_config", "llm_config", "language_config", "decoder")


def layers(config: Mapping[str, Any]) -> int | None:
    """Number of transformer blocks that `config` says, if it does."""
    text = _text(config)
    decoder = _LAYERS[:2] if config.get("is_encoder_decoder") else ()
    said = _first(text, (*decoder, *_LAYERS[2:]))
    if said is None:
        # Hybrid models may name the kind of each block instead.
        said = next((len(text[key]) for key in _KINDS if isinstance(text.get(key), (list, str))), None)
    return said if isinstance(said, int) else None


def differences(a: Mapping[str, Any], b: Mapping[str, Any], names: tuple[str, str]) -> tuple[list[str], list[str]]:
    """What differs between two configs, one line each: values that shapes depend on, and values that do not show.

    A value that only one of them has is not compared.

    Args:
        a, b: the configs.
        names: what messages call them.
    """
    ours, theirs = _text(a), _text(b)

    def line(key: str, one: Any, other: Any) -> str:
        return f"config.json: {key} is {shown(one)} in {names[0]}, {shown(other)} in {names[1]}"

    found: tuple[list[str], list[str]] = ([], [])
    for group, lines in zip((SHAPES, MEANINGS), found, strict=True):
        for keys in group:
            one, other = _first(ours, keys), _first(theirs, keys)
            if one is not None and other is not None and one != other:
                lines.append(line(keys[0], one, other))
    rope = _rope(theirs)
    changed = [(key, one, rope[key]) for key, one in _rope(ours).items() if key in rope and one != rope[key]]
    return [f"{text}; give models of one family" for text in found[0]], found[1] + [line(*each) for each in changed]


def _rope(config: Mapping[str, Any]) -> dict[str, Any]:
    """Rotary settings under one pair of names, however a version of transformers spells them."""
    nested = config.get("rope_parameters") or {}
    if any(isinstance(value, Mapping) for value in nested.values()):
        return {"rope_parameters": nested}
    scaling = {**(config.get("rope_scaling") or {}), **nested}
    theta = scaling.pop("rope_theta", None) or config.get("rope_theta")
    kinds = [scaling.pop("rope_type", None), scaling.pop("type", None)]
    kind = next((kind for kind in kinds if kind), "default")
    found = {"rope_scaling": None if kind == "default" else {"rope_type": kind, **scaling}}
    return found if theta is None else {"rope_theta": theta, **found}


def _first(config: Mapping[str, Any], keys: tuple[str, ...]) -> Any:
    return next((config[key] for key in keys if config.get(key) is not None), None)


def _text(config: Mapping[str, Any]) -> Mapping[str, Any]:
    part = next((config[key] for key in _TEXT if isinstance(config.get(key), Mapping) and config[key]), None)
    return config if part is None else _text(part)
