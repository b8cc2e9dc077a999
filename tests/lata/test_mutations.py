"""Damaged and hostile checkpoints: each is refused by lines that help, or merged exactly as the naive merge is."""

from __future__ import annotations

import importlib
import json
import shutil
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from types import FrameType

import pytest
import torch
from folders import write
from mutations import mutate
from safetensors.torch import load_file, save_file

import lata

SEED = 20261128
#: Seconds of processor time.
PATIENCE = 5.0
Q = "model.layers.0.self_attn.q_proj.weight"


class Hang(BaseException):
    """Raised in the middle of whatever takes too long."""


@contextmanager
def watchdog() -> Iterator[None]:
    """Ends what works for more than `PATIENCE` seconds, or waits for longer than any busy machine makes it."""

    def bark(number: int, frame: FrameType | None) -> None:
        raise Hang

    timers = ((signal.SIGPROF, signal.ITIMER_PROF, PATIENCE), (signal.SIGALRM, signal.ITIMER_REAL, 12 * PATIENCE))
    before = [signal.signal(number, bark) for number, _, _ in timers]
    for _, timer, seconds in timers:
        signal.setitimer(timer, seconds)
    try:
        yield
    finally:
        for (number, timer, _), handler in zip(timers, before, strict=True):
            signal.setitimer(timer, 0)
            signal.signal(number, handler)


def build(root: Path) -> None:
    """A model, an expert of it in two shards, and an adapter on the model."""
    for number, name in enumerate(("pre", "expert")):
        generator = torch.Generator().manual_seed(number)
        shapes = {"model.embed_tokens.weight": (4, 4), Q: (4, 4), "model.norm.weight": (4,)}
        stored = {key: torch.randn(shape, generator=generator) for key, shape in shapes.items()}
        stored["model.norm.weight"] = stored["model.norm.weight"].to(torch.bfloat16)
        stored["position_ids"] = torch.arange(3)
        halves = [dict(list(stored.items())[part::2]) for part in range(2)]
        folder = write(root / name, *halves, config={"model_type": "llama", "num_hidden_layers": 1, "hidden_size": 4})
        vocabulary = {f"t{token}": token for token in range(4)}
        content = {"model": {"vocab": vocabulary, "merges": ["t0 t1", ["t1", "t2"]]}, "added_tokens": []}
        (folder / "tokenizer.json").write_text(json.dumps(content))
        (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}))
        (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [1, 2]}))
    adapter = root / "adapter"
    adapter.mkdir()
    path = "base_model.model." + Q.removesuffix("weight")
    generator = torch.Generator().manual_seed(9)
    factors = {f"{path}lora_{part}.weight": torch.randn((2, 4), generator=generator) for part in "AB"}
    factors[f"{path}lora_B.weight"] = factors[f"{path}lora_B.weight"].T.contiguous()
    save_file(factors, adapter / "adapter_model.safetensors")
    config = {
        "peft_type": "LORA",
        "r": 2,
        "lora_alpha": 4,
        "rank_pattern": {"k_proj": 3},
        "target_modules": ["q_proj"],
    }
    (adapter / "adapter_config.json").write_text(json.dumps(config))


def stored(folder: Path) -> dict[str, torch.Tensor]:
    """What safetensors itself reads, of the files that an index names, or of all."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
    elif (folder / "model.safetensors").is_file():
        names = ["model.safetensors"]
    else:
        others = ("consolidated", "adapter_model")
        names = sorted(path.name for path in folder.glob("*.safetensors") if not path.name.startswith(others))
    return {name: tensor for file in names for name, tensor in load_file(folder / file).items()}


def naive(pre: Path, expert: Path, adapter: Path | None) -> dict[str, torch.Tensor]:
    start = stored(pre)
    end = {name: tensor.float() for name, tensor in (start if adapter else stored(expert)).items()}
    if adapter is not None:
        factors = load_file(adapter / "adapter_model.safetensors")
        a, b = (next((factors[name] for name in factors if f"lora_{part}" in name), None) for part in "AB")
        assert a is not None, "an adapter without factors was merged"
        assert b is not None
        end[Q] = end[Q] + 4 / 2 * (b.double() @ a.double()).float()
    merged = {name: (x.float() + 0.5 * (end[name] - x.float())).to(x.dtype) for name, x in start.items()}
    return {name: merged[name] if x.is_floating_point() else x for name, x in start.items()}


def outcome(root: Path, random: Random) -> tuple[str, str]:
    """What became of a merge of a damaged family, and what was done to it; AssertionError where it is wrong."""
    damaged = root / random.choice(("pre", "expert", "expert", "adapter"))
    kept = (root / "adapter" / "adapter_config.json").read_bytes()
    what = "; ".join(mutate(damaged, random) for _ in range(random.choice((1, 1, 1, 2, 3))))
    pre, expert, out = root / "pre", root / "expert", root / "out"
    adapter = root / "adapter" if damaged.name == "adapter" else None
    error: Exception | None = None
    try:
        with watchdog():
            lata.merge(pre, {"x": f"{pre}+{adapter}" if adapter else expert}, lam=0.5, output=out, threads=1)
    except Hang:
        raise AssertionError(f"{what}: still at it after {PATIENCE} s of work") from None
    except Exception as raised:
        error = raised
    if error is not None:
        assert type(error) is ValueError, f"{what}: {type(error).__name__}: {error}"
        lines = str(error).splitlines()
        assert 0 < len(lines) < 30, f"{what}: {error}"
        assert all(line.isprintable() and 20 < len(line) < 1000 for line in lines), f"{what}: {error!r}"
        return "refused", what
    got = load_file(out / "model.safetensors")
    assert not [path for path in out.rglob("*") if path.is_symlink() or not (path.is_file() or path.is_dir())], what
    if adapter is None or (adapter / "adapter_config.json").read_bytes() == kept:
        expected = naive(pre, expert, adapter)
        assert got.keys() == expected.keys(), what
        for name, tensor in got.items():
            exact = adapter is None or name != Q
            assert tensor.dtype == expected[name].dtype, f"{what}: {name}"
            assert torch.allclose(tensor, expected[name], rtol=0 if exact else 1e-5, atol=0), f"{what}: {name}"
    return "merged", what


def run(root: Path, numbers: range, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Outcomes of the mutations with these numbers; a failure names its number."""
    monkeypatch.setenv("LATA_CACHE", str(root / "cache"))
    build(root / "sound")
    # What is compiled and imported once, before a watchdog looks.
    lata.merge(root / "sound/pre", {"x": root / "sound/expert"}, output=root / "compiled")
    importlib.import_module("lata.checkpoints.naming")
    importlib.import_module("transformers.models.llama.modeling_llama")
    found: Counter[str] = Counter()
    for number in numbers:
        family = root / "family"
        shutil.copytree(root / "sound", family)
        try:
            found[outcome(family, Random(SEED + number))[0]] += 1
        except AssertionError as error:
            raise AssertionError(f"mutation {number} of seed {SEED}: {error}") from error
        shutil.rmtree(family)
    return found


@pytest.mark.filterwarnings("ignore")
def test_damaged_checkpoints_are_refused_or_merged_exactly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = run(tmp_path, range(300), monkeypatch)
    assert found.total() == 300
    assert min(found["merged"], found["refused"]) > 30


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_thousands_of_damaged_checkpoints_are_refused_or_merged_exactly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(tmp_path, range(300, 3300), monkeypatch).total() == 3000
