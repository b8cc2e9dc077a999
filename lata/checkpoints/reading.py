"""Reading parts of stored tensors from many threads."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import BinaryIO

from lata.checkpoints.headers import Stored
from lata.numerics.tensors import ITEM_SIZE, Raw
from lata.untrusted.json_files import open_regular

# Some systems refuse a read of 2 GiB or more.
_LARGEST = 2**30


class Reader:
    """Files that are opened when first read, and shared by all threads.

    Args:
        label: what messages call the checkpoint.
    """

    def __init__(self, label: str) -> None:
        self._label = label
        self._opened: dict[Path, BinaryIO] = {}
        self._opening = threading.Lock()

    def read(self, name: str, place: Stored, start: int, out: Raw) -> None:
        """Fill `out` with the bytes of tensor `name`, stored at `place`, from element `start` on.

        Raises:
            ValueError: the file ends early or cannot be read.
        """
        offset = start * ITEM_SIZE[place.info.dtype]
        assert offset + out.nbytes <= place.info.nbytes, (name, start, out.nbytes)
        view, done = out.data, 0
        try:
            descriptor = self._descriptor(place.file)
            while done < out.nbytes:
                count = os.preadv(descriptor, [view[done : done + _LARGEST]], place.offset + offset + done)
                if count == 0:
                    raise ValueError(f"{self._label}: {place.file} ends inside {name}; fetch the file again")
                done += count
        except OSError as error:
            raise ValueError(
                f"{self._label}: cannot read {name} from {place.file}: {error.strerror}; check the disk"
            ) from None

    def close(self) -> None:
        """Close the files; a later read opens them again."""
        with self._opening:
            for stream in self._opened.values():
                stream.close()
            self._opened.clear()

    def _descriptor(self, file: Path) -> int:
        with self._opening:
            if file not in self._opened:
                self._opened[file] = os.fdopen(open_regular(file), "rb", buffering=0)
            return self._opened[file].fileno()
