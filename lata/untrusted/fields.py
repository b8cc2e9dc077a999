"""What the JSON files of a checkpoint may hold where the suite reads them: file → key → kind of value.

Everything else in them is passed over. Null stands for absent everywhere, as transformers writes it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Kind:
    """A kind of value.

    Attributes:
        words: what messages call it.
        fits: whether a value is of this kind.
    """

    words: str
    fits: Callable[[Any], bool]


def _each(kind: Kind, words: str) -> Kind:
    return Kind(words, lambda value: isinstance(value, list) and all(map(kind.fits, value)))


def _table(kind: Kind, words: str) -> Kind:
    return Kind(words, lambda value: isinstance(value, dict) and all(map(kind.fits, value.values())))


def _either(*kinds: Kind) -> Kind:
    return Kind(" or ".join(kind.words for kind in kinds), lambda value: any(kind.fits(value) for kind in kinds))


def _is_number(value: Any) -> bool:
    # Compared, not converted: a whole number can be too large for a float.
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -math.inf < value < math.inf


OBJECT = Kind("an object", lambda value: isinstance(value, dict))
FLAG = Kind("true or false", lambda value: isinstance(value, bool))
# What messages and files repeat: no control characters in it.
TEXT = Kind("one line of text", lambda value: isinstance(value, str) and value.isprintable() and len(value) < 4096)
COUNT = Kind("a whole number from 0", lambda value: type(value) is int and 0 <= value < 2**63)
RANK = Kind("a whole number from 1", lambda value: type(value) is int and 1 <= value < 2**31)
NUMBER = Kind("a finite number", lambda value: _is_number(value) and abs(value) < 1e300)
TEXTS = _each(TEXT, "a list of texts")

#: Stands for every key of an object.
EVERY = "*"

_MODEL: dict[str, Kind] = {
    "architectures": TEXTS,
    "model_type": TEXT,
    "tie_word_embeddings": FLAG,
    "rope_scaling": OBJECT,
    "rope_parameters": OBJECT,
    "quantization_config": OBJECT,
    "compression_config": OBJECT,
    "auto_map": OBJECT,
    **dict.fromkeys(("num_hidden_layers", "n_layer", "num_layers", "vocab_size", "hidden_size", "n_embd"), COUNT),
}
_TOKENS = _table(COUNT, "an object of tokens and their numbers")

FIELDS: Mapping[str, Mapping[str, Kind | Mapping[str, Any]]] = {
    "config.json": {**_MODEL, "text_config": _MODEL},
    "model.safetensors.index.json": {
        "weight_map": _table(TEXT, "an object of tensors and their files"),
    },
    "adapter_config.json": {
        "peft_type": TEXT,
        "base_model_name_or_path": TEXT,
        "revision": TEXT,
        "r": RANK,
        "lora_alpha": NUMBER,
        "rank_pattern": _table(RANK, "an object of patterns and ranks"),
        "alpha_pattern": _table(NUMBER, "an object of patterns and numbers"),
        "use_rslora": FLAG,
        "fan_in_fan_out": FLAG,
        "init_lora_weights": _either(FLAG, TEXT),
        "target_modules": _either(TEXTS, TEXT),
        "modules_to_save": TEXTS,
    },
    "vocab.json": {EVERY: COUNT},
    "added_tokens.json": {EVERY: COUNT},
    "tokenizer.json": {
        "model": {
            "vocab": _either(
                _TOKENS,
                _each(
                    Kind("", lambda pair: isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str)),
                    "a list of tokens and their scores",
                ),
            ),
            "merges": _each(
                Kind(
                    "",
                    lambda pair: (
                        isinstance(pair, str)
                        or (isinstance(pair, list) and len(pair) == 2 and all(isinstance(part, str) for part in pair))
                    ),
                ),
                "a list of pairs of tokens",
            ),
        },
        "added_tokens": _each(
            Kind(
                "",
                lambda token: (
                    isinstance(token, dict) and COUNT.fits(token.get("id")) and isinstance(token.get("content"), str)
                ),
            ),
            "a list of tokens with id and content",
        ),
    },
    "tokenizer_config.json": {"tokenizer_class": TEXT, "auto_map": OBJECT},
}
