"""The GPUs that this process may use, found without loading torch, so that each worker process can be given its own.

What is found here is what ``CUDA_VISIBLE_DEVICES`` of a process that uses one of them must say.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.metadata
import os
import re
import subprocess
from importlib.util import find_spec


@functools.lru_cache
def find_device(wanted: str) -> str:
    """``cpu`` or ``cuda``: `wanted`, or for ``auto`` what this machine has, found without importing torch."""
    if wanted != "auto":
        return wanted
    if importlib.metadata.version("torch").endswith("+cpu"):
        return "cpu"
    return "cuda" if _driver_count() > 0 else "cpu"


def gpus() -> list[str]:
    """Entries for ``CUDA_VISIBLE_DEVICES``, one a GPU; empty where there is none.

    Where the variable is set, by a user or by a cluster for its job, its own entries; else what the driver tells:
    indices, or for a GPU that is cut into MIG devices the identifiers of those.
    """
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return _valid(given)
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=60, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        # Containers can have the driver without its tools.
        return [str(index) for index in range(_driver_count())]
    return _listed(listed)


def evaluation_device(asked: str, backend: str) -> str:
    """Where to evaluate: ``cpu``, ``cuda`` or ``cuda:1``.

    Raises:
        ValueError: this machine has no GPU that PyTorch can use where one is asked for, or no vLLM; said before
            anything is fetched or merged.
    """
    device = find_device(asked)
    if device.startswith("cuda") and find_device("auto") != "cuda":
        raise ValueError(f"eval.device={device}: there is no GPU that this PyTorch can use; choose eval.device=auto")
    if backend == "vllm" and find_spec("vllm") is None:
        raise ValueError(
            "eval.backend=vllm: the package vllm is not installed here; pip install 'lata-bench[vllm]', or set "
            "eval.backend=hf"
        )
    return device


def _valid(variable: str) -> list[str]:
    """Entries up to the first that names no device, as CUDA reads them: ``0,-1,1`` is GPU 0 alone."""
    entries = []
    for entry in (part.strip() for part in variable.split(",")):
        if not re.fullmatch(r"\d+|(?:GPU|MIG)-.+", entry):
            break
        entries.append(entry)
    return entries


def _listed(text: str) -> list[str]:
    """``nvidia-smi -L``: a line for each GPU, and below it one for each of its MIG devices."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if gpu := re.match(r"GPU (\d+): ", line):
            found[gpu.group(1)] = []
        elif found and (mig := re.match(r"\s+MIG .*\(UUID: (MIG-[^)]+)\)", line)):
            found[next(reversed(found))].append(mig.group(1))
    return [entry for index, parts in found.items() for entry in (parts or [index])]


def _driver_count() -> int:
    """Number of GPUs by the CUDA driver's own library; 0 where there is none."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int()
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value


def cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
