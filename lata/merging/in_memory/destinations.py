"""Where a merge in memory goes: block by block into the tensors of a loaded model, on whatever device they are.

A block goes straight into a piece of the processor's memory that has the merge's dtype. For a tensor on another
device or of another dtype, or for elements that do not lie together, it is made in a buffer and then copied, so that
the numbers are the same everywhere. A model of transformers may have other names and shapes than its checkpoint: it
is given what loading the merge from disk would give it (`lata.checkpoints.naming`).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias
from weakref import WeakKeyDictionary

from lata.engine.stream import Block
from lata.numerics.tensors import ITEM_SIZE, Raw, TensorInfo

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from lata.checkpoints.naming import Naming
    from lata.checkpoints.recorded import Region

    #: A model, or its parameters by name.
    LoadedModel: TypeAlias = torch.nn.Module | Mapping[str, torch.Tensor]


class Destination(Protocol):
    """Where one parameter goes."""

    def raw(self, block: Block) -> Raw:
        """The bytes to fill with a block."""
        ...

    def flush(self, block: Block, raw: Raw) -> None:
        """Called when they are filled."""
        ...


@dataclass(frozen=True)
class Buffer:
    """No tensor: every block goes into a buffer of its thread, in `dtype`, and is gone with the next."""

    dtype: str

    def raw(self, block: Block) -> Raw:
        return block.scratch.raw("model", block.count * ITEM_SIZE[self.dtype])

    def flush(self, block: Block, raw: Raw) -> None:
        pass


@dataclass(frozen=True)
class InPlace:
    """The bytes of a whole parameter, in `dtype`."""

    dtype: str
    whole: Raw

    def raw(self, block: Block) -> Raw:
        size = ITEM_SIZE[self.dtype]
        return self.whole[block.start * size : (block.start + block.count) * size]

    def flush(self, block: Block, raw: Raw) -> None:
        pass


@dataclass(frozen=True)
class Copied(Buffer):
    """A parameter that is copied, to another device or dtype or to where it does not lie in one piece."""

    regions: tuple[Region, ...]

    def flush(self, block: Block, raw: Raw) -> None:
        import torch

        from lata.numerics.torch_views import torch_dtype

        made = torch.from_numpy(raw).view(torch_dtype(self.dtype))
        for region in self.regions:
            region.put(block.start, made)


def destinations(
    model: LoadedModel, headers: Mapping[str, TensorInfo], taken: Mapping[str, list[Raw]]
) -> dict[str, Destination]:
    """Where each parameter of `headers` goes; nowhere, for one that transformers would not load into the model.

    Args:
        model: the model. Parameters that it ties may go by several names.
        headers: dtypes and shapes of the merge.
        taken: parameter → memory that the merge itself reads.

    Raises:
        ValueError: the model does not fit: a parameter is missing on either side, has another shape, is not
            contiguous or not loaded, or shares its memory with another one or with the merge's own inputs.
    """
    regions = _regions(model, headers)
    inside = [
        name
        for name, parts in regions.items()
        if any(_overlap(part.view, raw) for part in parts for raw in taken.get(name, ()))
    ]
    _refuse(f"{name} of the loaded model is the memory that the merge starts from: give a copy" for name in inside)
    return {name: _destination(regions.get(name, ()), info) for name, info in headers.items()}


def load(model: LoadedModel, tensors: Iterable[tuple[str, torch.Tensor]], headers: Mapping[str, TensorInfo]) -> None:
    """Put a whole checkpoint into a loaded model.

    Args:
        model: as for `destinations`, which says what is refused.
        tensors: its parameters, one after another.
        headers: of all of them.
    """
    regions = _regions(model, headers)
    for name, tensor in tensors:
        for region in regions.get(name, ()):
            region.put(0, tensor.reshape(-1))


#: How checkpoints become the loaded models of this process.
_known: WeakKeyDictionary[PreTrainedModel, tuple[Mapping[str, TensorInfo], Naming | None]] = WeakKeyDictionary()


def _regions(model: LoadedModel, headers: Mapping[str, TensorInfo]) -> dict[str, tuple[Region, ...]]:
    """Parameter → its parts in the loaded model, after all checks but one."""
    from lata.checkpoints.recorded import Region

    tensors, parameters = _named(model)
    if (naming := _naming(model, tensors, headers)) is not None:
        found = naming.regions(tensors)
        problems = [
            f"{name} is {shape} in the merge but {tuple(tensors[name].shape)} in the loaded model"
            for name, shape in naming.mismatched.items()
        ]
    else:
        problems = [f"{name} is not in the loaded model" for name in headers if name not in tensors]
        problems += [
            f"{name} is {info.shape} in the merge but {tuple(tensors[name].shape)} in the loaded model"
            for name, info in headers.items()
            if name in tensors and tuple(tensors[name].shape) != info.shape
        ]
        found = {
            name: [(name, Region((info.count,), (0,), tensors[name].detach().view(-1)))]
            if tensors[name].is_contiguous()
            else [(name, Region(info.shape, (0,) * len(info.shape), tensors[name].detach()))]
            for name, info in headers.items()
            if name in tensors and tuple(tensors[name].shape) == info.shape
        }
    # Name in the model → the first parameter of the merge that has a part in it.
    reached = {own: name for name, parts in reversed(found.items()) for own, _ in parts}
    seen: dict[int, str] = {}
    for own, name in sorted(reached.items(), key=lambda item: item[1]):
        tensor = tensors[own]
        if tensor.device.type == "meta" or not tensor.is_contiguous():
            problems.append(f"{own} is not one piece of memory in the loaded model: load it, make it contiguous")
        elif tensor.numel() and (other := seen.setdefault(tensor.data_ptr(), name)) != name:
            problems.append(f"{name} and {other} are one tensor in the loaded model but two in the merge")
    mismatched = naming.mismatched if naming is not None else {}
    problems += [
        f"{name} of the loaded model is not in the merge"
        for name, tensor in parameters.items()
        if name not in headers
        and name not in reached
        and name not in mismatched
        and tensor.numel()
        and (tensor.device.type == "meta" or tensor.data_ptr() not in seen)
    ]
    _refuse(problems)
    return {name: tuple(part for _, part in parts) for name, parts in found.items()}


def _naming(
    model: LoadedModel, tensors: Mapping[str, torch.Tensor], headers: Mapping[str, TensorInfo]
) -> Naming | None:
    """How transformers loads such a checkpoint into such a model; None where names and shapes are the same."""
    if not hasattr(model, "base_model_prefix"):
        return None
    from transformers import PreTrainedModel
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import WeightConverter

    if not isinstance(model, PreTrainedModel):
        return None
    if model in _known and _known[model][0] == headers:
        return _known[model][1]
    same = all(name in tensors and tuple(tensors[name].shape) == info.shape for name, info in headers.items())
    naming = None
    if not same or any(isinstance(step, WeightConverter) for step in get_model_conversion_mapping(model)):
        from lata.checkpoints.naming import Naming

        try:
            naming = Naming(type(model), model.config, headers)
        except ValueError as error:
            raise ValueError(f"the loaded model does not fit the merge: {error}") from None
        surprising = [name for name in naming.ignored if name not in naming.expected]
        if surprising:
            more = f" and {len(surprising) - 1} more" if len(surprising) > 1 else ""
            warnings.warn(
                f"a {type(model).__name__} has no place for {surprising[0]}{more}: merged, but not used",
                stacklevel=2,
            )
    _known[model] = dict(headers), naming
    return naming


def _refuse(problems: Iterable[str]) -> None:
    if listed := "; ".join(problems):
        raise ValueError(f"the loaded model does not fit the merge: {listed}")


def _named(model: LoadedModel) -> tuple[Mapping[str, torch.Tensor], Mapping[str, torch.Tensor]]:
    """All tensors by all their names, and the parameters that must be part of the merge."""
    import torch

    if not isinstance(model, torch.nn.Module):
        return model, model
    return model.state_dict(), dict(model.named_parameters())


def _overlap(tensor: torch.Tensor, raw: Raw) -> bool:
    """Whether memory that lies between a tensor's first and last element is the merge's own."""
    if tensor.device.type != "cpu" or not tensor.numel() or not raw.size:
        return False
    begin = tensor.data_ptr()
    last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return begin < raw.ctypes.data + raw.size and raw.ctypes.data < begin + (last + 1) * tensor.element_size()


def _destination(regions: tuple[Region, ...], info: TensorInfo) -> Destination:
    from lata.numerics.torch_views import raw_view, torch_dtype

    if not regions:
        return Buffer(info.dtype)
    view = regions[0].view
    if len(regions) == 1 and regions[0].whole and view.device.type == "cpu" and view.dtype == torch_dtype(info.dtype):
        return InPlace(info.dtype, raw_view(view))
    return Copied(info.dtype, regions)
