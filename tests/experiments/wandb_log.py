"""Read an offline W&B run back: the records of a ``.wandb`` file, which is a LevelDB log behind a 7-byte header.

Format of the log: https://github.com/google/leveldb/blob/main/doc/log_format.md
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from wandb.proto.wandb_internal_pb2 import Record

_BLOCK = 32768
_HEADER = 7
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4


def records(file: Path) -> Iterator[Record]:
    """Every record of an offline run, in order."""
    data = file.read_bytes()
    assert data[:4] == b":W&B"
    position = _HEADER
    parts: list[bytes] = []
    while position + _HEADER <= len(data):
        left_in_block = _BLOCK - position % _BLOCK
        if left_in_block < _HEADER:
            position += left_in_block
            continue
        length, kind = struct.unpack_from("<HB", data, position + 4)
        parts.append(data[position + _HEADER : position + _HEADER + length])
        position += _HEADER + length
        if kind in (_FULL, _LAST):
            record = Record()
            record.ParseFromString(b"".join(parts))
            parts = []
            yield record
        else:
            assert kind in (_FIRST, _MIDDLE)
