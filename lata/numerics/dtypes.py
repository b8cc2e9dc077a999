"""Stored numbers ↔ fp32: every float dtype of safetensors, exact one way and rounded to nearest even the other."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lata.numerics.tensors import Raw

Float = npt.NDArray[np.float32]


def to_float32(raw: Raw, dtype: str, out: Float) -> None:
    """Fill `out` with the numbers that `raw` holds; F64 is rounded, the others are exact."""
    if dtype == "BF16":
        from lata.numerics.kernels import widen

        widen(raw.view(np.uint16), out.view(np.uint32))
    else:
        out[:] = raw.view(_numpy(dtype))


def to_float32_minus(raw: Raw, dtype: str, other: Float, out: Float) -> None:
    """As `to_float32`, less `other`, in fp32."""
    if dtype == "BF16":
        from lata.numerics.kernels import widen_minus

        widen_minus(raw.view(np.uint16), other, out)
    else:
        to_float32(raw, dtype, out)
        np.subtract(out, other, out=out)


def is_finite(raw: Raw, dtype: str) -> bool:
    """Whether every number that `raw` holds is finite, in fp32."""
    if dtype == "BF16":
        from lata.numerics.kernels import finite_bf16

        return finite_bf16(raw.view(np.uint16))
    with np.errstate(over="ignore"):
        return bool(np.isfinite(raw.view(_numpy(dtype)).astype(np.float32, copy=False)).all())


def from_float32(values: Float, dtype: str, raw: Raw) -> None:
    """Fill `raw` with `values` in another dtype, rounded once; what is too large for it becomes infinite or NaN."""
    if dtype == "BF16":
        from lata.numerics.kernels import narrow

        narrow(values.view(np.uint32), raw.view(np.uint16))
    else:
        with np.errstate(over="ignore"):
            raw.view(_numpy(dtype))[:] = values


def _numpy(dtype: str) -> np.dtype[np.generic]:
    plain = {"F64": np.float64, "F32": np.float32, "F16": np.float16}
    if dtype in plain:
        return np.dtype(plain[dtype])
    import ml_dtypes

    eighth: dict[str, type[np.generic]] = {"F8_E4M3": ml_dtypes.float8_e4m3fn, "F8_E5M2": ml_dtypes.float8_e5m2}
    return np.dtype(eighth[dtype])
