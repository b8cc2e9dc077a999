"""Files beside a checkpoint's weights: which of them a merged model needs, and which are left and why.

What is carried over comes from a stranger's folder, so links out of it are not followed (a link to a secret would be
published with the merge), and code is never copied.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lata.untrusted.json_files import LARGEST, read_bytes, read_json, read_text, shown

#: What a merged model needs beside its weights, `config.json` aside: tokenizers, templates, processors, generation.
COMPANIONS = (
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "*.model",
    "*.spm",
    "*.tiktoken",
    "tekken.json",
    "chat_template*",
    "additional_chat_templates/*.jinja",
    "generation_config.json",
    "*preprocessor_config.json",
    "*processor_config.json",
)
# What is neither needed nor missed: weights in whatever format, configs, notes, traces of training.
_PASSED = (
    *("*.safetensors", "*.safetensors.index.json", "*.bin", "*.bin.index.json", "*.pt", "*.pth", "*.ckpt", "*.h5"),
    *("*.gguf", "*.onnx", "*.msgpack", "*.pkl", "*.pickle", "*.npz", "config.json", "adapter_config.json"),
    *("params.json", "recipe.yaml", "journal.json", "*.md", "*.rst", "*.pdf", "*.png", "*.jpg", "*.jpeg", "*.gif"),
    *("*.svg", "*.webp", "*.log", "*.sh", "LICEN[CS]E*", "NOTICE*", "USE_POLICY*", "*_results.json"),
    *("trainer_state.json", "training_args*", "trainer_log*", ".*"),
)
_CODE = ("*.py", "*.pyc", "*.so")
_PICKLED = {".py", ".pyc", ".so", ".pkl", ".pickle", ".bin", ".pt", ".pth"}


@dataclass(frozen=True)
class Companions:
    """The files beside a model's weights.

    Attributes:
        files: name, with its folder → file that goes with the model.
        refused: why others may not go with it, one line each; each has to be mended first.
        missing: what a user may miss in the result, one line each.
    """

    files: Mapping[str, Path]
    refused: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    def under(self, other: Companions) -> Companions:
        """Both; where both have a file, `other`'s."""
        return Companions(
            {name: ({**self.files, **other.files})[name] for name in sorted({*self.files, *other.files})},
            self.refused + other.refused,
            self.missing + other.missing,
        )


def matching(folder: Path) -> dict[str, Path]:
    """Name, with its folder → regular file that a tokenizer, template or processor may be read from; links count."""
    found = {file for pattern in COMPANIONS for file in folder.glob(pattern)}
    return {
        file.relative_to(folder).as_posix(): file
        for file in sorted(found)
        if file.suffix not in _PICKLED and file.is_file()
    }


def check_files(folder: Path) -> None:
    """Check what transformers will read from `folder` beside the weights, so that nothing of it surprises it.

    Raises:
        ValueError: a file is damaged, too large, or holds values of another type.
    """
    for name, file in matching(folder).items():
        if name.endswith(".json"):
            read_json(file)
        elif name.endswith((".txt", ".jinja")):
            read_text(file)
        else:
            read_bytes(file)


def companions(folder: Path, config: Mapping[str, Any]) -> Companions:
    """What lies beside the weights in `folder`, whose ``config.json`` is `config`."""
    files, refused = {}, []
    wanted = {file for pattern in (*COMPANIONS, "config.json") for file in folder.glob(pattern)}
    for file in sorted(wanted):
        name = file.relative_to(folder).as_posix()
        problem = "" if file.suffix in _PICKLED else _problem(folder, file)
        if problem:
            refused.append(f"{shown(name)[1:-1]} in {folder} {problem}")
        elif file.is_file() and file.suffix not in _PICKLED and name != "config.json":
            files[name] = file
    return Companions(files, tuple(refused), tuple(_missing(folder, config, wanted)))


def _problem(folder: Path, file: Path) -> str:
    """What keeps a file from being copied, with the way to mend it."""
    real = Path(os.path.realpath(file))
    try:
        status = real.stat()
    except OSError:
        return "is a link to nothing; fetch the file again, or remove the link"
    if stat.S_ISDIR(status.st_mode):
        return ""
    if not stat.S_ISREG(status.st_mode):
        return "is no regular file; put the file itself there, or remove it"
    if status.st_size > LARGEST:
        return f"has {status.st_size:,} bytes, too many for such a file; move it away"
    home = Path(os.path.realpath(folder))
    # The hub's cache keeps a model's files as links into one folder of blobs beside its snapshots.
    blobs = home.parent.parent / "blobs" if home.parent.name == "snapshots" else home
    if home not in real.parents and blobs not in real.parents:
        return "is a link out of the model's folder, which is not followed; put a copy of the file there"
    return ""


def _missing(folder: Path, config: Mapping[str, Any], wanted: set[Path]) -> list[str]:
    lines = []
    code = sorted(file.name for pattern in _CODE for file in folder.glob(pattern))
    named = config.get("auto_map") or {}
    if code or named:
        held = f"its code ({_listed(code)})" if code else "the code that config.json names (auto_map)"
        lines.append(
            f"{held} is not copied, for the suite never runs or passes on code; where transformers does not know the "
            "model's type, the result loads only with that code beside it"
        )
    passed = {file for pattern in (*_PASSED, *_CODE) for file in folder.glob(pattern)} | wanted
    others = sorted(file.name for file in folder.iterdir() if file not in passed and file.is_file())
    if others:
        verb = "is" if len(others) == 1 else "are"
        lines.append(f"{_listed(others)} beside its weights {verb} not copied; copy what the result needs")
    return lines


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(shown(name)[1:-1] for name in names[:3]) + more
