from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import torch
from folders import raw, read, write, write_raw
from huggingface_hub import errors
from loaded import load
from safetensors.torch import save_file

from lata.checkpoints import FolderCheckpoint, _split, hub, open_checkpoint, tied

TENSORS = {
    "a": torch.arange(6.0).reshape(2, 3),
    "b": torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
    "c": torch.tensor(3.0, dtype=torch.float16),
    "d": torch.tensor([True, False, True]),
    "e": torch.empty(0, 4),
    "f": torch.tensor([1.0, 0.5], dtype=torch.float64),
}
HEADS = {
    "model.embed_tokens.weight": torch.arange(8.0).reshape(4, 2),
    "lm_head.weight": torch.arange(8.0).reshape(4, 2),
}


def opened(source: str | Path, label: str | None = None) -> FolderCheckpoint:
    checkpoint = open_checkpoint(source, label)
    assert isinstance(checkpoint, FolderCheckpoint)
    return checkpoint


def shards(count: int) -> list[dict[str, torch.Tensor]]:
    return [{name: TENSORS[name] for name in list(TENSORS)[part::count]} for part in range(count)]


@pytest.mark.parametrize(("count", "index"), [(1, True), (3, True), (3, False)])
def test_every_tensor_is_read_as_it_was_stored_whatever_the_sharding(tmp_path: Path, count: int, index: bool) -> None:
    with opened(write(tmp_path / "m", *shards(count), index=index)) as checkpoint:
        assert list(checkpoint.tensors) == sorted(TENSORS)
        for name, tensor in TENSORS.items():
            assert checkpoint.tensors[name].shape == tuple(tensor.shape)
            assert read(checkpoint, name) == raw(tensor)
        assert read(checkpoint, "a", start=2, count=3) == raw(TENSORS["a"].reshape(-1)[2:5])


def test_many_threads_may_read_one_file_at_once(tmp_path: Path) -> None:
    values = torch.arange(100_000, dtype=torch.int32)
    with opened(write(tmp_path / "m", {"a": values})) as checkpoint, ThreadPoolExecutor(8) as pool:
        pieces = list(pool.map(lambda start: read(checkpoint, "a", start, 100), range(0, 100_000, 100)))
    assert b"".join(pieces) == raw(values)


def test_a_closed_checkpoint_opens_its_files_again(tmp_path: Path) -> None:
    checkpoint = opened(write(tmp_path / "m", TENSORS))
    checkpoint.close()
    assert read(checkpoint, "a") == raw(TENSORS["a"])


def test_files_beside_the_index_are_not_read(tmp_path: Path) -> None:
    folder = write(tmp_path / "m", *shards(2))
    save_file({"a": torch.zeros(9), "z": torch.zeros(1)}, folder / "consolidated.safetensors")
    save_file({"lora": torch.zeros(1)}, folder / "adapter_model.safetensors")
    assert list(opened(folder).tensors) == sorted(TENSORS)


def test_without_an_index_second_copies_and_adapters_are_not_read(tmp_path: Path) -> None:
    folder = write(tmp_path / "m", *shards(2), index=False)
    save_file({"z": torch.zeros(1)}, folder / "consolidated.00.safetensors")
    save_file({"lora": torch.zeros(1)}, folder / "adapter_model.safetensors")
    assert list(opened(folder).tensors) == sorted(TENSORS)


def test_load_gives_the_same_tensors_to_torch(tmp_path: Path) -> None:
    loaded = load(write(tmp_path / "m", *shards(2)))
    assert loaded.keys() == TENSORS.keys()
    assert all(raw(loaded[name]) == raw(tensor) for name, tensor in TENSORS.items())


# Tied heads


def test_a_head_that_the_config_ties_is_left_out_with_the_reason(tmp_path: Path) -> None:
    checkpoint = opened(write(tmp_path / "m", HEADS, config={"tie_word_embeddings": True}))
    assert list(checkpoint.tensors) == ["model.embed_tokens.weight"]
    assert checkpoint.ignored == {"lm_head.weight": "config.json ties it to model.embed_tokens.weight"}
    assert checkpoint.tied


def test_a_tied_head_with_values_of_its_own_is_pointed_out(tmp_path: Path) -> None:
    other = {**HEADS, "lm_head.weight": HEADS["lm_head.weight"] + 1}
    checkpoint = opened(write(tmp_path / "m", other, config={"text_config": {}, "tie_word_embeddings": True}))
    assert (
        "from which it differs; to merge it as well set tie_word_embeddings to false"
        in checkpoint.ignored["lm_head.weight"]
    )


