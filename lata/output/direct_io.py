"""Writing a file of known size in any order, from several threads, past the page cache where that is possible.

A model is several times larger than what the kernel lets stay dirty, so that ordinary writes end in throttling;
direct ones (``O_DIRECT``) run at the speed of the disk and leave the page cache to the reading. They need whole
pages, in the file and in memory: what a block covers of its first and last page is collected until its neighbours
have brought the rest.
"""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

from lata.numerics.pages import PAGE, aligned
from lata.numerics.tensors import Raw

#: Bytes that are copied at a time where a block does not lie in memory as direct writing needs it.
BOUNCE = 1 << 21

_local = threading.local()


class PartFile:
    """A file in the making.

    Args:
        path: where it is; an existing file is written over.
        size: bytes that it will have.
    """

    def __init__(self, path: Path, size: int) -> None:
        self.size = size
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o666)
        self._direct = _open_direct(path)
        self._lock = threading.Lock()
        self._missing = size
        self._pages: dict[int, tuple[bytearray, int]] = {}

    def write(self, offset: int, data: Raw) -> None:
        """Write `data` from byte `offset` on. Safe in many threads; every byte of the file is written just once.

        Data whose address and offset agree modulo `PAGE` are written in place, others by way of a buffer.
        """
        end = offset + data.size
        first, last = -(-offset // PAGE) * PAGE, end // PAGE * PAGE
        if self._direct is None:
            self._write_buffered(offset, data.data)
        elif first >= last:
            middle = min(first, end)
            self._write_edge(offset, data[: middle - offset])
            self._write_edge(middle, data[middle - offset :])
        else:
            self._write_edge(offset, data[: first - offset])
            self._write_pages(first, data[first - offset : last - offset])
            self._write_edge(last, data[last - offset :])
        with self._lock:
            self._missing -= data.size

    def finish(self) -> None:
        """Bring the file to the disk and close it; every byte must have been written."""
        assert self._missing == 0, f"{self._missing} of {self.size} bytes were never written, or some twice"
        os.fsync(self._file)
        self.close()

    def close(self) -> None:
        """Close the file as it is."""
        os.close(self._file)
        if self._direct is not None:
            os.close(self._direct)

    def _write_edge(self, offset: int, data: Raw) -> None:
        """Add bytes of one page, and write the page when nothing of it is missing."""
        if not data.size:
            return
        start = offset // PAGE * PAGE
        with self._lock:
            page, missing = self._pages.pop(start, (bytearray(PAGE), min(PAGE, self.size - start)))
            page[offset - start : offset - start + data.size] = data.data
            missing -= data.size
            if missing:
                self._pages[start] = page, missing
                return
        self._write_buffered(start, memoryview(page)[: self.size - start])

    def _write_pages(self, offset: int, data: Raw) -> None:
        """Write whole pages."""
        if data.ctypes.data % PAGE == 0:
            self._write_direct(offset, data)
            return
        if not hasattr(_local, "bounce"):
            _local.bounce = aligned(BOUNCE)
        for start in range(0, data.size, BOUNCE):
            part = data[start : start + BOUNCE]
            _local.bounce[: part.size] = part
            self._write_direct(offset + start, _local.bounce[: part.size])

    def _write_direct(self, offset: int, data: Raw) -> None:
        view = data.data
        while view:
            try:
                assert self._direct is not None
                done = os.pwrite(self._direct, view, offset)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                # The file system takes the flag but wants a larger unit than a page.
                self._write_buffered(offset, view)
                return
            view, offset = view[done:], offset + done

    def _write_buffered(self, offset: int, view: memoryview) -> None:
        while view:
            done = os.pwrite(self._file, view, offset)
            view, offset = view[done:], offset + done


def reserve(path: Path, size: int) -> None:
    """Make a file of `size` bytes whose space is set aside.

    Raises:
        OSError: ``ENOSPC`` where the disk has not enough of it; what the file holds by then is left to the caller.
    """
    with path.open("wb") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        else:  # macOS
            file.truncate(size)


def _open_direct(path: Path) -> int | None:
    if not hasattr(os, "O_DIRECT"):
        return None
    try:
        return os.open(path, os.O_WRONLY | os.O_DIRECT)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return None
