from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from blake3 import blake3
from folders import raw, write

from lata.checkpoints import open_checkpoint
from lata.checkpoints.digests import CHUNK, chunk_digests, digest, remember, remembered, tensor_digest, tensor_digests

TENSORS = {
    "a": torch.arange(6.0).reshape(2, 3),
    "b": torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
    "long": torch.arange(2 * CHUNK + 5, dtype=torch.float16),
    "none": torch.empty(0, 4),
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LATA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "digests"


def of(folder: Path, *shards: dict[str, torch.Tensor]) -> str:
    return digest(open_checkpoint(write(folder, *shards)))


def test_the_digest_is_what_its_definition_says(tmp_path: Path) -> None:
    lines = []
    for name, tensor in sorted(TENSORS.items()):
        data, step = raw(tensor), CHUNK * tensor.element_size()
        chunks = b"".join(blake3(data[start : start + step]).digest() for start in range(0, len(data), step))
        dtype = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}[tensor.dtype]
        lines.append(f"{name}\0{dtype}\0{list(tensor.shape)}\0{blake3(chunks).hexdigest()}\n")
    assert of(tmp_path / "m", TENSORS) == blake3("".join(lines).encode()).hexdigest()


def test_blocks_of_whole_chunks_have_the_digest_of_the_tensor() -> None:
    values = np.arange(3 * CHUNK + 7, dtype=np.uint16).view(np.uint8)
    cut = 2 * CHUNK * 2
    whole = chunk_digests(values, 2)
    assert chunk_digests(values[:cut], 2) + chunk_digests(values[cut:], 2) == whole
    assert len(whole) == 4 * 32
    assert tensor_digest(b"") == blake3(b"").hexdigest()


def test_the_digest_does_not_depend_on_sharding(tmp_path: Path) -> None:
    parts = [{name: TENSORS[name] for name in names} for names in (["none", "b"], ["long", "a"])]
    assert of(tmp_path / "one", TENSORS) == of(tmp_path / "two", *parts)


@pytest.mark.parametrize(
    "other",
    [
        {**TENSORS, "a": TENSORS["a"] + 1},
        {**TENSORS, "a": TENSORS["a"].reshape(3, 2)},
        {**TENSORS, "a": TENSORS["a"].double()},
        {**TENSORS, "none": torch.empty(0, 5)},
        {"z" if name == "a" else name: tensor for name, tensor in TENSORS.items()},
    ],
)
def test_values_shape_dtype_and_name_each_change_the_digest(tmp_path: Path, other: dict[str, torch.Tensor]) -> None:
    assert of(tmp_path / "one", other) != of(tmp_path / "two", TENSORS)


def test_a_tied_head_counts_once(tmp_path: Path) -> None:
    embeddings = {"model.embed_tokens.weight": torch.ones(2, 2)}
    stored = {**embeddings, "lm_head.weight": torch.ones(2, 2)}
    tied = open_checkpoint(write(tmp_path / "tied", stored, config={"tie_word_embeddings": True}))
    assert digest(tied) == of(tmp_path / "bare", embeddings)
    assert of(tmp_path / "untied", stored) != digest(tied)


def test_digests_are_remembered_until_a_file_changes(tmp_path: Path, cache: Path) -> None:
    folder = write(tmp_path / "m", TENSORS)
    checkpoint = open_checkpoint(folder)
    assert remembered(checkpoint) is None
    first = digest(checkpoint)
    assert remembered(open_checkpoint(folder)) == tensor_digests(checkpoint)
    assert [file.suffix for file in cache.iterdir()] == [".json"]
    write(folder, {**TENSORS, "a": TENSORS["a"] + 1})
    assert remembered(open_checkpoint(folder)) is None
    assert digest(open_checkpoint(folder)) != first


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"digests": 3, "seal": ""}', "flip"])
def test_a_damaged_note_is_not_believed(tmp_path: Path, cache: Path, damage: str) -> None:
    checkpoint = open_checkpoint(write(tmp_path / "m", TENSORS))
    right = digest(checkpoint)
    (note,) = cache.iterdir()
    content = json.loads(note.read_text())
    content["digests"]["a"] = content["digests"]["b"]
    note.write_text(json.dumps(content) if damage == "flip" else damage)
    assert remembered(checkpoint) is None
    assert digest(checkpoint) == right
    assert remembered(checkpoint) is not None


def test_notes_of_other_tensors_are_not_believed(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(write(tmp_path / "m", TENSORS))
    remember(checkpoint, {"a": "0"})
    assert remembered(checkpoint) is None


def test_a_cache_that_cannot_be_written_does_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LATA_CACHE", str(tmp_path / "file"))
    assert len(of(tmp_path / "m", TENSORS)) == 64
