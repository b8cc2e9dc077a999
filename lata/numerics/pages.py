"""Buffers that begin on a page of memory, as direct writing needs them."""

from __future__ import annotations

import mmap

import numpy as np

from lata.numerics.tensors import Raw

#: Files are written in units of this many bytes; the data of every shard begin at a multiple of it.
PAGE = 4096


def aligned(nbytes: int) -> Raw:
    """A buffer of zeros that begins on a page: `PartFile.write` takes it without a copy for offsets that do, too.

    For any other offset, make it `PAGE` bytes longer and fill the part that begins at ``offset % PAGE``.
    """
    return np.frombuffer(mmap.mmap(-1, max(nbytes, 1)), dtype=np.uint8)[:nbytes]
