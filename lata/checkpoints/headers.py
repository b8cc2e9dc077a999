"""Where the tensors of a folder lie: safetensors headers, read and checked without touching the weights.

Format: 8 bytes with the header's length, a JSON header, then the tensors' bytes one after another without gaps
(https://github.com/huggingface/safetensors#format).
"""

from __future__ import annotations

import json
import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lata.tensors import ITEM_SIZE, TensorInfo

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
ADAPTER = "adapter_model.safetensors"

#: The format's own limit for a header, in bytes.
_LARGEST_HEADER = 100_000_000
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
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


def read_json(file: Path) -> dict[str, Any]:
    """The JSON object in `file`; ValueError where there is none."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(
            f"no {file.name} in {file.parent}; a checkpoint folder holds it beside the weights"
        ) from None
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot read {file}: {error}; fetch the file again") from None
    if not isinstance(content, dict):
        raise ValueError(f"{file} does not hold a JSON object; fetch the file again")
    return content


def read_header(file: Path) -> dict[str, Stored]:
    """Tensor name → where it lies in `file`.

    Raises:
        ValueError: the file is cut short or damaged, or holds a dtype that cannot be merged.
    """
    try:
        with file.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            length = int.from_bytes(stream.read(8), "little")
            if size < 8 or length > min(size - 8, _LARGEST_HEADER):
                raise _damaged(file, f"it has {size} bytes and its header claims {length}")
            text = stream.read(length)
    except OSError as error:
        raise ValueError(f"cannot read {file}: {error.strerror}") from None
    try:
        header = json.loads(text, object_pairs_hook=_unique)
        header.pop("__metadata__", None)
        stored = {name: _entry(file, name, entry, 8 + length) for name, entry in header.items()}
    except (KeyError, TypeError, AttributeError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise _damaged(file, f"its header is not one of safetensors ({type(error).__name__}: {error})") from None
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
        promised = read_json(index).get("weight_map", {})
        if not promised or not all(isinstance(shard, str) and "/" not in shard for shard in promised.values()):
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
        raise ValueError(f"{folder} lacks {', '.join(missing)}, which its other files promise; fetch it again")
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


def _entry(file: Path, name: str, entry: dict[str, Any], data: int) -> Stored:
    dtype, shape, (start, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
    if dtype not in ITEM_SIZE:
        raise ValueError(
            f"{name} in {file} has dtype {dtype}, which cannot be merged; give an unquantised checkpoint"
        )
    if not all(type(number) is int and number >= 0 for number in (*shape, start, end)):
        raise _damaged(file, f"{name} has shape {list(shape)} at bytes {start} to {end}")
    if end - start != math.prod(shape) * ITEM_SIZE[dtype]:
        raise _damaged(file, f"{name} is {dtype} {list(shape)} but takes {end - start} bytes")
    return Stored(TensorInfo(dtype, shape), file, data + start)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        raise KeyError("a name stands twice")
    return content


def _damaged(file: Path, what: str) -> ValueError:
    return ValueError(f"{file} is cut short or damaged: {what}; fetch it again")
