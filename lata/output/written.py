"""Whether a shard on the disk still is what was written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lata.checkpoints.digests import tensor_digests
from lata.checkpoints.headers import Stored
from lata.checkpoints.reading import Reader
from lata.numerics.tensors import Raw, TensorInfo
from lata.output.layout import Shard


class _Tensors:
    """The tensors of one file as a `lata.numerics.tensors.Checkpoint`."""

    config: Mapping[str, Any] = {}
    identity = None

    def __init__(self, file: Path, shard: Shard) -> None:
        self.label = str(file)
        self._reader = Reader(self.label)
        self._places = {piece.name: Stored(piece.info, file, piece.offset) for piece in shard.pieces}
        self.close = self._reader.close

    @property
    def tensors(self) -> Mapping[str, TensorInfo]:
        return {name: place.info for name, place in self._places.items()}

    def read(self, name: str, start: int, out: Raw) -> None:
        self._reader.read(name, self._places[name], start, out)


def is_intact(file: Path, shard: Shard, digests: Mapping[str, str]) -> bool:
    """Whether `file` holds exactly `shard`, its tensors with these digests; all of it is read once, in threads."""
    if file.is_symlink() or not file.is_file() or file.stat().st_size != shard.size:
        return False
    with file.open("rb") as stream:
        if stream.read(len(shard.header)) != shard.header:
            return False
    tensors = _Tensors(file, shard)
    try:
        return tensor_digests(tensors) == digests
    except ValueError:  # it cannot be read
        return False
    finally:
        tensors.close()
