"""Where the tensors of a folder lie: safetensors headers, read and checked without touching the weights.

Format: 8 bytes with the header's length, a JSON header, then the tensors' bytes one after another without gaps
(https://github.com/huggingface/safetensors#format).
"""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeGuard

from lata.numerics.tensors import ITEM_SIZE, TensorInfo
from lata.untrusted.fields import COUNT
from lata.untrusted.json_files import LARGEST, open_regular, parse, read_json, shown

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
ADAPTER = "adapter_model.safetensors"

# Most dimensions of a tensor, as in numpy.
_DIMENSIONS = 64
_LONGEST_NAME = 1000
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
_SHARD = re.compile(r"[^/\\]{1,200}\.safetensors")
_NUMBERED = re.compile(r"-(\d{5})-of-(\d{5})\.safetensors$")


@dataclass(frozen=True)
class Stored:
    """One tensor in a file.

    Attributes:
        info: its dtype and shape.
        file: the file that holds it.
        offset: where its bytes begin, from the start of the file.
    """

    info: TensorInfo
    file: Path
    offset: int


def read_header(file: Path) -> dict[str, Stored]:
    """Tensor name → where it lies in `file`.

    Raises:
        ValueError: the file is cut short or damaged, or holds a dtype that cannot be merged.
    """
    try:
        with os.fdopen(open_regular(file), "rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            length = int.from_bytes(stream.read(8), "little")
            if size < 8 or length > min(size - 8, LARGEST):
                raise _damaged(file, f"it has {size} bytes and its header claims {length}")
            text = stream.read(length)
    except OSError as error:
        raise ValueError(f"cannot read {file}: {error.strerror}; fetch it again") from None

    def refuse(reason: str) -> NoReturn:
        raise _damaged(file, f"its header is not one of safetensors: {reason}")

    if not text.startswith(b"{"):
        refuse("it does not begin with {")
    header = parse(text, refuse, strict=True)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        refuse("__metadata__ holds other things than texts")
    stored = {name: _entry(file, name, entry, 8 + length) for name, entry in header.items()}
    end, before = 8 + length, "the header"
    for name, place in sorted(stored.items(), key=lambda item: (item[1].offset, item[1].info.nbytes)):
        if place.offset != end:
            raise _damaged(file, f"{name} begins at byte {place.offset}, but {before} ends at {end}")
        end, before = place.offset + place.info.nbytes, name
    if end != size:
        raise _damaged(file, f"it has {size} bytes and its tensors need {end}")
    return stored


def read_folder(folder: Path) -> tuple[tuple[Path, ...], dict[str, Stored]]:
    """The weights files of a model in `folder`, and tensor name → where it lies.

    With an index only its shards count; without one it is ``model.safetensors``, or else every safetensors file
    that is neither an adapter nor a second copy in the original format (``consolidated*``).

    Raises:
        ValueError: no weights, pickled weights, a missing shard, a tensor that stands twice or not where the index
            says, or a damaged file.
    """
    index = folder / INDEX
    promised: dict[str, str] = {}
    if index.is_file():
        promised = read_json(index).get("weight_map") or {}
        if not promised or not all(_SHARD.fullmatch(shard) for shard in promised.values()):
            raise ValueError(f"{index} has no usable weight_map; fetch the file again")
        files = [folder / shard for shard in sorted(set(promised.values()))]
        if (folder / SINGLE).is_file() and folder / SINGLE not in files:
            raise ValueError(
                f"{folder} holds {SINGLE} and an index of other files; remove the one that is out of date"
            )
    else:
        files = _unindexed(folder)
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise ValueError(
            f"{folder} lacks {', '.join(missing[:3])}{more}, which its other files promise; fetch it again"
        )
    stored: dict[str, Stored] = {}
    for file in files:
        for name, place in read_header(file).items():
            if name in stored:
                raise ValueError(
                    f"{name} stands in both {stored[name].file.name} and {file.name} of {folder}; remove the shard "
                    "that is out of date"
                )
            stored[name] = place
    for name, shard in sorted(promised.items()):
        if name not in stored or stored[name].file.name != shard:
            raise ValueError(f"{INDEX} puts {name} into {shard}, which lacks it, in {folder}; fetch both files again")
    return tuple(files), stored


def has_weights(folder: Path) -> bool:
    """Whether `folder` holds a model's own weights, an adapter aside."""
    return (folder / INDEX).is_file() or any(file.name != ADAPTER for file in folder.glob("*.safetensors"))


def _unindexed(folder: Path) -> list[Path]:
    if (folder / SINGLE).is_file():
        return [folder / SINGLE]
    found = {file.name for file in folder.glob("*.safetensors")} - {ADAPTER}
    found = {name for name in found if not name.startswith("consolidated")}
    if not found:
        raise ValueError(_nothing(folder))
    for name in list(found):
        numbered = _NUMBERED.search(name)
        if numbered:
            stem, count = name[: numbered.start()], numbered.group(2)
            found |= {f"{stem}-{number:05}-of-{count}.safetensors" for number in range(1, int(count) + 1)}
    return [folder / name for name in sorted(found)]


def _nothing(folder: Path) -> str:
    pickles = sorted(file.name for pattern in _PICKLES for file in folder.glob(pattern))
    if pickles:
        return (
            f"{folder} holds only pickled weights ({pickles[0]}), which can run code when read; "
            "convert them: python -c "
            f"\"from transformers import AutoModelForCausalLM as M; M.from_pretrained('{folder}', dtype='auto')"
            ".save_pretrained('NEW_FOLDER')\", then copy the tokenizer's files and give NEW_FOLDER"
        )
    return f"no safetensors file in {folder}; a checkpoint folder holds config.json and *.safetensors"


def _entry(file: Path, name: str, entry: Any, data: int) -> Stored:
    if not name.isprintable() or len(name) > _LONGEST_NAME:
        raise _damaged(file, f"the name {shown(name)} is too long or holds control characters")
    fields = entry if isinstance(entry, dict) else {}
    dtype, shape, offsets = (fields.get(key) for key in ("dtype", "shape", "data_offsets"))
    if not (isinstance(dtype, str) and _are_sizes(shape) and _are_sizes(offsets) and len(offsets) == 2):
        said = f"dtype {shown(dtype)}, shape {shown(shape)}, data_offsets {shown(offsets)}"
        raise _damaged(file, f"its header is not one of safetensors: {name} has {said}")
    if dtype not in ITEM_SIZE:
        raise ValueError(
            f"{name} in {file} has dtype {shown(dtype)[1:-1]}, which cannot be merged; give an unquantised checkpoint"
        )
    if offsets[1] - offsets[0] != math.prod(shape) * ITEM_SIZE[dtype]:
        raise _damaged(file, f"{name} is {dtype} {shape} but takes {offsets[1] - offsets[0]} bytes")
    return Stored(TensorInfo(dtype, tuple(shape)), file, data + offsets[0])


def _are_sizes(values: Any) -> TypeGuard[list[int]]:
    return isinstance(values, list) and len(values) <= _DIMENSIONS and all(map(COUNT.fits, values))


def _damaged(file: Path, what: str) -> ValueError:
    return ValueError(f"{file} is cut short or damaged: {what}; fetch it again")