def test_an_untied_head_is_a_parameter_of_its_own(tmp_path: Path) -> None:
    checkpoint = opened(write(tmp_path / "m", HEADS))
    assert list(checkpoint.tensors) == sorted(HEADS)
    assert not checkpoint.tied
    assert checkpoint.ignored == {}


def test_the_only_copy_of_a_tied_parameter_is_kept(tmp_path: Path) -> None:
    only = {"lm_head.weight": HEADS["lm_head.weight"]}
    checkpoint = opened(write(tmp_path / "m", only, config={"tie_word_embeddings": True}))
    assert list(checkpoint.tensors) == ["lm_head.weight"]
    assert checkpoint.tied


def test_buffers_that_the_model_computes_are_left_out(tmp_path: Path) -> None:
    kept = {"h.0.attn.c_attn.bias": torch.zeros(3), "h.0.mlp.bias": torch.zeros(3), "position_ids": torch.arange(3)}
    buffers = {"h.0.attn.bias": torch.ones(1, 1, 3, 3), "h.0.attn.masked_bias": torch.tensor(-1e4)}
    buffers |= {
        "layers.0.rotary_emb.inv_freq": torch.ones(2),
        "layers.0.attention.bias": torch.ones(1, 1, 3, 3).bool(),
    }
    checkpoint = opened(write(tmp_path / "m", {**kept, **buffers}))
    assert list(checkpoint.tensors) == sorted(kept)
    assert checkpoint.ignored == dict.fromkeys(buffers, "a buffer that the model computes by itself")


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"model_type": "gemma2"}, True),
        ({"model_type": "llama"}, False),
        ({"model_type": "gemma2", "tie_word_embeddings": False}, False),
        ({"model_type": "llama", "text_config": {"tie_word_embeddings": True}}, True),
        ({"model_type": "of_my_own"}, False),
    ],
)
def test_a_config_that_does_not_say_ties_as_its_model_type_does(config: dict[str, Any], expected: bool) -> None:
    assert tied.ties(config) is expected


def test_the_known_model_types_tie_as_transformers_does() -> None:
    mapping = pytest.importorskip("transformers.models.auto.configuration_auto").CONFIG_MAPPING
    kinds = sorted((tied.TIED | tied.UNTIED) & set(mapping))
    assert len(kinds) > 20
    assert {kind: tied.ties({"model_type": kind}) for kind in kinds} == {
        kind: mapping[kind]().tie_word_embeddings for kind in kinds
    }


# Broken folders


def test_a_truncated_file_is_named_with_both_sizes(tmp_path: Path) -> None:
    file = write(tmp_path / "m", {"a": torch.zeros(100)}) / "model.safetensors"
    size = file.stat().st_size
    os.truncate(file, size - 10)
    with pytest.raises(
        ValueError, match=rf"math: .*model\.safetensors is cut short.* {size - 10} bytes .* need {size}; fetch"
    ):
        open_checkpoint(tmp_path / "m", "math")


A = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
B = {"dtype": "F32", "shape": [1], "data_offsets": [8, 12]}


@pytest.mark.parametrize(
    ("header", "data", "message"),
    [
        ({"a": A, "b": {**B, "data_offsets": [4, 8]}}, 8, "b begins at byte .* but a ends at"),
        ({"a": A, "b": {**B, "data_offsets": [12, 16]}}, 16, "b begins at byte .* but a ends at"),
        ({"a": {**A, "shape": [3]}}, 8, r"a is F32 \[3\] but takes 8 bytes"),
        ({"a": {**A, "shape": [-2]}}, 8, r"a has dtype 'F32', shape \[-2\]"),
        ({"a": A}, 12, "has .* bytes and its tensors need"),
        (
            {"a": {**A, "dtype": "F4"}},
            8,
            "a in .* has dtype F4, which cannot be merged; give an unquantised checkpoint",
        ),
        ({"a": {"dtype": "F32", "shape": [2]}}, 8, "its header is not one of safetensors"),
        ({"a": 3}, 8, "its header is not one of safetensors"),
        (b'{"a": 1, "a": 2}', 0, "it says 'a' twice"),
        (b"\xff\xfe", 0, "its header is not one of safetensors"),
    ],
)
def test_a_damaged_header_is_refused_by_what_is_wrong_with_it(
    tmp_path: Path, header: dict[str, Any] | bytes, data: int, message: str
) -> None:
    write(tmp_path / "m", {"a": torch.zeros(2)})
    write_raw(tmp_path / "m" / "model.safetensors", header, bytes(data))
    with pytest.raises(ValueError, match=message):
        open_checkpoint(tmp_path / "m")


