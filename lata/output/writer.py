"""A model folder that appears whole or not at all, written in any order and by several threads.

Everything is made in the hidden sibling ``.NAME.partial`` (for a mount point in a folder within, see `place`)::

    lock                     held by the process that writes
    journal.json             finished shards and statistics of earlier passes, under the key of the merge
    *.safetensors            shards in the making, their space set aside from the start
    model/                   finished shards, and at the end everything else; renamed to NAME

A process that is killed at any moment leaves that folder, which the next run with the same key completes and one
with another key empties, or the finished model. A finished shard is kept only while its bytes have the digests that
were noted with it: a disk can fail between two runs.
"""

from __future__ import annotations

import os
import shutil
import threading
import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
from blake3 import blake3

from lata.numerics.pages import PAGE, aligned
from lata.numerics.tensors import Raw
from lata.output.direct_io import PartFile, reserve
from lata.output.files import explained, remove, sync
from lata.output.journal import AttemptWarning, Journal, Lock
from lata.output.layout import Piece, Shard, index_json, layout
from lata.output.place import held_bytes, is_free, moved, note_moving, partial_folder
from lata.output.written import is_intact

__all__ = ["PAGE", "Output", "Piece", "Shard", "aligned", "held_bytes", "layout", "partial_folder"]


class Output:
    """A model folder in the making.

    Args:
        path: the folder to make. It must not exist, or be empty.
        shards: its weights, from `layout`.
        key: what decides every byte of them. Shards that an unfinished attempt with the same key (and the same
            shards) has finished are kept; anything else that it left is removed.

    Attributes:
        path: the folder, as an absolute path without symbolic links.
        finished: file of each finished shard → the facts given to `finish`.

    Raises:
        ValueError: `path` is taken, another process is writing it, or the disk has not enough room (nothing is left
            then, except what an earlier attempt finished).
    """

    def __init__(self, path: Path, shards: tuple[Shard, ...], key: str) -> None:
        self.path = Path(os.path.realpath(path))
        self.finished: dict[str, dict[str, Any]] = {}
        self._shards = {shard.file: shard for shard in shards}
        self._parts: dict[str, PartFile] = {}
        self._mutex = threading.Lock()
        self._folder = partial_folder(path)
        self._model = self._folder / "model"
        with self._explained():
            self._refuse_existing()
            self._lock = Lock(self._folder, f"writing {self.path}")
            self._held = True
            try:
                # Again, for another process may have published it while this one came to the lock.
                self._refuse_existing()
                self._begin(key)
            except BaseException:
                self.close() if self.finished else self.discard()
                raise

    def recall(self, name: str) -> Any | None:
        """What this or an earlier attempt noted under `name`, or None."""
        return self._journal.section("notes").get(name)

    def note(self, name: str, value: Any) -> None:
        """Keep a JSON value for this and later attempts; it is on the disk when this returns."""
        with self._explained():
            self._journal.put("notes", name, value)

    def write(self, file: str, offset: int, data: Raw) -> None:
        """Write `data` (contiguous) into shard `file` from byte `offset` on, counted from the start of the file.

        Safe in many threads and in any order; every byte is written just once, the header not at all. Fastest where
        the address of `data` and `offset` agree modulo `PAGE` (see `aligned`); such data are not copied.
        """
        with self._explained():
            self._part(file).write(offset, data)

    def finish(self, file: str, facts: dict[str, Any]) -> None:
        """Bring a shard, all of whose bytes are written, to the disk, and note `facts` (JSON) with it.

        Among them are ``digests``, tensor name → `lata.checkpoints.digests.tensor_digest`.
        """
        with self._explained():
            self._part(file).finish()
            with self._mutex:
                del self._parts[file]
            (self._folder / file).rename(self._model / file)
            sync(self._model)
            self._journal.put("finished", file, facts)
            self.finished[file] = facts

    def publish(self, files: Mapping[str, bytes | Path]) -> None:
        """Add `files` (name → content or file to copy), and the index of several shards; then make it all appear.

        Raises:
            ValueError: a file could not be written, or something has taken `path` since.
        """
        assert self.finished.keys() == self._shards.keys(), "not every shard is finished"
        contents = dict(files)
        if len(self._shards) > 1:
            contents["model.safetensors.index.json"] = index_json(self._shards.values())
        try:
            with self._explained():
                self._add(contents)
                self._refuse_existing()
                self._appear()
        except ValueError as error:
            kept = f"{error}; the finished weights are kept in {self._folder}, the same command goes on from there"
            raise ValueError(kept) from error
        self.discard()

    def discard(self) -> None:
        """Remove everything that is unpublished, what earlier attempts finished included."""
        self._close_parts()
        if self._held:
            self._held = False
            for name in moved(self._folder):
                remove(self.path / name)
            self._lock.remove()

    def close(self) -> None:
        """Let go of an unpublished output so that a later attempt can go on with it."""
        self._close_parts()
        if self._held:
            self._held = False
            self._lock.release()

    def _begin(self, key: str) -> None:
        """Keep what an earlier attempt with the same key finished, remove the rest, set aside the space."""
        for name in moved(self._folder):
            (self.path / name).rename(self._model / name)
        for entry in self._folder.iterdir():
            if entry.name not in {"lock", "journal.json"} and not (entry == self._model and entry.is_dir()):
                remove(entry)
        headers = blake3(b"".join(shard.header for shard in self._shards.values())).hexdigest()
        self._journal = Journal(self._folder / "journal.json", f"{key} {headers}")
        for file, facts in self._journal.section("finished").items():
            if is_intact(self._model / file, self._shards[file], facts["digests"]):
                self.finished[file] = facts
            elif os.path.lexists(self._model / file):  # else it was published
                line = f"{self._model / file} is no longer what was written; it is made again"
                warnings.warn(line, AttemptWarning, stacklevel=3)
        for entry in self._model.glob("*"):
            if entry.name not in self.finished:
                remove(entry)
        self._model.mkdir(exist_ok=True)
        try:
            for shard in self._unfinished():
                reserve(self._folder / shard.file, shard.size)
        except OSError:
            # Before the error is explained, so that it tells how much is free without them.
            for shard in self._unfinished():
                (self._folder / shard.file).unlink(missing_ok=True)
            raise

    def _add(self, contents: Mapping[str, bytes | Path]) -> None:
        for name, content in contents.items():
            target = self._model / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, Path):
                shutil.copyfile(content, target)
            else:
                target.write_bytes(content)
            sync(target)
        for folder in {self._model, *((self._model / name).parent for name in contents)}:
            sync(folder)
        sync(self._folder)

    def _appear(self) -> None:
        if self._folder.parent != self.path:
            self._model.rename(self.path)
            sync(self.path.parent)
            return
        for name in note_moving(self._folder):
            (self._model / name).rename(self.path / name)
        sync(self.path)

    def _unfinished(self) -> list[Shard]:
        return [shard for shard in self._shards.values() if shard.file not in self.finished]

    def _part(self, file: str) -> PartFile:
        """The open file of a shard, which has its header."""
        with self._mutex:
            if file not in self._parts:
                assert file not in self.finished, f"{file} is finished"
                part = self._parts[file] = PartFile(self._folder / file, self._shards[file].size)
                part.write(0, np.frombuffer(self._shards[file].header, dtype=np.uint8))
            return self._parts[file]

    def _close_parts(self) -> None:
        with self._mutex:
            while self._parts:
                self._parts.popitem()[1].close()

    def _refuse_existing(self) -> None:
        if not is_free(self.path):
            raise ValueError(f"output {self.path} exists and is not empty; choose another output or remove it")

    def _explained(self) -> AbstractContextManager[None]:
        return explained(f"writing {self.path}", self._folder, lambda: sum(s.size for s in self._unfinished()))
