"""What a plan knows of devices: memory, bandwidth and dense arithmetic, from their makers' data sheets.

Makers print the bf16 rate of tensor cores with and without structured sparsity; the dense one counts here.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Machine:
    """A device.

    Attributes:
        name: as ``plan.gpu`` names it.
        title: as people do.
        memory: bytes; 0 for a CPU, which shares the machine's.
        bandwidth: of its memory, bytes a second; of a CPU, what one core reads.
        bf16: dense FLOP/s; of a CPU, of one core.
        fp32: likewise, outside tensor cores.
        compute_use: share of the FLOP/s that a forward pass is assumed to reach.
        source: where the numbers are from.
    """

    name: str
    title: str
    memory: float
    bandwidth: float
    bf16: float
    fp32: float
    compute_use: float
    source: str

    @property
    def is_cpu(self) -> bool:
        """Whether it is the machine's own processor."""
        return self.name == "cpu"

    def flops(self, dtype: str) -> float:
        """Dense FLOP/s in a dtype of `eval.settings`."""
        return self.fp32 if dtype == "float32" else self.bf16


_AMPERE = "https://www.nvidia.com/content/PDF/nvidia-ampere-ga-102-gpu-architecture-whitepaper-v2.pdf"
_ADA = "https://images.nvidia.com/aem-dam/Solutions/geforce/ada/nvidia-ada-gpu-architecture.pdf"
_A100 = (
    "https://www.nvidia.com/content/dam/en-zz/Solutions/Data-Center/a100/pdf/"
    "nvidia-a100-datasheet-us-nvidia-1758950-r4-web.pdf"
)

#: One core of an AMD EPYC (AVX-512, bf16 instructions): a product of two 1,024 × 1,024 matrices by
#: ``torch.set_num_threads(1)``, best of four, and the sum of 256 MB of fp32, best of three. A forward pass of the
#: miniature family reaches a quarter of it, for its matrices are small.
_CPU = "measured: one core of an AMD EPYC with AVX-512, PyTorch 2.13"

MACHINES = {
    machine.name: machine
    for machine in (
        Machine(
            "h100", "H100 SXM", 80e9, 3.35e12, 989e12, 67e12, 0.4, "https://www.nvidia.com/en-us/data-center/h100/"
        ),
        Machine(
            "h200", "H200 SXM", 141e9, 4.8e12, 989e12, 67e12, 0.4, "https://www.nvidia.com/en-us/data-center/h200/"
        ),
        Machine("a100", "A100 SXM 80 GB", 80e9, 2.039e12, 312e12, 19.5e12, 0.4, _A100),
        Machine("a6000", "RTX A6000", 48e9, 768e9, 154.8e12, 38.7e12, 0.4, _AMPERE),
        Machine("rtx4090", "GeForce RTX 4090", 24e9, 1.008e12, 165.2e12, 82.6e12, 0.4, _ADA),
        Machine("l40s", "L40S", 48e9, 864e9, 362e12, 91.6e12, 0.4, "https://www.nvidia.com/en-us/data-center/l40s/"),
        Machine("cpu", "CPU", 0.0, 25e9, 210e9, 94e9, 0.25, _CPU),
    )
}
