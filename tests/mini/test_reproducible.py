"""Training gives the same bits whatever instructions the processor has."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="the promise is about x86-64")

#: Of ``python -m tests.mini.short_training``, with the versions of constraints.txt.
COMMITTED = "ab6ad09af8bcb09268c94203add2fe4f2f783580f5faec585806691e4a5e38ef"
#: Processors that this one can pretend to be: what MKL, oneDNN and the C library are told that they may use.
PROCESSORS = {
    "as it is": {},
    "SSE4.2": {"MKL_ENABLE_INSTRUCTIONS": "SSE4_2", "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-AVX,-FMA,-FMA4"},
    "AVX2": {"MKL_ENABLE_INSTRUCTIONS": "AVX2", "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX512F,-AVX512VL"},
}


@pytest.mark.parametrize(
    "processor", ["as it is", *(pytest.param(name, marks=pytest.mark.slow) for name in list(PROCESSORS)[1:])]
)
def test_a_short_training_has_the_committed_digest(processor: str) -> None:
    """A caller's own choice of kernels changes nothing either."""
    environment = {**os.environ, **PROCESSORS[processor], "ATEN_CPU_CAPABILITY": "avx2"}
    command = [sys.executable, "-m", "tests.mini.short_training"]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == COMMITTED
