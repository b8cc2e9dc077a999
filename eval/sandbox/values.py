"""Plain values as JSON, so that one interpreter can hand them to another that trusts nothing in it.

What arrives is rebuilt from exact built-in types: an object whose ``__eq__`` is always true arrives as the number,
text or container that it is made of, or as an ``Opaque`` one that equals only itself. Never pickle or marshal, which
run code or break on forged bytes. Standard library only, for it is imported inside the sandbox's own processes.
"""

from __future__ import annotations

import collections
import importlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

#: JSON's own numbers end here; longer ones go as hexadecimal digits, whose length Python does not limit.
_SHORT_INT = 2**63

_NOTHING: dict[Any, Any] = {}

#: tag → type, a value's parts (encoded in their turn), and the value from them. The first that fits is taken.
_KINDS: dict[str, tuple[type, Callable[[Any], Any], Callable[[Any], Any]]] = {
    "list": (list, list, list),
    "tuple": (tuple, list, tuple),
    "set": (set, list, set),
    "frozenset": (frozenset, list, frozenset),
    "dict": (dict, lambda value: [list(item) for item in value.items()], dict),
    "bytes": (bytes, bytes.hex, bytes.fromhex),
    "bytearray": (bytearray, bytearray.hex, bytearray.fromhex),
    "complex": (complex, lambda value: [value.real, value.imag], lambda parts: complex(*parts)),
    "range": (range, lambda value: [value.start, value.stop, value.step], lambda parts: range(*parts)),
    "deque": (collections.deque, list, collections.deque),
    "keys": (type(_NOTHING.keys()), list, lambda parts: dict.fromkeys(parts).keys()),
    "values": (type(_NOTHING.values()), list, lambda parts: dict(enumerate(parts)).values()),
    "items": (
        type(_NOTHING.items()),
        lambda value: [list(item) for item in value],
        lambda parts: dict(parts).items(),
    ),
    "iterator": (Iterator, list, iter),
}
#: Types of modules that are imported only when a value needs them: tag → module, class, and a value's parts.
_NUMBERS: dict[str, tuple[str, str, Callable[[Any], list[Any]]]] = {
    "decimal": ("decimal", "Decimal", lambda value: [str(value)]),
    "fraction": ("fractions", "Fraction", lambda value: [value.numerator, value.denominator]),
}


class Opaque:
    """Stands for a value that is not plain data; it has the value's truth, and equals nothing else."""

    def __init__(self, truth: bool, kind: str) -> None:
        self._truth, self._kind = truth, kind

    def __bool__(self) -> bool:
        return self._truth

    def __repr__(self) -> str:
        return f"<{self._kind}>"


def encode(value: Any, name: Callable[[Any], int]) -> Any:
    """``value`` as JSON data: scalars as they are, everything else as ``[tag, parts]``.

    Args:
        value: anything.
        name: gives a function the number by which the other side can call it.
    """
    if value is None or isinstance(value, (bool, float, str)):
        return value
    if isinstance(value, int):
        return value if abs(value) < _SHORT_INT else ["int", hex(value)]
    for tag, (kind, take, _) in _KINDS.items():
        if isinstance(value, kind):
            parts = take(value)
            return [tag, parts if isinstance(parts, str) else [encode(part, name) for part in parts]]
    for tag, (module, attribute, take) in _NUMBERS.items():
        if module in sys.modules and isinstance(value, getattr(sys.modules[module], attribute)):
            return [tag, [encode(part, name) for part in take(value)]]
    if callable(value):
        return ["function", name(value)]
    return ["opaque", [bool(value), type(value).__name__]]


def decode(data: Any, function: Callable[[int], Any]) -> Any:
    """The value that ``encode`` described, of exact built-in types.

    Args:
        data: JSON data, which may be anything at all.
        function: what to put in the place of the function of a number.

    Raises:
        Exception: of any kind, where ``data`` is not what ``encode`` makes.
    """
    if data is None or isinstance(data, (bool, int, float, str)):
        return data
    tag, parts = data
    if tag == "int":
        return int(parts, 16)
    if tag == "function":
        return function(int(parts))
    if tag == "opaque":
        return Opaque(bool(parts[0]), str(parts[1]))
    decoded = parts if isinstance(parts, str) else [decode(part, function) for part in parts]
    if tag in _NUMBERS:
        module, attribute, _ = _NUMBERS[tag]
        return getattr(importlib.import_module(module), attribute)(*decoded)
    return _KINDS[tag][2](decoded)
