"""Files beside the weights of a stranger's checkpoint: what is refused, and that none of them takes for ever."""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from folders import write

from lata.checkpoints import open_checkpoint
from lata.untrusted import json_files
from lata.untrusted.fields import FIELDS
from lata.untrusted.json_files import DEEPEST, read_bytes, read_json, read_text, shown
from lata.untrusted.patterns import Patterns


def refused(file: Path) -> str:
    """The one line with which a file is refused."""
    with pytest.raises(ValueError, match=r"again|there") as caught:
        read_json(file)
    line = str(caught.value)
    assert "\n" not in line
    assert str(file) in line
    return line


def put(folder: Path, content: Any, name: str = "config.json") -> Path:
    file = folder / name
    file.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return file


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "line 1, column 1"),
        (b'{"a": 1,}', "line 1, column"),
        (b"[1]", "does not hold a JSON object"),
        (b"\xff\xfe{}", "byte 0 is no UTF-8"),
        (b'\xef\xbb\xbf{"a": 1}', "BOM"),
        (b'{"a": ' + b"[" * 100_000, "deep"),
        (b'{"a": ' + b"[" * DEEPEST + b"]" * DEEPEST + b"}", f"more than {DEEPEST} deep"),
        (b'{"a": 1, "a": 2}', "it says 'a' twice"),
        (b'{"a": "\\ud800"}', "half a character"),
        (b'{"a": ' + b"9" * 5000 + b"}", "digits"),
    ],
)
def test_what_is_no_sound_json_object_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    assert reason in refused(put(tmp_path, content))


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (b'{"a": 1, "a": 1}', {"a": 1}),
        (b'{"a": [0.0, Infinity]}', {"a": [0.0, float("inf")]}),
        (b'{"a": "\\ud83d\\ude00"}', {"a": "\U0001f600"}),
        (b'{"a": ' + b"[" * (DEEPEST - 1) + b"]" * (DEEPEST - 1) + b"}", ...),
    ],
)
def test_what_transformers_writes_and_reads_is_read(tmp_path: Path, content: bytes, value: Any) -> None:
    found = read_json(put(tmp_path, content))
    assert value is ... or found == value


@pytest.mark.parametrize("kind", ["pipe", "zero", "folder", "socket"])
def test_only_regular_files_are_read_and_at_once(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "config.json"
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "zero":
        file.symlink_to("/dev/zero")
    elif kind == "folder":
        file.mkdir()
    else:
        os.mknod(file, 0o140644)
    begun = time.monotonic()
    refused(file)
    assert time.monotonic() - begun < 1


def test_a_pipe_as_weights_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "m", {"a": torch.zeros(1)})
    (folder / "model.safetensors").unlink()
    os.mkfifo(folder / "model.safetensors")
    with pytest.raises(ValueError, match=r"model\.safetensors"):
        open_checkpoint(folder)


def test_a_file_that_is_too_large_is_refused_without_reading_all_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = put(tmp_path, b"{}")
    os.truncate(file, 2**40)
    monkeypatch.setattr(json_files, "LARGEST", 1000)
    assert "has more than 1,000 bytes" in refused(file)
    os.truncate(file, 1000)
    assert len(read_bytes(file)) == 1000


def test_text_that_is_no_utf8_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"vocab\.txt is no UTF-8 text \(byte 1\)"):
        read_text(put(tmp_path, b"a\xff", "vocab.txt"))


WRONG = [
    ("config.json", {"text_config": "gemma"}, "text_config is 'gemma', not an object"),
    ("config.json", {"text_config": {"num_hidden_layers": "2"}}, "num_hidden_layers is '2', not a whole number"),
    ("config.json", {"architectures": [["A"]]}, "not a list of texts"),
    ("config.json", {"model_type": "a\nb"}, r"model_type is 'a\nb', not one line of text"),
    ("config.json", {"tie_word_embeddings": "false"}, "not true or false"),
    ("config.json", {"num_hidden_layers": True}, "num_hidden_layers is True"),
    ("model.safetensors.index.json", {"weight_map": ["a"]}, "weight_map is ['a'], not an object of tensors"),
    ("model.safetensors.index.json", {"weight_map": {"a": 1}}, "not an object of tensors"),
    ("adapter_config.json", {"lora_alpha": "16"}, "lora_alpha is '16', not a finite number"),
    ("adapter_config.json", {"lora_alpha": 10**399}, "lora_alpha is a very large number"),
    ("adapter_config.json", {"r": 0}, "r is 0, not a whole number from 1"),
    ("adapter_config.json", {"rank_pattern": {"q": 1.5}}, "not an object of patterns and ranks"),
    ("vocab.json", {"a": [1]}, "a is [1], not a whole number"),
    ("added_tokens.json", {"a\n": -1}, r"a\n is -1, not a whole number"),
    ("tokenizer.json", {"model": {"vocab": {"a": []}}}, "not an object of tokens and their numbers"),
    ("tokenizer.json", {"model": {"vocab": [["a", 0.0, 1]]}}, "a list of tokens and their scores"),
    ("tokenizer.json", {"model": {"vocab": {}, "merges": [["a"]]}}, "not a list of pairs of tokens"),
    ("tokenizer.json", {"model": {"vocab": {}}, "added_tokens": ["a"]}, "not a list of tokens with id"),
]


@pytest.mark.parametrize(("name", "content", "reason"), WRONG)
def test_a_value_of_another_type_is_named_with_its_file(
    tmp_path: Path, name: str, content: dict[str, Any], reason: str
) -> None:
    assert reason in refused(put(tmp_path, content, name))


@pytest.mark.parametrize("name", sorted(FIELDS))
def test_null_stands_for_absent(tmp_path: Path, name: str) -> None:
    content: dict[str, Any] = dict.fromkeys(FIELDS[name])
    assert read_json(put(tmp_path, content, name)) == content


def test_values_are_shown_on_one_short_line() -> None:
    assert shown("a\x1b[31m\nb") == r"'a\x1b[31m\nb'"
    assert len(shown("x" * 10**6)) == 60
    assert shown([1] * 100).endswith("…")
    assert shown(10**5000) == "a very large number"


# Patterns


@pytest.mark.parametrize(
    ("pattern", "module"),
    [
        ("q_proj", "model.layers.0.self_attn.q_proj"),
        ("^model.layers.0.self_attn.k_proj", "model.layers.0.self_attn.k_proj"),
        (r".*layers\.(0|1)\..*(q|k)_proj", "model.layers.1.self_attn.k_proj"),
        (r"layers\.[0-9]{1,2}\.mlp", "model.layers.12.mlp"),
        ("proj", "model.layers.0.self_attn.q_proj"),
        ("(?:a|b)?c", "model.bc"),
    ],
)
def test_patterns_match_as_in_peft(pattern: str, module: str) -> None:
    from peft.utils.other import get_pattern_key

    table = {pattern: 3}
    assert Patterns(table).find(module, 8) == table.get(get_pattern_key(table.keys(), module), 8)


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+",
        "(a|aa)*b",
        "(",
        "((a{1000}){1000}){1000}",
        "(" * 400 + ")" * 400,
        "a{99999999999}",
        "(?>a)",
        "a" * 5000,
        "a*" * 300 + "b",
        ".*a.*a.*a.*a.*a.*a.*a.*a.*a.*a.*a!",
    ],
)
def test_no_pattern_takes_for_ever(pattern: str) -> None:
    begun = time.monotonic()
    with contextlib.suppress(ValueError):
        Patterns({pattern: 3}).find("model." + "a" * 200, 8)
    assert time.monotonic() - begun < 4
