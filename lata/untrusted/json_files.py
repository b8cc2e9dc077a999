"""Reading what other people's folders hold beside the weights: bounded in size, depth and time, checked once.

A checkpoint may be damaged or hostile, so every file of one is opened by `open_regular` and every JSON file is read
by `read_json`. What is wrong with it becomes one line that names the file and says what to do.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from lata.untrusted.fields import EVERY, FIELDS, Kind

#: Most bytes of one file beside the weights: the safetensors format's own limit for the JSON of a header.
LARGEST = 100_000_000
#: Most objects and lists inside one another; real files have fewer than ten.
DEEPEST = 64
_DIGITS = 400

# A \u escape that may be half of a character.
_HALVES = re.compile(rb"\\u[dD][89a-fA-F]")
_FETCH = "fetch the file again"


def open_regular(file: Path) -> int:
    """Open a regular file for reading, as a file descriptor; pipes and devices would block for ever.

    Raises:
        OSError: as `os.open`.
        ValueError: it is a folder, a pipe, a socket or a device.
    """
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ValueError(f"{file} is no regular file; put the file itself there")
    return descriptor


def read_bytes(file: Path) -> bytes:
    """The content of a regular file of at most `LARGEST` bytes.

    Raises:
        ValueError: it is missing, cannot be read, or is larger.
    """
    try:
        with os.fdopen(open_regular(file), "rb") as stream:
            data = stream.read(LARGEST + 1)
    except FileNotFoundError:
        raise ValueError(
            f"no {file.name} in {file.parent}; a checkpoint folder holds it beside the weights"
        ) from None
    except OSError as error:
        raise ValueError(f"cannot read {file}: {error.strerror}; {_FETCH}") from None
    if len(data) > LARGEST:
        raise ValueError(f"{file} has more than {LARGEST:,} bytes, too many for such a file; {_FETCH}")
    return data


def read_text(file: Path) -> str:
    """The text of a regular file in UTF-8; ValueError where it is none."""
    try:
        return read_bytes(file).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is no UTF-8 text (byte {error.start}); {_FETCH}") from None


def read_json(file: Path) -> dict[str, Any]:
    """The JSON object in `file`, with the types that `FIELDS` asks for in a file of this name.

    Raises:
        ValueError: there is none, it is too large or too deep, says something twice, or a value has another type.
    """
    content = parse(read_bytes(file), lambda reason: _refuse(file, reason))
    check(file, content, FIELDS.get(file.name, {}))
    return content


def parse(data: bytes, refuse: Callable[[str], NoReturn], *, strict: bool = False) -> dict[str, Any]:
    """The JSON object in `data`.

    Args:
        data: UTF-8.
        refuse: raises for a reason.
        strict: refuse also what Python's reader takes beyond the standard (``NaN``, ``Infinity``; transformers writes
            them), and a key that is repeated with the same value.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        content = dict(pairs)
        if len(content) != len(pairs):
            seen: dict[str, Any] = {}
            for key, value in pairs:
                if key in seen and (strict or seen[key] != value):
                    refuse(f"it says {shown(key)} twice; keep one")
                seen[key] = value
        return content

    def constant(name: str) -> float:
        return refuse(f"it holds {name}") if strict else float(name)

    def whole(digits: str) -> int:
        return int(digits) if len(digits) <= _DIGITS else refuse(f"it holds a number of {len(digits)} digits")

    try:
        content = json.loads(data.decode("utf-8"), object_pairs_hook=unique, parse_constant=constant, parse_int=whole)
    except json.JSONDecodeError as error:
        refuse(f"line {error.lineno}, column {error.colno}: {error.msg}")
    except UnicodeDecodeError as error:
        refuse(f"byte {error.start} is no UTF-8")
    except RecursionError:
        refuse(f"objects and lists stand more than {DEEPEST} deep")
    if not isinstance(content, dict):
        refuse("it does not hold a JSON object")
    level: list[Any] = [content]
    for _ in range(DEEPEST):
        level = [
            child
            for parent in level
            for child in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(child, (dict, list))
        ]
        if not level:
            break
    else:
        refuse(f"objects and lists stand more than {DEEPEST} deep")
    if _HALVES.search(data):
        try:
            json.dumps(content, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError:
            refuse("it holds half a character (a lone surrogate)")
    return content


def check(file: Path, content: Mapping[str, Any], fields: Mapping[str, Kind | Mapping[str, Any]]) -> None:
    """ValueError where a value of `content` is not of the kind that `fields` asks for; null and absent values fit."""
    for key, value in content.items():
        kind = fields.get(key, fields.get(EVERY))
        if kind is None or value is None:
            continue
        if isinstance(kind, Mapping):
            if not isinstance(value, dict):
                raise ValueError(f"{file}: {key} is {shown(value)}, not an object; {_FETCH}")
            check(file, value, kind)
        elif not kind.fits(value):
            raise ValueError(f"{file}: {shown(key)[1:-1]} is {shown(value)}, not {kind.words}; {_FETCH}")


def shown(value: Any, most: int = 60) -> str:
    """A value of a stranger's file as messages show it: on one line, in Python's spelling, not too long."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**most:
        return "a very large number"
    text = ascii(value[: most + 1]) if isinstance(value, str) and not value.isprintable() else repr(value)
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _refuse(file: Path, reason: str) -> NoReturn:
    raise ValueError(f"cannot read {file}: {reason}; {_FETCH}")
