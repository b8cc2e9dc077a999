"""Files beside the weights: what goes with a merge, what a user is told of, what is never followed or copied."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from folders import write

import lata
from lata.checkpoints import FolderCheckpoint, companions, open_checkpoint
from lata.checkpoints.companions import check_files

NEEDED = [
    *("chat_template.jinja", "generation_config.json", "merges.txt", "preprocessor_config.json"),
    *("processor_config.json", "qwen.tiktoken", "source.spm", "special_tokens_map.json", "tekken.json"),
    *("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "video_preprocessor_config.json", "vocab.json"),
]
CODE = ["modeling_own.py", "tokenizer_own.py"]
PASSED = ["README.md", "LICENSE.txt", ".gitattributes", "training_args.bin", "trainer_state.json", "consolidated.pth"]


def model(folder: Path, *names: str) -> Path:
    write(folder, {"a": torch.ones(2)})
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("{}")
    return folder


def merged(pre: Path, output: Path) -> list[str]:
    """Files of a merge that starts from `pre`, its own additions aside."""
    lata.merge(pre, {"x": model(output.with_name("x"))}, output=output)
    made = {path.relative_to(output).as_posix() for path in output.rglob("*") if path.is_file()}
    return sorted(made - {"config.json", "model.safetensors", "README.md", "recipe.yaml"})


def test_what_a_model_needs_goes_with_the_merge_and_nothing_else(tmp_path: Path) -> None:
    names = [*NEEDED, "additional_chat_templates/tool_use.jinja"]
    pre = model(tmp_path / "pre", *names, *CODE, *PASSED, "onnx/model.json", "vocab.pkl")
    assert merged(pre, tmp_path / "out") == sorted(names)
    assert [file.relative_to(pre).as_posix() for file in FolderCheckpoint(pre).tokenizer_files()] == sorted(names)


def test_code_and_unknown_files_are_one_line_each(tmp_path: Path) -> None:
    pre = model(tmp_path / "pre", *NEEDED, *PASSED, *CODE, "bpe.codes", "head.json", "labels.csv", "z.dat")
    code, others = FolderCheckpoint(pre).companions.missing
    assert code.startswith("its code (modeling_own.py, tokenizer_own.py) is not copied")
    assert others.startswith("bpe.codes, head.json, labels.csv and 1 more beside its weights are not copied")


def test_code_that_only_the_config_names_is_told_of(tmp_path: Path) -> None:
    folder = write(tmp_path / "m", {"a": torch.ones(2)}, config={"auto_map": {"AutoConfig": "configuration_my.My"}})
    (line,) = FolderCheckpoint(folder).companions.missing
    assert line.startswith("the code that config.json names (auto_map) is not copied")


def test_a_model_with_nothing_unusual_has_no_line(tmp_path: Path) -> None:
    found = FolderCheckpoint(model(tmp_path / "pre", *NEEDED, *PASSED)).companions
    assert (list(found.files), found.refused, found.missing) == (NEEDED, (), ())


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret.json"
    secret.write_text('{"token": 1}')
    pre = model(tmp_path / "pre")
    (pre / "tokenizer_secret.json").symlink_to(secret)
    with pytest.raises(ValueError, match=r"tokenizer_secret\.json in .* is a link out of the model's folder, which"):
        merged(pre, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_links_inside_the_folder_and_into_the_hubs_cache_are_followed(tmp_path: Path) -> None:
    snapshot = tmp_path / "models--a--b" / "snapshots" / "c0ffee"
    model(snapshot, "real.json")
    blobs = tmp_path / "models--a--b" / "blobs"
    blobs.mkdir()
    (blobs / "0123").write_text("{}")
    (snapshot / "tokenizer.json").symlink_to("../../blobs/0123")
    (snapshot / "tokenizer_config.json").symlink_to("real.json")
    assert not FolderCheckpoint(snapshot).companions.refused
    assert merged(snapshot, tmp_path / "out") == ["tokenizer.json", "tokenizer_config.json"]
    assert not (tmp_path / "out" / "tokenizer.json").is_symlink()
    (snapshot / "tokenizer.json").unlink()
    (snapshot / "tokenizer.json").symlink_to("../../refs")
    (tmp_path / "models--a--b" / "refs").write_text("{}")
    assert FolderCheckpoint(snapshot).companions.refused


def test_what_is_no_file_is_not_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pre = model(tmp_path / "pre", "tokenizer.model")
    os.mkfifo(pre / "tokenizer.json")
    (pre / "vocab.json").symlink_to("nowhere")
    monkeypatch.setattr(companions, "LARGEST", 1)
    lines = "\n".join(FolderCheckpoint(pre).companions.refused)
    assert f"tokenizer.json in {pre} is no regular file" in lines
    assert f"vocab.json in {pre} is a link to nothing" in lines
    assert f"tokenizer.model in {pre} has 2 bytes, too many" in lines


def test_files_are_checked_before_transformers_reads_them(tmp_path: Path) -> None:
    folder = model(tmp_path / "pre", *NEEDED)
    check_files(folder)
    for name, content in [("vocab.json", '{"a": []}'), ("chat_template.jinja", b"\xff"), ("tekken.json", "[")]:
        file = folder / name
        kept = file.read_bytes()
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        with pytest.raises(ValueError, match=name.replace(".", r"\.")):
            check_files(folder)
        file.write_bytes(kept)


def test_tokenizers_of_every_form_are_compared(tmp_path: Path) -> None:
    for name in ("tekken.json", "qwen.tiktoken"):
        ours, theirs = model(tmp_path / f"a{name}", name), model(tmp_path / f"b{name}", name)
        (theirs / name).write_text("{ }")
        with pytest.raises(ValueError, match=f"tokenizers: {name} of pre and experts.x differ"):
            lata.merge(ours, {"x": theirs}, output=tmp_path / "out")
    assert open_checkpoint(tmp_path / "atekken.json").tokenizer_files()
