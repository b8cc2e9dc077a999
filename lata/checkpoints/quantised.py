"""Whether a checkpoint's numbers are codes of a quantiser, said or unsaid.

Codes read as plain numbers give a merge, or scores, that are silently wrong. Many tools say only in a file of their
own, or only by the names of what they store, that a checkpoint is quantised.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lata.numerics.tensors import TensorInfo

#: Files by which tools say so: ModelOpt, AutoGPTQ, AutoAWQ.
MARKERS = ("hf_quant_config.json", "quantize_config.json", "quant_config.json")
# Keys of config.json: transformers, compressed-tensors, MLX.
_KEYS = ("quantization_config", "compression_config", "quantization")
# Tensors of GPTQ and AWQ; bitsandbytes; compressed-tensors, ModelOpt and fp8; quanto, torchao, HQQ; AQLM and QuIP#.
_NAME = re.compile(
    r"(^|[._:])(qweight|qzeros|(nested_)?absmax|(nested_)?quant_map|quant_state\..*|SCB|weight_format"
    r"|weight_packed|weight_zero_point|weight_scales?(_inv|_2)?|scale_inv|weight\._(data|scale)|qdata|weight_q"
    r"|codebooks|Qidxs)$"
)
# What is only suspicious where it holds integers: MLX, BitNet, MXFP4.
_PACKED = {"U8", "I8", "U16", "I16", "U32", "I32"}
_INTEGERS = re.compile(r"(^|[._])(weight|blocks|scales)$")


def why_quantised(folder: Path, config: Mapping[str, Any], tensors: Mapping[str, TensorInfo]) -> str:
    """What shows that the checkpoint in `folder` is quantised; nothing where it is plain.

    Args:
        folder: looked at for the marks of other tools.
        config: ``config.json``.
        tensors: its headers.
    """
    if key := _said(config):
        return f"{key} in config.json"
    if marker := next((name for name in MARKERS if (folder / name).exists()), None):
        return f"{marker} beside config.json"
    return why_codes(tensors)


def why_codes(tensors: Mapping[str, TensorInfo]) -> str:
    """What shows by headers alone that tensors hold codes; nothing where they are plain."""
    for name, info in tensors.items():
        eighth = info.dtype.startswith("F8")
        packed = info.dtype in _PACKED and _INTEGERS.search(name)
        if eighth or packed or is_of_quantiser(name):
            return f"it stores {name} as {info.dtype}"
    return ""


def is_of_quantiser(name: str) -> bool:
    """Whether a tensor of this name is stored beside codes alone."""
    return _NAME.search(name) is not None


def is_declared(config: Mapping[str, Any]) -> bool:
    """Whether ``config.json`` says it where transformers looks, so that it reads the codes as codes."""
    return config.get("quantization_config") is not None


def _said(config: Mapping[str, Any]) -> str | None:
    """The key by which a config, or a part of it, says so; null says nothing."""
    parts: Iterable[Mapping[str, Any]] = (config, *(part for part in config.values() if isinstance(part, Mapping)))
    return next((key for part in parts for key in _KEYS if isinstance(part.get(key), Mapping)), None)
