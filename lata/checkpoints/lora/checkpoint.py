"""A model with a LoRA adapter on top, read as if the two had been merged in fp32.

W' = W + scaling·B·A (Hu et al., arXiv 2106.09685). The sum over the rank runs in one order in fp32 and is never
rounded to the model's dtype, so the adapted parameters are F32 and do not depend on the range that is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from lata.checkpoints.companions import Companions, companions, matching
from lata.checkpoints.folder import FolderCheckpoint, identity
from lata.checkpoints.lora.adapter import Update, read_adapter
from lata.checkpoints.reading import Reader
from lata.checkpoints.tokenizer import of_tokenizer, vocabulary
from lata.numerics.dtypes import Float, to_float32
from lata.numerics.tensors import ITEM_SIZE, Raw, TensorInfo


class AdapterCheckpoint:
    """A model and an adapter. Implements `lata.numerics.tensors.Checkpoint`.

    Attributes:
        base: the model below the adapter.
        adapter: the adapter's folder.
        folder: the model's folder.
        vocabulary: rows of the tables of tokens, where the adapter changes their number.
        config: the model's, with that size of the vocabulary.
        source: a name that finds the same files again.
        stored: parameter → header before the update: in the model, or in the adapter where it replaces the model's.
        ignored: as for the model.
        quantised: as for the model.
        tied: as for the model.

    Raises:
        ValueError: the adapter is damaged, of another kind, or does not fit the model.
    """

    def __init__(
        self, base: FolderCheckpoint, adapter: Path, label: str | None = None, source: str | None = None
    ) -> None:
        self.base, self.adapter, self.folder = base, adapter, base.folder
        self.source = f"{base.source}+{source or adapter}"
        self.label = label or self.source
        self.ignored, self.quantised, self.tied = base.ignored, base.quantised, base.tied
        self._reader = Reader(self.label)
        try:
            self._parts = read_adapter(adapter, base)
        except ValueError as error:
            raise ValueError(f"{label}: {error}" if label else str(error)) from None
        self.vocabulary = self._parts.vocabulary
        self.config = _sized(base.config, self.vocabulary)
        self.identity = base.identity + identity([adapter / "adapter_config.json", self._parts.file])
        self.stored: Mapping[str, TensorInfo] = {
            name: self._own(self._parts.replaced[name]) if name in self._parts.replaced else info
            for name, info in base.tensors.items()
        }
        self.tensors: Mapping[str, TensorInfo] = {
            name: TensorInfo("F32", info.shape) if name in self._parts.updates else info
            for name, info in self.stored.items()
        }

    @property
    def generation_config(self) -> Mapping[str, Any]:
        """``generation_config.json`` of the model."""
        return self.base.generation_config

    def tokenizer_files(self) -> list[Path]:
        """Files that its tokenizer and the like are read from; the adapter's tokenizer, whole, where it has one."""
        files = _over(matching(self.adapter), matching(self.folder))
        return [files[name] for name in sorted(files)]

    @property
    def companions(self) -> Companions:
        """What goes with a model that is merged from this one; the adapter's tokenizer, whole, where it has one."""
        below, own = self.base.companions, companions(self.adapter, {})
        return replace(below, files=_over(own.files, below.files)).under(own)

    def read(self, name: str, start: int, out: Raw) -> None:
        """Fill `out` with the bytes of tensor `name` from element `start` on; see `Checkpoint`."""
        update = self._parts.updates.get(name)
        if update is None:
            self._read_below(name, start, out)
            return
        values = out.view(np.float32)
        item_size = ITEM_SIZE[self.stored[name].dtype]
        below = np.empty(values.size * item_size, np.uint8)
        self._read_below(name, start, below)
        to_float32(below, self.stored[name].dtype, values)
        if values.size:
            self._add(update, self.tensors[name].shape[1], start, values)

    def close(self) -> None:
        """Close the files; a later read opens them again."""
        self._reader.close()
        self.base.close()

    def __enter__(self) -> AdapterCheckpoint:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _add(self, update: Update, width: int, start: int, values: Float) -> None:
        from lata.checkpoints.lora.kernels import add_product

        low, high = start // width, (start + values.size - 1) // width + 1
        if update.transposed:
            inputs = self._own(update.a).shape[1]
            rows = np.stack(
                [self._factor(update.a, r * inputs + low, high - low) for r in range(update.rank)], axis=1
            )
            columns = self._factor(update.b, 0, width * update.rank).reshape(width, update.rank).T.copy()
        else:
            rows = self._factor(update.b, low * update.rank, (high - low) * update.rank).reshape(-1, update.rank)
            columns = self._factor(update.a, 0, update.rank * width).reshape(update.rank, width)
        add_product(values, start - low * width, rows, columns, np.float32(update.scaling))

    def _factor(self, name: str, start: int, count: int) -> Float:
        dtype = self._own(name).dtype
        raw, values = np.empty(count * ITEM_SIZE[dtype], np.uint8), np.empty(count, np.float32)
        self._reader.read(name, self._parts.stored[name], start, raw)
        to_float32(raw, dtype, values)
        return values

    def _own(self, name: str) -> TensorInfo:
        return self._parts.stored[name].info

    def _read_below(self, name: str, start: int, out: Raw) -> None:
        own = self._parts.replaced.get(name)
        if own is None:
            self.base.read(name, start, out)
        else:
            self._reader.read(own, self._parts.stored[own], start, out)


def _over(own: Mapping[str, Path], below: Mapping[str, Path]) -> dict[str, Path]:
    """Files of an adapter over those of its model; parts of two tokenizers are not mixed."""
    if vocabulary(own.values()) is not None:
        below = {name: file for name, file in below.items() if not of_tokenizer(name)}
    return {**below, **own}


def _sized(config: Mapping[str, Any], rows: int | None) -> Mapping[str, Any]:
    """`config` with another size of the vocabulary, in each part that says one."""
    if rows is None:
        return config
    text = config.get("text_config")
    if text is not None:
        config = {**config, "text_config": {**text, "vocab_size": rows}}
    return {**config, "vocab_size": rows} if text is None or "vocab_size" in config else config
