"""Writing: the bytes are right in any order, and a reader sees a whole model or none."""

from __future__ import annotations

import errno
import json
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mounted import run_mounted, with_test_modules
from safetensors import safe_open

from lata.checkpoints.digests import chunk_digests, tensor_digest
from lata.numerics.tensors import ITEM_SIZE, Raw, TensorInfo
from lata.output import direct_io, place
from lata.output.journal import AttemptWarning
from lata.output.writer import PAGE, Output, Shard, aligned, held_bytes, layout, partial_folder

#: Sizes around the page, so that neighbours share pages, cover none whole, or meet exactly.
TENSORS = {
    "model.embed.weight": TensorInfo("BF16", (123, 67)),
    "model.layers.0.norm": TensorInfo("F32", (1,)),
    "model.layers.0.w": TensorInfo("BF16", (2048, 3)),
    "model.layers.0.ids": TensorInfo("I64", (5,)),
    "model.layers.0.mask": TensorInfo("BOOL", (7,)),
    "model.layers.1.empty": TensorInfo("F16", (0, 4)),
    "model.layers.1.w": TensorInfo("F16", (4097, 5)),
    "model.layers.1.scale": TensorInfo("F64", ()),
    "model.norm.é": TensorInfo("BF16", (33,)),
}


def content(name: str) -> Raw:
    """Bytes that only this tensor has."""
    generator = np.random.default_rng(list(name.encode()))
    return generator.integers(0, 2, TENSORS[name].nbytes, dtype=np.uint8)


def blocks(shard: Shard, sizes: random.Random) -> list[tuple[int, Raw]]:
    """The tensors of a shard in blocks of random sizes, in random order."""
    found = []
    for piece in shard.pieces:
        data, start = content(piece.name), 0
        while start < data.size:
            size = sizes.choice([1, 7, 511, PAGE - 1, PAGE, PAGE + 1, 3 * PAGE + 5])
            found.append((piece.offset + start, data[start : start + size]))
            start += size
    sizes.shuffle(found)
    return found


def facts(shard: Shard) -> dict[str, Any]:
    """What is noted with a shard."""
    return {
        "digests": {
            piece.name: tensor_digest(chunk_digests(content(piece.name), ITEM_SIZE[piece.info.dtype]))
            for piece in shard.pieces
        }
    }


def fill(output: Output, shards: tuple[Shard, ...], seed: int = 0) -> None:
    for shard in shards:
        if shard.file not in output.finished:
            for offset, data in blocks(shard, random.Random(seed)):
                output.write(shard.file, offset, data)
            output.finish(shard.file, facts(shard))


def read_all(folder: Path) -> dict[str, Raw]:
    """Every tensor's bytes as safetensors' own reader gives them."""
    found = {}
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="np") as opened:
            assert opened.metadata() == {"format": "pt"}
            for name in opened.keys():  # noqa: SIM118 - not a mapping
                if TENSORS[name].dtype != "BF16":
                    found[name] = np.frombuffer(opened.get_tensor(name).tobytes(), dtype=np.uint8)
        with safe_open(file, framework="pt") as opened:
            for name in opened.keys():  # noqa: SIM118
                tensor = opened.get_tensor(name)
                assert list(tensor.shape) == list(TENSORS[name].shape)
                if TENSORS[name].dtype == "BF16":
                    import torch

                    found[name] = tensor.contiguous().view(torch.uint8).numpy().reshape(-1)
    return found


def assert_right(folder: Path) -> None:
    found = read_all(folder)
    assert found.keys() == TENSORS.keys()
    for name, data in found.items():
        np.testing.assert_array_equal(data, content(name), err_msg=name)


