"""A model's folder on disk, read in pieces from many threads.

Tensors go by their canonical names: a parameter that a config ties to another (``lm_head`` to the embeddings)
counts once and is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from lata.checkpoints import headers, tied
from lata.checkpoints.companions import Companions, companions, matching
from lata.checkpoints.quantised import is_declared, why_quantised
from lata.checkpoints.reading import Reader
from lata.numerics.tensors import ITEM_SIZE, Raw, TensorInfo
from lata.untrusted.json_files import read_json

# Bytes of a tied copy that are compared at its start, middle and end.
_SAMPLE = 2**16


class FolderCheckpoint:
    """A model's folder: config.json and safetensors, single or sharded. Implements
    `lata.numerics.tensors.Checkpoint`.

    Args:
        folder: absolute path.
        label: what messages call it; the source if None.
        source: see below; the folder if None.
        quantised: open also a checkpoint whose config.json says that it is quantised.

    Attributes:
        folder: absolute path.
        source: a name that finds the same files again, see `hub.Located`.
        files: the weights files.
        ignored: stored tensor that is left out → why.
        quantised: whether its numbers are codes, which only transformers or vLLM can read.
        tied: whether the output head and the embeddings are one parameter.
        stored: headers of what a merge that starts from this model is written as; the same as `tensors`.
    """

    def __init__(
        self, folder: Path, label: str | None = None, source: str | None = None, *, quantised: bool = False
    ) -> None:
        self.folder = folder
        self.source = source or str(folder)
        self.label = label or self.source
        self._reader = Reader(self.label)
        try:
            self.config: Mapping[str, Any] = read_json(folder / "config.json")
            self.files, self._stored = headers.read_folder(folder)
            stored = {name: place.info for name, place in self._stored.items()}
            self.quantised = quantised and is_declared(self.config)
            if not self.quantised and (reason := why_quantised(folder, self.config, stored)):
                raise ValueError(f"{folder} is quantised ({reason}); give the model as it was before")
            self.identity = identity([folder / "config.json", *self.files])
        except ValueError as error:
            raise ValueError(f"{label}: {error}" if label else str(error)) from None
        except OSError as error:
            raise ValueError(f"{self.label}: cannot read {error.filename}: {error.strerror}") from None
        copies = tied.copies(stored, self.config)
        self.ignored = dict.fromkeys(tied.derived(stored), "a buffer that the model computes by itself")
        self.ignored |= {name: self._why_ignored(name, embeddings) for name, embeddings in copies.items()}
        self.tensors: Mapping[str, TensorInfo] = {
            name: info for name, info in sorted(stored.items()) if name not in self.ignored
        }
        self.stored = self.tensors
        self.tied = not (any(map(tied.is_head, self.tensors)) and any(map(tied.is_embedding, self.tensors)))

    @property
    def generation_config(self) -> Mapping[str, Any]:
        """``generation_config.json``; empty where there is none."""
        file = self.folder / "generation_config.json"
        return read_json(file) if file.is_file() else {}

    def tokenizer_files(self) -> list[Path]:
        """Files that its tokenizer, templates, processors and generation settings are read from."""
        return list(matching(self.folder).values())

    @property
    def companions(self) -> Companions:
        """What goes with a model that is merged from this one."""
        return companions(self.folder, self.config)

    def read(self, name: str, start: int, out: Raw) -> None:
        """Fill `out` with the bytes of tensor `name` from element `start` on; see `Checkpoint`."""
        self._reader.read(name, self._stored[name], start, out)

    def close(self) -> None:
        """Close the files; a later read opens them again."""
        self._reader.close()

    def __enter__(self) -> FolderCheckpoint:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _why_ignored(self, name: str, embeddings: str) -> str:
        reason = f"config.json ties it to {embeddings}"
        if self._differ(name, embeddings):
            reason += ", from which it differs; to merge it as well set tie_word_embeddings to false in config.json"
        return reason

    def _differ(self, one: str, other: str) -> bool:
        a, b = self._stored[one].info, self._stored[other].info
        if a != b:
            return True
        length = min(_SAMPLE // ITEM_SIZE[a.dtype], a.count)
        pieces = [np.empty(length * ITEM_SIZE[a.dtype], np.uint8) for _ in range(2)]
        for start in (0, (a.count - length) // 2, a.count - length):
            for name, piece in zip((one, other), pieces, strict=True):
                self.read(name, start, piece)
            if not np.array_equal(pieces[0], pieces[1]):
                return True
        return False


def identity(files: list[Path]) -> str:
    """What tells `files` from changed ones without reading them, one line each."""
    lines = []
    for file in files:
        status = file.stat()
        times = f"{status.st_mtime_ns} {status.st_ctime_ns}"
        lines.append(f"{file.resolve()}\0{status.st_size} {times} {status.st_ino}\n")
    return "".join(lines)
