"""Where a merge in memory goes: block by block into the tensors of a live model, on whatever device they are.

A block goes straight into a tensor in the processor's memory that has the merge's dtype. For a tensor on another
device, or of another dtype, it is made in a buffer and then copied, so that the numbers are the same everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np

from lata.stream import Block
from lata.tensors import ITEM_SIZE, Raw, TensorInfo

if TYPE_CHECKING:
    import torch

    #: A model, or its parameters by name.
    Live: TypeAlias = torch.nn.Module | Mapping[str, torch.Tensor]


class Place(Protocol):
    """Where one parameter goes."""

    def raw(self, block: Block) -> Raw:
        """The bytes to fill with a block."""
        ...

    def settle(self, block: Block, raw: Raw) -> None:
        """Called when they are filled."""
        ...


@dataclass(frozen=True)
class Buffer:
    """No tensor: every block goes into a buffer of its thread, in `dtype`, and is gone with the next."""

    dtype: str

    def raw(self, block: Block) -> Raw:
        return block.scratch.raw("live", block.count * ITEM_SIZE[self.dtype])

    def settle(self, block: Block, raw: Raw) -> None:
        pass


@dataclass(frozen=True)
class Memory:
    """The bytes of a whole parameter, in `dtype`."""

    dtype: str
    whole: Raw

    def raw(self, block: Block) -> Raw:
        size = ITEM_SIZE[self.dtype]
        return self.whole[block.start * size : (block.start + block.count) * size]

    def settle(self, block: Block, raw: Raw) -> None:
        pass


@dataclass(frozen=True)
class Elsewhere(Buffer):
    """A parameter on another device or of another dtype: `flat` has one dimension."""

    flat: torch.Tensor

    def settle(self, block: Block, raw: Raw) -> None:
        import torch

        from lata.memory import torch_dtype

        made = torch.from_numpy(raw).view(torch_dtype(self.dtype))
        self.flat[block.start : block.start + block.count].copy_(made)


def places(live: Live, headers: Mapping[str, TensorInfo], taken: Mapping[str, list[Raw]]) -> dict[str, Place]:
    """Where each parameter of `headers` goes.

    Args:
        live: the model. Parameters that it ties may go by several names.
        headers: dtypes and shapes of the merge.
        taken: parameter → memory that the merge itself reads.

    Raises:
        ValueError: the model does not fit: a parameter is missing on either side, has another shape, is not
            contiguous or not loaded, or shares its memory with another one or with the merge's own inputs.
    """
    tensors, parameters = _named(live)
    problems, found, seen = [], dict[str, Place](), dict[int, str]()
    for name, info in headers.items():
        if name not in tensors:
            problems.append(f"{name} is not in the live model")
            continue
        tensor = tensors[name].detach()
        other = seen.setdefault(tensor.data_ptr(), name) if tensor.numel() else name
        if tuple(tensor.shape) != info.shape:
            problems.append(f"{name} is {info.shape} in the merge but {tuple(tensor.shape)} in the live model")
        elif tensor.device.type == "meta" or not tensor.is_contiguous():
            problems.append(f"{name} is not one piece of memory in the live model: load it, make it contiguous")
        elif other != name:
            problems.append(f"{name} and {other} are one tensor in the live model but two in the merge")
        else:
            found[name] = _place(tensor, info)
            if isinstance(place := found[name], Memory) and any(
                np.may_share_memory(place.whole, raw) for raw in taken[name]
            ):
                problems.append(f"{name} of the live model is the memory that the merge starts from: give a copy")
    problems += [
        f"{name} of the live model is not in the merge"
        for name, tensor in parameters.items()
        if name not in headers and tensor.numel() and tensor.data_ptr() not in seen
    ]
    if problems:
        raise ValueError("the live model does not fit the merge: " + "; ".join(problems))
    return found


def _named(live: Live) -> tuple[Mapping[str, torch.Tensor], Mapping[str, torch.Tensor]]:
    """All tensors by all their names, and the parameters that must be part of the merge."""
    import torch

    if not isinstance(live, torch.nn.Module):
        return live, live
    return live.state_dict(), dict(live.named_parameters())


def _place(tensor: torch.Tensor, info: TensorInfo) -> Place:
    from lata.memory import raw_view, torch_dtype

    if tensor.device.type == "cpu" and tensor.dtype == torch_dtype(info.dtype):
        return Memory(info.dtype, raw_view(tensor))
    return Elsewhere(info.dtype, tensor.view(-1))
