"""Ways to damage a checkpoint's folder at random, for tests: each changes one thing and says what."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

#: Values that stand where another type, size or meaning is expected.
ODD: list[Any] = [
    *(
        None,
        True,
        False,
        0,
        1,
        -1,
        2**63,
        10**200,
        1e308,
        -0.5,
        float("inf"),
        float("nan"),
        "",
        "a",
        "1",
        "é\n\x1b[1m",
    ),
    *([], [[]], ["a", 1, None], {}, {"a": {"b": []}}, "x" * 5000, "../../etc/passwd", "/dev/zero", "\0", "a.b"),
    *(
        "F16",
        "BF16",
        "I32",
        "F8_E4M3",
        "model-00001-of-00002.safetensors",
        [0, 8],
        [2, 2],
        [1] * 100,
        4,
        8,
        16,
        "llama",
    ),
]
NAMES = [
    *(
        "config.json",
        "model.safetensors",
        "model.safetensors.index.json",
        "tokenizer.json",
        "vocab.json",
        "merges.txt",
    ),
    *("adapter_config.json", "adapter_model.safetensors", "quantize_config.json", "hf_quant_config.json", "a.py"),
    *("model-00003-of-00004.safetensors", "pytorch_model.bin", "tokenizer.model", "generation_config.json", "x\ny"),
    *("additional_chat_templates", "tokenizer_config.json", "special_tokens_map.json", "consolidated.safetensors"),
]


def mutate(folder: Path, random: Random) -> str:
    """Damage one thing in `folder`; what was done."""
    return random.choice(MUTATIONS)(folder, random)


def _file(folder: Path, random: Random, pattern: str = "*") -> Path:
    return random.choice(sorted(path for path in folder.glob(pattern) if path.is_file()) or [folder / "gone"])


def _truncate(folder: Path, random: Random) -> str:
    file = _file(folder, random)
    data = file.read_bytes() if file.exists() else b""
    length = random.randint(0, len(data))
    file.write_bytes(data[:length])
    return f"{file.name} cut to {length} bytes"


def _flip(folder: Path, random: Random) -> str:
    file = _file(folder, random)
    data = bytearray(file.read_bytes() if file.exists() else b"{}")
    places = [
        random.randrange(min(len(data), random.choice((64, 10**6)))) for _ in range(random.randint(1, 3)) if data
    ]
    for place in places:
        data[place] ^= 1 << random.randrange(8)
    file.write_bytes(data)
    return f"{file.name} flipped at {places}"


def _changed(content: Any, random: Random) -> Any:
    """A JSON value with one part changed, left out or added."""
    if isinstance(content, (dict, list)) and content and random.random() < 0.85:
        keys = list(content) if isinstance(content, dict) else list(range(len(content)))
        key = random.choice(keys)
        if random.random() < 0.15:
            del content[key]
        elif isinstance(content, dict) and random.random() < 0.1:
            content[random.choice(["r", "weight_map", "text_config", "quantization_config", "\ud800"])] = content.pop(
                key
            )
        else:
            content[key] = _changed(content[key], random)
        return content
    return random.choice(ODD)


def _dumped(content: Any) -> bytes:
    return json.dumps(content).encode()


def _change_json(folder: Path, random: Random) -> str:
    file = _file(folder, random, "*.json")
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        content = {}
    file.write_bytes(_dumped(_changed(content, random)))
    return f"{file.name} changed"


def _change_header(folder: Path, random: Random) -> str:
    file = _file(folder, random, "*.safetensors")
    data = file.read_bytes() if file.exists() else bytes(8)
    length = int.from_bytes(data[:8], "little")
    try:
        header = _dumped(_changed(json.loads(data[8 : 8 + length]), random))
    except (ValueError, RecursionError):
        header = b"{}"
    file.write_bytes(len(header).to_bytes(8, "little") + header + data[8 + length :])
    return f"the header of {file.name} changed to {header[:300]!r}"


def _twice(folder: Path, random: Random) -> str:
    file = _file(folder, random, "*.json")
    text = file.read_bytes() if file.exists() else b"{}"
    start = text.find(b'"')
    end = text.find(b'"', start + 1)
    file.write_bytes(
        text[:start] + text[start : end + 1] + b": " + _dumped(random.choice(ODD)) + b", " + text[start:]
    )
    return f"{file.name} says a key twice"


def _nest(folder: Path, random: Random) -> str:
    file, depth = _file(folder, random, "*.json"), random.choice((10, 100, 1000, 50_000))
    file.write_bytes(b'{"a": ' + b"[" * depth + b"]" * random.choice((depth, 0)) + b"}")
    return f"{file.name} nested {depth} deep"


def _delete(folder: Path, random: Random) -> str:
    file = _file(folder, random)
    file.unlink(missing_ok=True)
    return f"{file.name} deleted"


def _rename(folder: Path, random: Random) -> str:
    file, name = _file(folder, random), random.choice(NAMES)
    if file.exists() and not (folder / name).is_dir():
        file.replace(folder / name)
    return f"{file.name} renamed to {name!r}"


def _put(folder: Path, random: Random) -> str:
    """Something that is no plain file, or a new file, in a known place."""
    path = folder / random.choice([*NAMES, *sorted(path.name for path in folder.iterdir())])
    if path.is_dir():
        return "nothing"
    path.unlink(missing_ok=True)
    kind = random.choice(("pipe", "zero", "nowhere", "outside", "loop", "folder", "empty", "object", "sparse"))
    if kind == "pipe":
        os.mkfifo(path)
    elif kind in ("zero", "nowhere", "outside", "loop"):
        targets = {"zero": "/dev/zero", "nowhere": "nowhere", "outside": "/etc/hostname", "loop": path.name}
        path.symlink_to(targets[kind])
    elif kind == "folder":
        path.mkdir()
    else:
        path.write_bytes({"empty": b"", "object": b"{}", "sparse": b"{"}[kind])
        if kind == "sparse":
            os.truncate(path, 110_000_000)
    return f"{path.name!r} is {kind}"


MUTATIONS: list[Callable[[Path, Random], str]] = [
    *(_truncate, _flip, _flip, _change_json, _change_json, _change_json, _change_header, _change_header),
    *(_twice, _nest, _delete, _rename, _put, _put),
]
