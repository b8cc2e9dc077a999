from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from lata.checkpoint import digest, digest_folder, load


def write(folder: Path, shards: list[dict[str, torch.Tensor]], tied: bool = True) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"tie_word_embeddings": tied}))
    for number, shard in enumerate(shards):
        save_file(shard, folder / f"model-{number}.safetensors")
    return folder


TENSORS = {
    "a": torch.arange(6.0).reshape(2, 3),
    "b": torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
    "c": torch.tensor(3.0, dtype=torch.float16),
}


def test_the_digest_of_a_folder_is_the_digest_of_its_tensors(tmp_path: Path) -> None:
    assert digest_folder(write(tmp_path / "m", [TENSORS])) == digest(load(tmp_path / "m")) == digest(TENSORS)


def test_the_digest_does_not_depend_on_sharding(tmp_path: Path) -> None:
    one = digest_folder(write(tmp_path / "one", [TENSORS]))
    two = digest_folder(write(tmp_path / "two", [{"c": TENSORS["c"], "a": TENSORS["a"]}, {"b": TENSORS["b"]}]))
    assert one == two


@pytest.mark.parametrize(
    "other",
    [
        {**TENSORS, "a": TENSORS["a"] + 1},
        {**TENSORS, "a": TENSORS["a"].reshape(3, 2)},
        {**TENSORS, "a": TENSORS["a"].double()},
        {"z" if name == "a" else name: tensor for name, tensor in TENSORS.items()},
    ],
)
def test_values_shape_dtype_and_name_each_change_the_digest(other: dict[str, torch.Tensor]) -> None:
    assert digest(other) != digest(TENSORS)


def test_a_tied_head_counts_once(tmp_path: Path) -> None:
    with_head = {**TENSORS, "lm_head.weight": torch.ones(2)}
    tied = write(tmp_path / "tied", [with_head])
    assert "lm_head.weight" not in load(tied)
    assert digest_folder(tied) == digest(TENSORS)
    assert "lm_head.weight" in load(write(tmp_path / "untied", [with_head], tied=False))


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no safetensors file"):
        load(write(tmp_path / "empty", []))
