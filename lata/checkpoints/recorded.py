"""Tensors without data that record how others are made of them, and the way back from a result to its sources.

Known are the steps that move elements and change none: renaming, stacking, joining, splitting, turning, reshaping.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch.utils._pytree import tree_map

from lata.numerics.torch_views import torch_dtype

if TYPE_CHECKING:
    from lata.numerics.tensors import TensorInfo

Sizes = tuple[int, ...]
_OP = torch.ops.aten

#: Steps after which every element is where it was; a change of dtype counts as one, for loaded tensors keep theirs.
_SAME = {_OP.alias.default, _OP.detach.default, _OP.clone.default, _OP._to_copy.default, _OP.lift_fresh.default}
_RESHAPE = {_OP.view.default, _OP._unsafe_view.default, _OP.reshape.default, _OP._reshape_alias.default}
_RESHAPE |= {_OP.squeeze.default, _OP.squeeze.dim, _OP.squeeze.dims, _OP.unsqueeze.default}


@dataclass(frozen=True)
class Region:
    """A part of a stored tensor, and where it lies in a loaded one.

    Attributes:
        shape: of the whole stored tensor, maybe with dimensions of it split.
        begin: the part's first index in each dimension.
        view: the part's elements in the memory of a loaded model, with as many dimensions.
    """

    shape: Sizes
    begin: Sizes
    view: torch.Tensor

    @property
    def whole(self) -> bool:
        """Whether it is all of the tensor, in one piece of memory."""
        return self.view.is_contiguous() and self.view.numel() == math.prod(self.shape)

    def put(self, start: int, values: torch.Tensor) -> None:
        """Copy what belongs here of `values` (one dimension), the stored tensor's elements from `start` on."""
        _put(self.view, self.shape, self.begin, start, values)


class Recorded(torch.Tensor):
    """A tensor without data.

    Attributes:
        meta: the same on the device ``meta``.
        source: name of a stored tensor; empty for one that is made of others.
        made: the step that made it, its arguments, and which of the step's results it is.
    """

    meta: torch.Tensor
    source: str
    made: tuple[Any, tuple[Any, ...], Mapping[str, Any], int] | None

    @staticmethod
    def stored(name: str, info: TensorInfo) -> Recorded:
        """A tensor of a checkpoint."""
        found = _recorded(torch.empty(info.shape, dtype=torch_dtype(info.dtype), device="meta"))
        found.source = name
        return found

    @property
    def unchanged(self) -> str | None:
        """The stored tensor that this one is, under whatever name; None where elements were moved."""
        if self.made is None:
            return self.source
        step, arguments, _, _ = self.made
        return arguments[0].unchanged if step in _SAME else None

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        given = {**(kwargs or {}), **({"device": "meta"} if "device" in (kwargs or {}) else {})}
        out = func(*tree_map(_bare, args), **tree_map(_bare, given))
        if isinstance(out, torch.Tensor):
            return _recorded(out, (func, args, given, 0))
        if isinstance(out, (tuple, list)):
            return type(out)(_recorded(tensor, (func, args, given, i)) for i, tensor in enumerate(out))
        return out


def _recorded(meta: torch.Tensor, made: Any = None) -> Recorded:
    found: Recorded = torch.Tensor._make_wrapper_subclass(
        Recorded, meta.shape, strides=meta.stride(), dtype=meta.dtype, device=meta.device
    )
    found.meta, found.made, found.source = meta, made, ""
    return found


def _bare(value: Any) -> Any:
    return value.meta if isinstance(value, Recorded) else value


def followed(tensor: Recorded, begin: Sizes, view: torch.Tensor) -> Iterator[tuple[str, Region]]:
    """The stored tensors that a part of `tensor` is made of, and where in `view` each of them lies.

    Args:
        tensor: what was made.
        begin: the part's first index in each dimension.
        view: the part in the memory of a loaded model.

    Raises:
        ValueError: it was made by a step that is not known here.
    """
    while tensor.made is not None and tensor.made[0] in _SAME:
        tensor = tensor.made[1][0]
    if tensor.made is None:
        yield tensor.source, Region(tuple(tensor.meta.shape), begin, view)
        return
    step, arguments, options, piece = tensor.made
    if step in _RESHAPE:
        yield from _reshaped(arguments[0], tuple(tensor.meta.shape), begin, view)
        return
    if step not in _MOVES:
        raise ValueError(f"transformers loads it by a step that is not known here, {step}")
    names = [argument.name for argument in step._schema.arguments]
    defaults = {argument.name: argument.default_value for argument in step._schema.arguments}
    given = {**defaults, **dict(zip(names, arguments, strict=False)), **options}
    for source, first, part in _MOVES[step](given, piece, begin, view):
        yield from followed(source, first, part)


