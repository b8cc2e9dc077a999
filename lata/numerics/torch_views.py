"""The dtypes of torch and of safetensors, and the bytes of torch's tensors; torch is imported when it is used."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lata.numerics.tensors import Raw

if TYPE_CHECKING:
    import torch

#: torch dtype → safetensors dtype.
DTYPES = {
    "torch.float64": "F64",
    "torch.float32": "F32",
    "torch.float16": "F16",
    "torch.bfloat16": "BF16",
    "torch.float8_e4m3fn": "F8_E4M3",
    "torch.float8_e5m2": "F8_E5M2",
}


def torch_dtype(dtype: str) -> torch.dtype:
    """The torch dtype of a safetensors dtype that is merged."""
    import torch

    names = {ours: theirs for theirs, ours in DTYPES.items()}
    found: torch.dtype = getattr(torch, names[dtype].removeprefix("torch."))
    return found


def raw_view(tensor: torch.Tensor) -> Raw:
    """The bytes of a tensor on the CPU, row-major; shared where it is contiguous."""
    import torch

    return np.asarray(tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy())
