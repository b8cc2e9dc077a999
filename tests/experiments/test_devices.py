"""Which GPUs a process may use, by its environment and by a stand-in for the driver's tool."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from experiments.steps import devices

LISTED = {
    "": [],
    "No devices found.\n": [],
    "GPU 0: NVIDIA H200 (UUID: GPU-aa)\nGPU 1: NVIDIA H200 (UUID: GPU-bb)\n": ["0", "1"],
    "GPU 0: NVIDIA A100 (UUID: GPU-aa)\n"
    "  MIG 3g.20gb     Device  0: (UUID: MIG-cc)\n"
    "  MIG 3g.20gb     Device  1: (UUID: MIG-dd)\n"
    "GPU 1: NVIDIA A100 (UUID: GPU-bb)\n": ["MIG-cc", "MIG-dd", "1"],
}


@pytest.mark.parametrize(
    ("variable", "expected"),
    [
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("3", ["3"]),
        ("2, 0", ["2", "0"]),
        ("0,-1,1", ["0"]),
        ("GPU-8932f937,MIG-e91edf3c", ["GPU-8932f937", "MIG-e91edf3c"]),
    ],
)
def test_the_environment_says_which_gpus(variable: str, expected: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", variable)
    assert devices.gpus() == expected


@pytest.mark.parametrize(("listed", "expected"), list(LISTED.items()))
def test_without_it_the_drivers_tool_says(
    listed: str, expected: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n[ \"$1\" = -L ] || exit 1\n/bin/cat <<'END'\n{listed}END\n")
    tool.chmod(0o755)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert devices.gpus() == expected


@pytest.mark.parametrize("tool", [None, "#!/bin/sh\nexit 9\n"], ids=["no tool", "a tool that fails"])
def test_without_the_tool_the_driver_says(tool: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if tool is not None:
        (tmp_path / "nvidia-smi").write_text(tool)
        (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(devices, "_driver_count", lambda: 2)
    assert devices.gpus() == ["0", "1"]


def test_asking_loads_nothing_heavy() -> None:
    script = "import sys; from experiments.steps.devices import gpus; gpus(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_what_this_machine_cannot_evaluate_with_is_refused_before_anything_is_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(devices, "find_device", lambda asked: "cpu" if asked == "auto" else asked)
    assert devices.evaluation_device("auto", "hf") == "cpu"
    with pytest.raises(ValueError, match=r"eval\.device=cuda:1: there is no GPU .* choose eval\.device=auto"):
        devices.evaluation_device("cuda:1", "hf")
    monkeypatch.setattr(devices, "find_spec", lambda _: None)
    with pytest.raises(ValueError, match=r"vllm is not installed here; pip install .* set eval\.backend=hf"):
        devices.evaluation_device("cpu", "vllm")