def files(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


@pytest.fixture(params=["direct", "buffered"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways of writing; the first is the second where the file system knows no direct writing."""
    if request.param == "buffered":
        monkeypatch.setattr(direct_io, "_open_direct", lambda path: None)
    return str(request.param)


@pytest.mark.parametrize("shard_bytes", [1, 5, 16_000, 30_000, 10**9])
def test_shards_are_contiguous_aligned_and_within_their_size(shard_bytes: int) -> None:
    shards = layout(TENSORS, shard_bytes)
    assert sorted(piece.name for shard in shards for piece in shard.pieces) == sorted(TENSORS)
    assert len({shard.file for shard in shards}) == len(shards)
    for number, shard in enumerate(shards, start=1):
        wanted = f"model-{number:05d}-of-{len(shards):05d}.safetensors" if len(shards) > 1 else "model.safetensors"
        assert shard.file == wanted
        assert len(shard.header) % PAGE == 0
        end = len(shard.header)
        for piece in shard.pieces:
            assert piece.offset == end
            assert piece.offset % ITEM_SIZE[piece.info.dtype] == 0
            end += piece.info.nbytes
        assert end == shard.size
        assert shard.size - len(shard.header) <= shard_bytes or sum(p.info.nbytes > 0 for p in shard.pieces) == 1


def test_tensors_of_one_dtype_keep_their_order() -> None:
    tensors = {name: TensorInfo("BF16", (3,)) for name in ("z", "a", "m", "b")}
    assert [[piece.name for piece in shard.pieces] for shard in layout(tensors, 12)] == [["z", "a"], ["m", "b"]]


def test_shard_bytes_must_be_positive() -> None:
    with pytest.raises(ValueError, match="shard_bytes=0 must be at least 1"):
        layout(TENSORS, 0)


@pytest.mark.parametrize("shard_bytes", [20_000, 10**9])
@pytest.mark.parametrize("seed", range(3))
def test_blocks_in_any_order_give_the_same_file(tmp_path: Path, way: str, shard_bytes: int, seed: int) -> None:
    shards = layout(TENSORS, shard_bytes)
    output = Output(tmp_path / "out", shards, "k")
    fill(output, shards, seed)
    output.publish({})
    assert_right(tmp_path / "out")
    again = Output(tmp_path / "again", shards, "k")
    for shard in shards:
        for piece in shard.pieces:
            again.write(shard.file, piece.offset, content(piece.name))
        again.finish(shard.file, {})
    again.publish({})
    assert files(tmp_path / "out") == files(tmp_path / "again")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again", "out"]


def test_many_threads_write_one_file(tmp_path: Path, way: str) -> None:
    shards = layout(TENSORS)
    output = Output(tmp_path / "out", shards, "k")
    todo = blocks(shards[0], random.Random(5))

    def work(number: int) -> None:
        for offset, data in todo[number::8]:
            output.write(shards[0].file, offset, data)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    output.finish(shards[0].file, {})
    output.publish({})
    assert_right(tmp_path / "out")


@pytest.mark.parametrize("phase", [0, 2, PAGE - 2])
def test_large_blocks_are_written_whole_whatever_their_place_in_memory(tmp_path: Path, phase: int) -> None:
    count = 3 * direct_io.BOUNCE // 2 + 12_345
    shards = layout({"a": TensorInfo("U8", (77,)), "b": TensorInfo("U8", (count,))})
    data = aligned(count + PAGE)[phase : phase + count]
    data[:] = np.random.default_rng(0).integers(0, 256, count, dtype=np.uint8)
    output = Output(tmp_path / "out", shards, "k")
    a, b = shards[0].pieces
    output.write(shards[0].file, b.offset, data)
    output.write(shards[0].file, a.offset, np.arange(77, dtype=np.uint8))
    output.finish(shards[0].file, {})
    output.publish({})
    with safe_open(tmp_path / "out" / "model.safetensors", framework="np") as opened:
        np.testing.assert_array_equal(opened.get_tensor("b"), data)
        np.testing.assert_array_equal(opened.get_tensor("a"), np.arange(77))


def test_a_file_system_that_wants_larger_units_is_written_through_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.pwrite
    refused = []

    def pwrite(file: int, data: memoryview, offset: int) -> int:
        import fcntl

        if fcntl.fcntl(file, fcntl.F_GETFL) & getattr(os, "O_DIRECT", 0):
            refused.append(offset)
            raise OSError(errno.EINVAL, "Invalid argument")
        return real(file, data[: max(1, len(data) // 2)], offset)

    monkeypatch.setattr(os, "pwrite", pwrite)
    shards = layout(TENSORS)
    output = Output(tmp_path / "out", shards, "k")
    fill(output, shards)
    output.publish({})
    assert_right(tmp_path / "out")


def test_aligned_buffers_begin_on_a_page() -> None:
    for size in (0, 1, PAGE, 100_001):
        buffer = aligned(size)
        assert buffer.size == size
        assert buffer.ctypes.data % PAGE == 0
        buffer[:] = 1


def test_a_byte_that_was_never_written_is_noticed(tmp_path: Path) -> None:
    shards = layout(TENSORS)
    output = Output(tmp_path / "out", shards, "k")
    for offset, data in blocks(shards[0], random.Random(0))[1:]:
        output.write(shards[0].file, offset, data)
    with pytest.raises(AssertionError, match="were never written"):
        output.finish(shards[0].file, {})
    output.discard()
    assert not list(tmp_path.iterdir())


def test_the_published_folder_has_index_and_files(tmp_path: Path) -> None:
    shards = layout(TENSORS, 20_000)
    (tmp_path / "tokenizer.json").write_text("{}")
    (tmp_path / "out").mkdir()
    output = Output(tmp_path / "out", shards, "k")
    fill(output, shards)
    output.publish({"config.json": b"{}\n", "tokenizer.json": tmp_path / "tokenizer.json", "extra/a.jinja": b"x"})
    index = json.loads((tmp_path / "out" / "model.safetensors.index.json").read_text())
    assert index["metadata"] == {"total_size": sum(info.nbytes for info in TENSORS.values())}
    assert index["weight_map"] == {piece.name: shard.file for shard in shards for piece in shard.pieces}
    names = {
        path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()
    }
    wanted = {"config.json", "tokenizer.json", "extra/a.jinja", "model.safetensors.index.json"}
    assert names == wanted | {shard.file for shard in shards}
    assert not partial_folder(tmp_path / "out").exists()


def test_nothing_appears_before_publish(tmp_path: Path) -> None:
    shards = layout(TENSORS, 20_000)
    output = Output(tmp_path / "out", shards, "k")
    fill(output, shards)
    assert [path.name for path in tmp_path.iterdir()] == [".out.partial"]
    output.close()
    assert held_bytes(tmp_path / "out") >= sum(info.nbytes for info in TENSORS.values())


def begun(path: Path, shards: tuple[Shard, ...]) -> None:
    """An attempt that was given up when one shard was finished and another half written."""
    output = Output(path, shards, "k")
    output.note("norms", {"a": [0.1, None]})
    for offset, data in blocks(shards[0], random.Random(0)):
        output.write(shards[0].file, offset, data)
    output.finish(shards[0].file, facts(shards[0]))
    for offset, data in blocks(shards[1], random.Random(0))[::2]:
        output.write(shards[1].file, offset, data)
    output.close()


def test_an_attempt_with_the_same_key_goes_on(tmp_path: Path) -> None:
    shards = layout(TENSORS, 20_000)
    begun(tmp_path / "out", shards)
    output = Output(tmp_path / "out", shards, "k")
    assert output.finished == {shards[0].file: facts(shards[0])}
    assert output.recall("norms") == {"a": [0.1, None]}
    assert output.recall("other") is None
    fill(output, shards)
    output.publish({})
    assert_right(tmp_path / "out")


@pytest.mark.parametrize("change", ["key", "layout"])
def test_anything_else_starts_anew(tmp_path: Path, change: str) -> None:
    begun(tmp_path / "out", layout(TENSORS, 20_000))
    shards = layout(TENSORS, 30_000 if change == "layout" else 20_000)
    output = Output(tmp_path / "out", shards, "other" if change == "key" else "k")
    assert output.finished == {}
    assert output.recall("norms") is None
    assert_completes(output, shards, tmp_path / "out")


def assert_completes(output: Output, shards: tuple[Shard, ...], out: Path) -> None:
    fill(output, shards)
    output.publish({})
    assert_right(out)
    assert sorted(files(out)) == [*(shard.file for shard in shards), "model.safetensors.index.json"]
    assert [path.name for path in out.parent.iterdir()] == ["out"]


@pytest.mark.parametrize("place", [0, 8, 200, PAGE, PAGE + 1, -1])
def test_a_byte_that_flipped_in_a_finished_shard_makes_it_anew(tmp_path: Path, place: int) -> None:
    shards = layout(TENSORS, 20_000)
    begun(tmp_path / "out", shards)
    file = partial_folder(tmp_path / "out") / "model" / shards[0].file
    data = bytearray(file.read_bytes())
    data[place] ^= 1
    file.write_bytes(data)
    with pytest.warns(AttemptWarning, match=f"{shards[0].file} is no longer what was written; it is made again"):
        output = Output(tmp_path / "out", shards, "k")
    assert output.finished == {}
    assert output.recall("norms") == {"a": [0.1, None]}
    output.close()
    # What was said once is not found again.
    output = Output(tmp_path / "out", shards, "k")
    assert_completes(output, shards, tmp_path / "out")


@pytest.mark.parametrize("damage", ["short", "long", "folder", "link"])
def test_a_finished_shard_that_is_another_file_is_made_anew(tmp_path: Path, damage: str) -> None:
    shards = layout(TENSORS, 20_000)
    begun(tmp_path / "out", shards)
    file = partial_folder(tmp_path / "out") / "model" / shards[0].file
    whole = file.read_bytes()
    file.unlink()
    if damage in ("short", "long"):
        file.write_bytes(whole[:100] if damage == "short" else whole + b"x")
    elif damage == "folder":
        file.mkdir()
    elif damage == "link":
        (tmp_path / "out.copy").write_bytes(whole)
        file.symlink_to(tmp_path / "out.copy")
    with pytest.warns(AttemptWarning, match="is no longer what was written"):
        output = Output(tmp_path / "out", shards, "k")
    (tmp_path / "out.copy").unlink(missing_ok=True)
    assert_completes(output, shards, tmp_path / "out")


def damaged_journals(whole: bytes) -> dict[str, bytes]:
    """Name → what a crash, a disk or another version can make of a journal."""
    line, text = whole.split(b"\n", 1)
    flips = {f"flip {place}": bytearray(whole) for place in range(0, len(whole), 1 + len(whole) // 40)}
    for name, data in flips.items():
        data[int(name.split()[1])] ^= 1
    return {
        **{name: bytes(data) for name, data in flips.items()},
        "empty": b"",
        "zeros": bytes(len(whole)),
        "truncated": whole[: len(whole) // 2],
        "longer": whole + b" ",
        "no seal": text,
        "other version": b'{"key": "k", "values": {"finished": {}}}',
        "a list": b"[" * 100_000,
        "no text": b"\xff\xfe" * 100,
        "seal alone": line + b"\n",
    }


def test_a_malformed_journal_is_discarded_with_a_line(tmp_path: Path) -> None:
    shards = layout(TENSORS, 20_000)
    out, journal = tmp_path / "out", partial_folder(tmp_path / "out") / "journal.json"
    begun(out, shards)
    for name, damage in damaged_journals(journal.read_bytes()).items():
        journal.write_bytes(damage)
        with pytest.warns(AttemptWarning, match=r"journal.json is discarded: .*; its merge begins anew") as caught:
            output = Output(out, shards, "k")
        assert (len(caught), output.finished, output.recall("norms")) == (1, {}, None), name
        output.close()
    output = Output(out, shards, "k")
    assert_completes(output, shards, out)


@pytest.mark.parametrize("kind", ["fifo", "folder", "huge", "link to a device", "temporary fifo", "model is a file"])
def test_what_is_no_journal_at_all_holds_nothing_up(tmp_path: Path, kind: str) -> None:
    shards = layout(TENSORS, 20_000)
    out, half = tmp_path / "out", partial_folder(tmp_path / "out")
    begun(out, shards)
    journal = half / "journal.json"
    if kind == "temporary fifo":
        os.mkfifo(half / "journal.tmp")
    elif kind == "model is a file":
        shutil.rmtree(half / "model")
        (half / "model").write_text("")
    else:
        journal.unlink()
    if kind == "fifo":
        os.mkfifo(journal)
    elif kind == "folder":
        (journal / "more").mkdir(parents=True)
    elif kind == "huge":
        journal.touch()
        os.truncate(journal, 1 << 40)
    elif kind == "link to a device":
        journal.symlink_to("/dev/zero")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        output = Output(out, shards, "k")
    assert len(caught) == (kind not in ("temporary fifo", "model is a file"))
    assert_completes(output, shards, out)


def test_what_a_killed_publish_left_is_not_published(tmp_path: Path) -> None:
    shards = layout(TENSORS)
    output = Output(tmp_path / "out", shards, "k")
    fill(output, shards)
    output.close()
    (partial_folder(tmp_path / "out") / "model" / "stale").mkdir()
    (partial_folder(tmp_path / "out") / "model" / "old.json").write_text("{}")
    output = Output(tmp_path / "out", shards, "k")
    assert list(output.finished) == ["model.safetensors"]
    output.publish({"config.json": b"{}"})
    assert sorted(files(tmp_path / "out")) == ["config.json", "model.safetensors"]


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    shards = layout(TENSORS)
    output = Output(tmp_path / "out", shards, "k")
    with pytest.raises(ValueError, match=r"writing .*/out: another process is at it; wait for it or choose"):
        Output(tmp_path / "out", shards, "other")
    fill(output, shards)
    output.publish({})
    assert_right(tmp_path / "out")


def test_an_output_that_exists_is_refused(tmp_path: Path) -> None:
    shards = layout(TENSORS)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a").write_text("")
    (tmp_path / "file").write_text("")
    for name in ("out", "file"):
        with pytest.raises(ValueError, match=f"output .*/{name} exists and is not empty"):
            Output(tmp_path / name, shards, "k")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "out"]


def test_an_output_that_appears_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    shards = layout(TENSORS)
    output = Output(tmp_path / "out", shards, "k")
    fill(output, shards)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a").write_text("mine")
    with pytest.raises(ValueError, match="exists and is not empty"):
        output.publish({})
    output.discard()
    assert files(tmp_path / "out") == {"a": b"mine"}


def test_a_disk_without_room_is_noticed_at_once_and_left_clean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards = layout(TENSORS, 20_000)

    def full(file: int, offset: int, size: int) -> None:
        os.pwrite(file, b"x", 0)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    message = (
        r"the disk is full: [\d,]+ bytes of weights are still to be written, [\d,]+ bytes are free; make room or"
    )
    with pytest.raises(ValueError, match=message):
        Output(tmp_path / "out", shards, "k")
    assert not list(tmp_path.iterdir())


def test_a_disk_without_room_does_not_cost_finished_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shards = layout(TENSORS, 20_000)
    begun(tmp_path / "out", shards)

    def full(file: int, offset: int, size: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full, raising=False)
        with pytest.raises(ValueError, match="the disk is full"):
            Output(tmp_path / "out", shards, "k")
    left = {path.name for path in partial_folder(tmp_path / "out").rglob("*") if path.is_file()}
    assert left == {"lock", "journal.json", shards[0].file}
    output = Output(tmp_path / "out", shards, "k")
    assert list(output.finished) == [shards[0].file]
    output.discard()
    assert not list(tmp_path.iterdir())


SMALL_DISK = """
import sys
from pathlib import Path
import pytest
from test_writer import TENSORS, TensorInfo, assert_right, fill
from lata.output.writer import Output, layout
small_disk = Path(sys.argv[1])
with pytest.raises(ValueError, match="the disk is full"):
    Output(small_disk / "out", layout({"w": TensorInfo("F32", (400_000,))}), "k")
assert not list(small_disk.iterdir())
shards = layout(TENSORS)
output = Output(small_disk / "out", shards, "k")
fill(output, shards)
with pytest.raises(ValueError, match="the disk is full.*; the finished weights are kept in .*/.out.partial"):
    output.publish({"tokenizer.json": bytes(1 << 20)})
output.close()
output = Output(small_disk / "out", shards, "k")
assert list(output.finished) == ["model.safetensors"]
output.publish({"tokenizer.json": b"{}"})
assert_right(small_disk / "out")
assert [path.name for path in small_disk.iterdir()] == ["out"]
"""


def test_a_small_disk_takes_what_fits_and_keeps_nothing_of_what_does_not(tmp_path: Path) -> None:
    done = run_mounted(tmp_path, "1m", SMALL_DISK)
    assert done.returncode == 0, done.stderr


EMPTY_DISK = """
import os, sys
from pathlib import Path
from test_writer import TENSORS, assert_right, fill, files
from lata.output.place import is_mount
from lata.output.writer import Output, held_bytes, layout
from lata.planning import room
out = Path(sys.argv[1])
(out / "lost+found").mkdir()
assert is_mount(out) and not is_mount(out.parent)
link = out.with_name("link")
link.symlink_to(out)
shards = layout(TENSORS, 20_000)
assert room.problems_of(link, 100_000, []) == []
assert "needs" in room.problems_of(link, 2_000_000, [])[0]
output = Output(link, shards, "k")
output.write(shards[0].file, shards[0].size - 3, __import__("numpy").zeros(3, "uint8"))
assert held_bytes(link) and sorted(os.listdir(out)) == [".lata.partial", "lost+found"]
output.close()
assert room.problems_of(link, 100_000, []) == []
output = Output(link, shards, "k")
fill(output, shards)
output.publish({"config.json": b"{}", "chat/one.jinja": b"x"})
wanted = [*(shard.file for shard in shards), "chat", "config.json", "lost+found", "model.safetensors.index.json"]
assert sorted(os.listdir(out)) == sorted(wanted)
(out / "lost+found").rmdir()
assert "exists and is not empty" in room.problems_of(link, 1, [])[0]
try:
    Output(out, shards, "k")
except ValueError as error:
    assert "exists and is not empty" in str(error)
else:
    raise AssertionError
os.remove(out / "config.json"); os.remove(out / "chat" / "one.jinja"); os.rmdir(out / "chat")
assert_right(out)
"""


def test_an_empty_mount_point_is_written_into(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    done = run_mounted(tmp_path / "out", "1m", EMPTY_DISK)
    assert done.returncode == 0, done.stderr
    assert not list((tmp_path / "out").iterdir())


def test_a_bind_mount_from_the_same_disk_is_one_too(tmp_path: Path) -> None:
    inside, outside = tmp_path / "within a folder", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    script = "from pathlib import Path; from lata.output.place import is_mount; import sys\n"
    script += f"assert is_mount(Path({str(outside)!r})) and is_mount(Path({str(inside)!r}))\n"
    script += f"assert not is_mount(Path({str(tmp_path)!r}))"
    python = shlex.join([sys.executable, "-c", script])
    bind = f"mount --bind {shlex.quote(str(outside))} {shlex.quote(str(outside))} && {python}"
    shell = "import subprocess, sys; sys.exit(subprocess.run(['sh', '-c', sys.argv[2]]).returncode)"
    done = run_mounted(inside, "64k", shell, bind)
    assert done.returncode == 0, done.stderr


def test_a_parent_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"writing .*/file/out: Not a directory \(.*\); choose another output"):
        Output(tmp_path / "file" / "out", layout(TENSORS), "k")


SCRIPT = """
import sys, time
from pathlib import Path
from test_writer import TENSORS, fill
from lata.output.writer import Output, layout
shards = layout(TENSORS, 20_000)
print("go", flush=True)
output = Output(Path(sys.argv[1]), shards, "k")
output.note("pass", 1)
fill(output, shards)
output.publish({"config.json": b"{}"})
"""


def test_a_process_killed_at_any_moment_leaves_nothing_half_and_the_next_one_completes_it(tmp_path: Path) -> None:
    shards = layout(TENSORS, 20_000)
    began = time.perf_counter()
    whole = Output(tmp_path / "whole", shards, "k")
    fill(whole, shards)
    whole.publish({"config.json": b"{}"})
    seconds = time.perf_counter() - began
    out = tmp_path / "out"
    unfinished = 0
    for attempt in range(8):
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(out)], stdout=subprocess.PIPE, env=with_test_modules()
        )
        assert process.stdout is not None
        assert process.stdout.readline() == b"go\n"
        time.sleep(seconds * attempt / 8)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        if out.exists():
            assert files(out) == files(tmp_path / "whole")
            shutil.rmtree(out)
        else:
            unfinished += 1
    output = Output(out, shards, "k")
    fill(output, shards)
    output.publish({"config.json": b"{}"})
    assert unfinished
    assert files(out) == files(tmp_path / "whole")


@pytest.mark.parametrize("mounted", [False, True])
def test_an_attempt_that_stops_before_any_step_leaves_nothing_half_and_can_be_completed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mounted: bool
) -> None:
    shards = layout(TENSORS, 20_000)
    extra = {"config.json": b"{}", "extra/a": b"x"}
    out = tmp_path / "out"
    if mounted:
        monkeypatch.setattr(place, "is_mount", lambda path: path == out)

    def empty() -> None:
        shutil.rmtree(out, ignore_errors=True)
        if mounted:
            (out / "lost+found").mkdir(parents=True)

    class Killed(BaseException):
        pass

    def stopping(real: Any, budget: list[int]) -> Any:
        def call(*args: Any, **options: Any) -> Any:
            budget[0] -= 1
            if budget[0] < 0:
                raise Killed
            return real(*args, **options)

        return call

    def found() -> dict[str, bytes]:
        return {
            path.name: path.read_bytes()
            for path in out.rglob("*")
            if path.is_file() and ".lata.partial" not in path.parts
        }

    def complete() -> dict[str, bytes]:
        output = Output(out, shards, "k")
        fill(output, shards)
        output.publish(extra)
        return found()

    empty()
    wanted = complete()
    stopped = 0
    while True:
        empty()
        output = Output(out, shards, "k")
        with monkeypatch.context() as patch:
            budget = [stopped]
            for changing in ("rename", "mkdir", "write_bytes", "unlink", "rmdir"):
                patch.setattr(Path, changing, stopping(getattr(Path, changing), budget))
            try:
                fill(output, shards)
                output.publish(extra)
                break
            except Killed:
                stopped += 1
        os.close(output._lock._file)
        if not place.is_free(out):
            assert found() == wanted
        elif mounted and stopped % 2:
            # Another merge takes the place: nothing of the first is left.
            Output(out, shards, "other").discard()
            assert found() == {}
        else:
            assert complete() == wanted
    assert stopped > 10
    if mounted:
        assert sorted(path.name for path in out.iterdir()) == sorted(
            ["config.json", "extra", "lost+found", "model.safetensors.index.json", *(s.file for s in shards)]
        )