@pytest.mark.parametrize("content", [b"", b"\x01", (2**60).to_bytes(8, "little") + b"{}"])
def test_a_file_that_is_no_safetensors_is_refused(tmp_path: Path, content: bytes) -> None:
    write(tmp_path / "m", {"a": torch.zeros(2)})
    (tmp_path / "m" / "model.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match=r"cut short or damaged: it has .* bytes and its header claims"):
        open_checkpoint(tmp_path / "m")


@pytest.mark.parametrize("index", [True, False])
def test_a_missing_shard_is_named(tmp_path: Path, index: bool) -> None:
    folder = write(tmp_path / "m", *shards(3), index=index)
    (folder / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(ValueError, match=r"m lacks model-00002-of-00003\.safetensors, which its other files promise"):
        open_checkpoint(folder)


def test_an_index_that_names_a_tensor_its_shard_lacks_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "m", *shards(2))
    file = folder / "model.safetensors.index.json"
    index = json.loads(file.read_text())
    index["weight_map"]["ghost"] = index["weight_map"]["a"]
    file.write_text(json.dumps(index))
    with pytest.raises(
        ValueError, match=r"index\.json puts ghost into model-00001-of-00002\.safetensors, which lacks it"
    ):
        open_checkpoint(folder)


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"weight_map": {"a": "../other.safetensors"}}'])
def test_a_useless_index_is_refused(tmp_path: Path, content: str) -> None:
    folder = write(tmp_path / "m", TENSORS)
    (folder / "model.safetensors.index.json").write_text(content)
    with pytest.raises(ValueError, match=r"model\.safetensors\.index\.json.*fetch the file again"):
        open_checkpoint(folder)


def test_a_tensor_in_two_shards_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "m", {"a": torch.zeros(1), "b": torch.zeros(1)}, {"a": torch.ones(1)})
    with pytest.raises(ValueError, match=r"a stands in both model-00001-of-00002.* and model-00002-of-00002"):
        open_checkpoint(folder)


def test_an_index_beside_another_single_file_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "m", *shards(2))
    save_file(TENSORS, folder / "model.safetensors")
    with pytest.raises(ValueError, match=r"holds model\.safetensors and an index of other files; remove the one"):
        open_checkpoint(folder)


def test_pickled_weights_are_refused_with_the_way_to_convert_them(tmp_path: Path) -> None:
    folder = write(tmp_path / "m")
    (folder / "pytorch_model-00001-of-00002.bin").write_bytes(b"")
    with pytest.raises(
        ValueError, match=r"only pickled weights \(pytorch_model-00001.*save_pretrained\('NEW_FOLDER'\)"
    ):
        open_checkpoint(folder)


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no safetensors file in .*; a checkpoint folder holds config\.json and"):
        open_checkpoint(write(tmp_path / "empty"))


def test_a_folder_without_a_config_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "m", TENSORS)
    (folder / "config.json").unlink()
    with pytest.raises(ValueError, match=r"pre: no config\.json in .*m; a checkpoint folder holds it"):
        open_checkpoint(folder, "pre")


def test_a_file_that_shrinks_while_it_is_read_is_named(tmp_path: Path) -> None:
    checkpoint = opened(write(tmp_path / "m", {"a": torch.zeros(100)}), "pre")
    os.truncate(checkpoint.files[0], checkpoint.files[0].stat().st_size - 4)
    with pytest.raises(ValueError, match=r"pre: .*model\.safetensors ends inside a; fetch the file again"):
        read(checkpoint, "a")
    assert read(checkpoint, "a", 0, 99) == bytes(396)


def test_a_file_that_vanishes_is_named(tmp_path: Path) -> None:
    checkpoint = opened(write(tmp_path / "m", {"a": torch.zeros(100)}), "pre")
    checkpoint.files[0].unlink()
    with pytest.raises(ValueError, match=r"pre: cannot read a from .*model\.safetensors: No such file"):
        read(checkpoint, "a")


# Names of sources


def test_a_source_that_is_neither_folder_nor_hub_id_says_both_readings() -> None:
    with pytest.raises(
        ValueError, match=r"base: no/such/folder is no folder, and no hub id either \(org/name or org/name@rev"
    ):
        open_checkpoint("no/such/folder", "base")