Moved = Iterator[tuple[Recorded, Sizes, torch.Tensor]]


def _transposed(given: Mapping[str, Any], piece: int, begin: Sizes, view: torch.Tensor) -> Moved:
    order = list(range(view.ndim))
    a, b = given.get("dim0", 0), given.get("dim1", 1)
    order[a], order[b] = order[b], order[a]
    yield given["self"], tuple(begin[dim] for dim in order), view.permute(order)


def _permuted(given: Mapping[str, Any], piece: int, begin: Sizes, view: torch.Tensor) -> Moved:
    dims = [dim % view.ndim for dim in given["dims"]]
    order = [dims.index(dim) for dim in range(view.ndim)]
    yield given["self"], tuple(begin[dim] for dim in order), view.permute(order)


def _stacked(given: Mapping[str, Any], piece: int, begin: Sizes, view: torch.Tensor) -> Moved:
    dim = given["dim"] % view.ndim
    for index in range(view.shape[dim]):
        rest = begin[:dim] + begin[dim + 1 :]
        yield given["tensors"][begin[dim] + index], rest, view.select(dim, index)


def _joined(given: Mapping[str, Any], piece: int, begin: Sizes, view: torch.Tensor) -> Moved:
    dim, offset = given["dim"] % view.ndim, 0
    for source in given["tensors"]:
        low, high = max(begin[dim], offset), min(begin[dim] + view.shape[dim], offset + source.shape[dim])
        if low < high:
            first = (*begin[:dim], low - offset, *begin[dim + 1 :])
            yield source, first, view.narrow(dim, low - begin[dim], high - low)
        offset += source.shape[dim]


def _cut(given: Mapping[str, Any], piece: int, begin: Sizes, view: torch.Tensor) -> Moved:
    dim = given["dim"] % view.ndim
    if "split_sizes" in given:
        offset = sum(given["split_sizes"][:piece])
    elif "split_size" in given:
        offset = piece * given["split_size"]
    else:
        offset = (given["start"] or 0) % max(1, given["self"].shape[dim])
        if given["step"] != 1:
            raise ValueError("transformers loads it by leaving out elements, which is not known here")
    yield given["self"], (*begin[:dim], begin[dim] + offset, *begin[dim + 1 :]), view


def _selected(given: Mapping[str, Any], piece: int, begin: Sizes, view: torch.Tensor) -> Moved:
    dim = given["dim"] % (view.ndim + 1)
    index = given["index"] % given["self"].shape[dim] if "index" in given else piece
    yield given["self"], (*begin[:dim], index, *begin[dim:]), view.unsqueeze(dim)


#: Step → the way back: the arguments of the step, which of its results it is, and a part of that result.
_MOVES: dict[Any, Callable[[Mapping[str, Any], int, Sizes, torch.Tensor], Moved]] = {
    _OP.transpose.int: _transposed,
    _OP.t.default: _transposed,
    _OP.permute.default: _permuted,
    _OP.stack.default: _stacked,
    _OP.cat.default: _joined,
    _OP.split.Tensor: _cut,
    _OP.split_with_sizes.default: _cut,
    _OP.slice.Tensor: _cut,
    _OP.select.int: _selected,
    _OP.unbind.int: _selected,
}


def _reshaped(source: Recorded, shape: Sizes, begin: Sizes, view: torch.Tensor) -> Iterator[tuple[str, Region]]:
    """The way back from a tensor of `shape` to `source`, of another shape with the elements in the same order.

    Both shapes are parts of a finer one, in which a part is split first. A stored tensor can stay as fine as that:
    only the order of its elements counts.
    """
    while source.made is not None and source.made[0] in _SAME:
        source = source.made[1][0]
    before = tuple(source.meta.shape)
    fine = _common(shape, before)
    begin, view = _split(shape, fine, begin, view)
    if source.made is None:
        yield source.source, Region(fine, begin, view)
    else:
        for first, part in _merged(before, fine, begin, view):
            yield from followed(source, first, part)


def _common(a: Sizes, b: Sizes) -> Sizes:
    """The shape, without dimensions of size 1, whose neighbouring dimensions make up those of `a` and of `b`."""
    cuts = sorted({math.prod(shape[dim:]) for shape in (a, b) for dim in range(len(shape) + 1)})
    if any(high % low for low, high in pairwise(cuts)):
        raise ValueError(f"transformers loads it by making {list(b)} of {list(a)}, which is not known here")
    return tuple(high // low for low, high in pairwise(cuts))[::-1]


def _groups(shape: Sizes, fine: Sizes) -> list[Sizes]:
    """For each dimension of `shape` the dimensions of `fine` that it is made of."""
    groups, position = [], 0
    for size in shape:
        first, count = position, 1
        while count < size:
            count *= fine[position]
            position += 1
        groups.append(fine[first:position])
    return groups


def _split(shape: Sizes, fine: Sizes, begin: Sizes, view: torch.Tensor) -> tuple[Sizes, torch.Tensor]:
    """A part of a tensor of `shape` as one of the finer shape."""
    first: list[int] = []
    for start, group in zip(begin, _groups(shape, fine), strict=True):
        sizes, count = [], view.shape[len(first)]
        for dim, size in enumerate(group):
            inner = math.prod(group[dim + 1 :])
            whole = start % inner == 0 and count % inner == 0
            if not whole and start // inner != (start + count - 1) // inner:
                raise ValueError("transformers loads it by dividing a part unevenly, which is not known here")
            first.append(start // inner)
            sizes.append(count // inner if whole else 1)
            start, count = (0, inner) if whole else (start % inner, count)
            assert sizes[-1] <= size
        at = len(first) - len(group)
        view = torch.unflatten(view, at, sizes) if sizes else view.squeeze(at)
    return tuple(first), view


def _merged(shape: Sizes, fine: Sizes, begin: Sizes, view: torch.Tensor) -> Iterator[tuple[Sizes, torch.Tensor]]:
    """A part of a tensor of the finer shape as parts of one of `shape`: one, if memory allows."""
    first: list[int] = []
    sizes: list[int] = []
    at = 0
    for group in _groups(shape, fine):
        dims = range(at, at + len(group))
        long = [dim for dim in dims if view.shape[dim] > 1]
        steps = [view.stride(dim) == view.stride(after) * view.shape[after] for dim, after in pairwise(long)]
        if not all(steps) or any(view.shape[dim] < fine[dim] for dim in dims if long and dim > long[0]):
            for index in range(view.shape[long[0]]):
                inside = (*begin[: long[0]], begin[long[0]] + index, *begin[long[0] + 1 :])
                yield from _merged(shape, fine, inside, view.narrow(long[0], index, 1))
            return
        first.append(sum(begin[dim] * math.prod(fine[dim + 1 : at + len(group)]) for dim in dims))
        sizes.append(math.prod(view.shape[dim] for dim in dims))
        at += len(group)
    yield tuple(first), view.view(sizes)


def _put(view: torch.Tensor, shape: Sizes, begin: Sizes, start: int, values: torch.Tensor) -> None:
    if not shape:
        view.copy_(values.reshape(()))
        return
    row = math.prod(shape[1:])
    while values.numel():
        first, inside = divmod(start, row)
        count = min(row - inside, values.numel()) if inside or values.numel() < row else values.numel() // row * row
        low, high = (
            max(first, begin[0]) - begin[0],
            min(first + max(1, count // row), begin[0] + view.shape[0]) - begin[0],
        )
        if low < high and count < row:
            _put(view[low], shape[1:], begin[1:], inside, values[:count])
        elif low < high:
            chosen = values[:count].view(-1, *shape[1:])[low + begin[0] - first : high + begin[0] - first]
            for dim in range(1, len(shape)):
                chosen = chosen.narrow(dim, begin[dim], view.shape[dim])
            view[low:high].copy_(chosen)
        start += count
        values = values[count:]