def test_a_file_is_not_a_source(tmp_path: Path) -> None:
    file = write(tmp_path / "m", TENSORS) / "model.safetensors"
    with pytest.raises(ValueError, match=r"model\.safetensors is a file; give the folder that holds it"):
        open_checkpoint(file)


def test_an_existing_folder_wins_over_a_hub_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "org" / "name", TENSORS)
    monkeypatch.chdir(tmp_path)
    checkpoint = opened("org/name")
    assert checkpoint.folder == tmp_path / "org" / "name"
    assert checkpoint.label == checkpoint.source == str(tmp_path / "org" / "name")


def test_a_folder_may_have_a_plus_in_its_name(tmp_path: Path) -> None:
    assert list(opened(write(tmp_path / "math+code", TENSORS)).tensors) == sorted(TENSORS)


def test_a_hub_id_is_resolved_to_its_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def download(name: str, **options: Any) -> str:
        asked.append((name, options["revision"]))
        assert not {"*.py", "*.bin"} & set(options["allow_patterns"])
        return str(write(tmp_path / "snapshots" / "abc123", TENSORS))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert opened("org/name@v1.0").source == "org/name@abc123"
    assert opened("org/name").source == "org/name@abc123"
    assert asked == [("org/name", "v1.0"), ("org/name", None)]


def hub_error(kind: type[Exception]) -> Exception:
    error = kind.__new__(kind)
    Exception.__init__(error, "first line\nsecond line")
    return error


@pytest.mark.parametrize(
    ("kind", "advice"),
    [
        (errors.GatedRepoError, "accept its licence on https://huggingface.co/org/name and log in"),
        (errors.RepositoryNotFoundError, "check the name, or log in"),
        (errors.RevisionNotFoundError, "it has no revision v9; choose one"),
        (errors.LocalEntryNotFoundError, "unset HF_HUB_OFFLINE, go online, or give a folder"),
        (errors.OfflineModeIsEnabled, "unset HF_HUB_OFFLINE, go online, or give a folder"),
        (ConnectionResetError, r"could not be fetched \(first line\): try again"),
    ],
)
def test_what_the_hub_refuses_becomes_one_line_of_advice(
    monkeypatch: pytest.MonkeyPatch, kind: type[Exception], advice: str
) -> None:
    def download(*_: Any, **__: Any) -> str:
        raise hub_error(kind)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    with pytest.raises(
        ValueError, match=f"^math: org/name@v9 is no folder here, and as a hub id .*{advice}"
    ) as caught:
        open_checkpoint("org/name@v9", "math")
    assert "\n" not in str(caught.value)


def test_a_plus_joins_the_two_sides_that_can_be_sources(tmp_path: Path) -> None:
    folder = write(tmp_path / "a+b", TENSORS)
    assert _split(f"{folder}") == (str(folder), None)
    assert _split(f"{folder}+org/adapter@main") == (str(folder), "org/adapter@main")
    assert _split(f"org/model+{folder}") == ("org/model", str(folder))
    assert [hub.is_plausible(name) for name in ("org/model", "./model", "a/b/c", "model")] == [
        True,
        False,
        False,
        False,
    ]


def test_identity_follows_the_files(tmp_path: Path) -> None:
    folder = write(tmp_path / "m", TENSORS)
    before = opened(folder).identity
    assert opened(folder).identity == before
    moved = tmp_path / "n"
    shutil.copytree(folder, moved)
    assert opened(moved).identity != before
    os.utime(folder / "model.safetensors", ns=(0, 0))
    assert opened(folder).identity != before


def test_reading_asks_for_no_torch(tmp_path: Path) -> None:
    folder = write(tmp_path / "m", {"a": torch.zeros(3)})
    code = (
        "import sys; from lata.checkpoints import open_checkpoint; from lata.checkpoints.digests import digest; "
        f"digest(open_checkpoint({str(folder)!r})); print({{'torch', 'transformers', 'numba'}} & {{*sys.modules}})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "LATA_CACHE": str(tmp_path)},
    )
    assert done.stdout.strip() == "set()"


def test_a_read_may_fill_part_of_a_larger_buffer(tmp_path: Path) -> None:
    buffer = np.full(16, 7, np.uint8)
    opened(write(tmp_path / "m", {"a": torch.tensor([1.0, 2.0])})).read("a", 1, buffer[4:8])
    assert buffer[4:8].view(np.float32)[0] == 2.0
    assert (np.delete(buffer, slice(4, 8)) == 7).all()
