"""A merge in memory for many λ: every point has the bytes of the merge on disk, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from folders import write
from loaded import Family, merge_tensors
from random_models import NEEDED, moved, random_checkpoint
from safetensors.torch import load_file, save_file

import lata
from lata.merging.in_memory.merge import InMemoryMerge, MergeFacts
from lata.methods import get, methods
from lata.numerics.tensors import CHUNK

# The folders here hold weights alone.
pytestmark = pytest.mark.filterwarnings("ignore:.*no tokenizer beside its weights", "ignore:dtypes are mixed")

Tensors = dict[str, torch.Tensor]

TASKS = ("code", "math", "ua")
EACH = {"code": 0.3, "math": 1.5, "ua": 0.7}
EMBEDDINGS = "model.embed_tokens.weight"
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *((name, NEEDED.get(name, {})) for name in methods()),
    ("ties", {"variant": "mergekit"}),
    ("ties", {"variant": "peft", "density": 0.3}),
    ("dare", {"variant": "mergekit", "drop_rate": 0.7}),
    ("dare", {"variant": "peft"}),
    ("dare_ties", {"variant": "mergekit"}),
    ("dare_ties", {"variant": "peft"}),
    ("lata_threshold", {"quantile": 0.5, "granularity": "module", "outside": "drop"}),
]
ONE_LAMBDA = [
    variant for variant in VARIANTS if not get(variant[0]).takes_scales(get(variant[0]).parameters(variant[1]))
]
PER_TASK = [variant for variant in VARIANTS if variant not in ONE_LAMBDA]


def name_of(value: object) -> str:
    if isinstance(value, dict):
        return "-".join(str(part) for part in value.values() if not isinstance(part, dict))
    return str(value).removeprefix("torch.")


class Models:
    """A family in folders, and the same in memory; `long` elements in the embeddings where that is given."""

    def __init__(self, folder: Path, dtype: torch.dtype, long: int = 0) -> None:
        self.folder = folder
        extra = {EMBEDDINGS: torch.randn(long // 8, 8, generator=torch.Generator().manual_seed(9))} if long else {}
        base = {**random_checkpoint(0), **extra}
        pre = self._moved(base, 1, 0.5)
        tensors = {"base": base, "pre": pre, **{task: self._moved(pre, n, 0.3) for n, task in enumerate(TASKS, 2)}}
        self.tensors = {role: {n: t.to(dtype) for n, t in model.items()} for role, model in tensors.items()}
        for role, model in self.tensors.items():
            write(folder / role, model)
        self.given: dict[str, Any] = {role: folder / role for role in ("pre", "base")}
        self.given["experts"] = {task: folder / task for task in TASKS}

    def _moved(self, start: Tensors, seed: int, scale: float) -> Tensors:
        step = torch.randn(start[EMBEDDINGS].shape, generator=torch.Generator().manual_seed(seed))
        plain = {name: tensor for name, tensor in start.items() if name != EMBEDDINGS}
        return {
            **moved({**random_checkpoint(seed), **plain}, seed, scale),
            EMBEDDINGS: start[EMBEDDINGS] + scale * step,
        }

    def family(self) -> Family:
        return Family(self.tensors["pre"], {t: self.tensors[t] for t in TASKS}, self.tensors["base"])

    def live(self) -> Tensors:
        return {name: torch.full_like(tensor, 7.0) for name, tensor in self.tensors["pre"].items()}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    return Models(tmp_path_factory.mktemp("bf16"), torch.bfloat16, long=2 * CHUNK + 72)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> dict[torch.dtype, Models]:
    return {
        dtype: Models(tmp_path_factory.mktemp("small"), dtype)
        for dtype in (torch.bfloat16, torch.float32, torch.float16, torch.float64)
    }


def bits(tensors: Mapping[str, torch.Tensor]) -> dict[str, tuple[torch.dtype, bytes]]:
    return {n: (t.dtype, t.detach().reshape(-1).view(torch.uint8).numpy().tobytes()) for n, t in tensors.items()}


def check(
    hot: InMemoryMerge, lam: float | dict[str, float], merged: lata.merging.on_disk.Result, live: Tensors
) -> None:
    """The point at λ is the merge on disk."""
    point = hot.write(lam, live, digest=True)
    (file,) = merged.output.glob("*.safetensors")
    assert bits(live) == bits({name: tensor for name, tensor in load_file(file).items() if name in live})
    assert point == MergeFacts(merged.facts.distance, merged.facts.finite, merged.facts.digests["merged"])
    assert hot.measure(lam, digest=True) == point


@pytest.mark.parametrize(
    ("method", "parameters", "dtype"),
    [
        *((*variant, dtype) for variant in VARIANTS for dtype in (torch.bfloat16, torch.float32)),
        ("ta", {}, torch.float16),
        ("ties", {}, torch.float64),
    ],
    ids=name_of,
)
def test_a_point_is_the_merge_on_disk_bit_for_bit(
    method: str, parameters: dict, dtype: torch.dtype, small: dict[torch.dtype, Models], tmp_path: Path
) -> None:
    made = small[dtype]
    merged = lata.merge(**made.given, method=method, lam=0.7, seed=5, output=tmp_path / "out", **parameters)
    hot = lata.hold(**made.given, method=method, seed=5, **parameters)
    check(hot, 0.7, merged, made.live())
    loaded = made.family().hot(list(TASKS), method, 5, **parameters)
    check(loaded, 0.7, merged, made.live())


@pytest.mark.parametrize("lam", [0, 0.0, -0.0, 0.5, 1, 1.7, 1e30])
@pytest.mark.parametrize("method", ["ta", "lata_log"])
def test_any_lam_gives_the_merge_on_disk(method: str, lam: float, models: Models, tmp_path: Path) -> None:
    merged = lata.merge(**models.given, method=method, lam=lam, output=tmp_path / "out")
    check(models.family().hot(list(TASKS), method), lam, merged, models.live())


@pytest.mark.parametrize(("method", "parameters"), PER_TASK, ids=name_of)
def test_a_lam_for_each_task_gives_the_merge_on_disk(
    method: str, parameters: dict, small: dict[torch.dtype, Models], tmp_path: Path
) -> None:
    made = small[torch.bfloat16]
    hot = lata.hold(**made.given, method=method, seed=5, per_task=True, **parameters)
    loaded = made.family().hot(list(TASKS), method, 5, per_task=True, **parameters)
    for number, lam in enumerate((EACH, {"code": 0.0, "math": 1.0, "ua": 2.0}, 0.7)):
        output = tmp_path / str(number)
        merged = lata.merge(**made.given, method=method, lam=lam, seed=5, output=output, **parameters)
        check(hot, lam, merged, made.live())
        check(loaded, lam, merged, made.live())


@pytest.mark.parametrize(("method", "parameters"), ONE_LAMBDA, ids=name_of)
def test_a_method_with_one_lam_refuses_more_as_the_merge_does(
    method: str, parameters: dict, models: Models, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="has one λ") as merging:
        lata.merge(**models.given, method=method, lam=EACH, output=tmp_path / "out", **parameters)
    hot = models.family().hot(list(TASKS), method, per_task=True, **parameters)
    with pytest.raises(ValueError, match="has one λ") as holding:
        hot.measure(EACH)
    assert str(holding.value) == str(merging.value)
    assert math.isfinite(hot.measure(0.5).distance)


@pytest.mark.parametrize("lam", [0.8, EACH], ids=["one", "each"])
@pytest.mark.parametrize("method", ["lata_linear", "safety_arithmetic"])
def test_forgetting_is_the_merge_on_disk(method: str, lam: Any, models: Models, tmp_path: Path) -> None:
    given = {**models.given, "target": models.folder / "ua", "method": method}
    merged = lata.merge(**given, lam=lam, output=tmp_path / "out")
    check(lata.hold(**given, per_task=lam is EACH), lam, merged, models.live())
    options: dict[str, Any] = {"start": models.tensors["ua"], "per_task": lam is EACH}
    check(models.family().hot(list(TASKS), method, forget=True, **options), lam, merged, models.live())


@pytest.mark.parametrize("per_task", [False, True])
def test_a_hundred_points_do_not_drift(per_task: bool, models: Models) -> None:
    pre, family = models.tensors["pre"], models.family()
    before = {role: bits(tensors) for role, tensors in models.tensors.items()}
    direction = family.direction(list(TASKS), "lata_log")
    hot = family.hot(list(TASKS), "lata_log", per_task=per_task)
    live = models.live()
    for lam in np.random.default_rng(0).uniform(0, 3, 100).tolist():
        hot.write(lam, live)
        # By torch, which rounds bf16 to nearest even as well.
        scale = torch.tensor(lam, dtype=torch.float32)
        assert all(torch.equal(live[n], (t.float() + scale * direction[n]).bfloat16()) for n, t in pre.items())
    assert {role: bits(tensors) for role, tensors in models.tensors.items()} == before


def test_threads_do_not_change_a_point(models: Models) -> None:
    family = models.family()
    points = {
        family.hot(list(TASKS), "dare", threads=threads, per_task=per_task).measure(1.0, digest=True)
        for threads in (1, 3)
        for per_task in (False, True)
    }
    assert len(points) == 1


def test_what_the_live_model_holds_does_not_matter_and_a_point_can_be_repeated(models: Models) -> None:
    hot, live = models.family().hot(["math"], "ta"), models.live()
    first = hot.write(0.5, live)
    kept = bits(live)
    for tensor in live.values():
        tensor.fill_(math.nan)
    hot.write(2.0, live)
    assert hot.write(0.5, live) == first
    assert bits(live) == kept


@pytest.mark.parametrize(("merge", "model"), [(torch.bfloat16, torch.float32), (torch.float32, torch.float64)])
def test_a_live_model_in_a_wider_dtype_takes_the_rounded_values(
    merge: torch.dtype, model: torch.dtype, small: dict[torch.dtype, Models]
) -> None:
    made = small[merge]
    hot, live, wide = made.family().hot(list(TASKS), "ta"), made.live(), made.live()
    wide = {name: tensor.to(model) for name, tensor in wide.items()}
    assert hot.write(0.7, wide, digest=True) == hot.write(0.7, live, digest=True)
    assert bits(wide) == bits({name: tensor.to(model) for name, tensor in live.items()})


def test_a_live_model_in_a_narrower_dtype_is_rounded_once_more(small: dict[torch.dtype, Models]) -> None:
    made = small[torch.float32]
    hot, live = made.family().hot(list(TASKS), "ta"), made.live()
    narrow = {name: tensor.bfloat16() for name, tensor in live.items()}
    hot.write(0.7, live)
    hot.write(0.7, narrow)
    assert bits(narrow) == bits({name: tensor.bfloat16() for name, tensor in live.items()})


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_a_live_model_on_a_gpu_has_the_same_bits(dtype: torch.dtype, models: Models) -> None:
    hot, live = models.family().hot(list(TASKS), "lata_log"), models.live()
    there = {name: tensor.to("cuda", dtype) for name, tensor in live.items()}
    assert hot.write(0.7, there, digest=True) == hot.write(0.7, live, digest=True)
    assert bits({name: tensor.cpu() for name, tensor in there.items()}) == bits(
        {n: t.to(dtype) for n, t in live.items()}
    )


def test_tensors_come_one_by_one_and_are_the_callers_own(models: Models) -> None:
    hot, live = models.family().hot(list(TASKS), "lata_log", per_task=True), models.live()
    for lam in (0.7, EACH):
        hot.write(lam, live)
        given = dict(hot.tensors(lam))
        assert bits(given) == bits(live)
        for tensor in given.values():
            tensor.zero_()
    assert bits(dict(hot.tensors(EACH))) == bits(live)
    with pytest.raises(ValueError, match="finite"):
        hot.tensors(math.nan)


def test_a_model_of_transformers_is_written_tied_head_and_all(tmp_path: Path) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        vocab_size=40,
        tie_word_embeddings=True,
    )
    for seed, name in enumerate(("base", "pre", "math", "code")):
        torch.manual_seed(seed)
        LlamaForCausalLM(config).bfloat16().save_pretrained(tmp_path / name)
    given: dict[str, Any] = {
        **{role: tmp_path / role for role in ("pre", "base")},
        "experts": {task: tmp_path / task for task in ("math", "code")},
        "method": "lata_log",
    }
    merged = lata.merge(**given, lam=0.7, output=tmp_path / "out")
    live = LlamaForCausalLM.from_pretrained(tmp_path / "pre", dtype=torch.bfloat16)
    point = lata.hold(**given).write(0.7, live, digest=True)
    assert point == MergeFacts(merged.facts.distance, True, merged.facts.digests["merged"])
    loaded = LlamaForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.bfloat16)
    assert bits(live.state_dict()) == bits(loaded.state_dict())
    assert live.lm_head.weight.data_ptr() == live.model.embed_tokens.weight.data_ptr()
    untied = LlamaForCausalLM(LlamaConfig(**{**config.to_dict(), "tie_word_embeddings": False})).bfloat16()
    with pytest.raises(ValueError, match=r"lm_head\.weight of the loaded model is not in the merge"):
        lata.hold(**given).write(0.7, untied)


def test_integers_adapters_and_shared_rows_have_the_digest_of_the_merge_on_disk(
    models: Models, tmp_path: Path
) -> None:
    query = "model.layers.0.self_attn.q_proj"
    with_buffer = {**models.tensors["pre"], "model.layers.0.position_ids": torch.arange(5)}
    longer = {**models.tensors["math"], EMBEDDINGS: models.tensors["math"][EMBEDDINGS].repeat(2, 1)[: CHUNK // 3]}
    write(tmp_path / "pre", with_buffer)
    write(tmp_path / "longer", {**longer, "model.layers.0.position_ids": torch.arange(5)})
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text(
        '{"peft_type": "LORA", "r": 2, "lora_alpha": 6, "target_modules": ["q_proj"]}'
    )
    parts = {f"base_model.model.{query}.lora_A.weight": torch.ones(2, 4) / 3}
    save_file(
        {**parts, f"base_model.model.{query}.lora_B.weight": torch.ones(4, 2) / 7},
        adapter / "adapter_model.safetensors",
    )
    adapted = f"{tmp_path / 'pre'}+{adapter}"
    for number, given in enumerate(
        (
            {"pre": tmp_path / "pre", "experts": {"a": adapted, "b": tmp_path / "longer"}, "vocab": "common"},
            {"pre": adapted, "experts": {"b": tmp_path / "longer"}, "vocab": "common"},
            {"pre": tmp_path / "longer", "experts": {"a": adapted}, "vocab": "common", "target": adapted},
        )
    ):
        merged = lata.merge(**given, lam=0.7, output=tmp_path / str(number))  # type: ignore[arg-type]
        for per_task in (False, True):
            hot = lata.hold(**given, per_task=per_task)  # type: ignore[arg-type]
            point = MergeFacts(merged.facts.distance, True, merged.facts.digests["merged"])
            assert hot.measure(0.7, digest=True) == point


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_values_that_are_not_finite_are_told(dtype: torch.dtype) -> None:
    pre = {"w": torch.tensor([1.0, 1e38]).to(dtype)}
    hot = Family(pre, {"a": {"w": torch.tensor([1.0, 3e38]).to(dtype)}}).hot(["a"], "ta")
    live = {"w": torch.zeros(2, dtype=dtype)}
    assert not hot.write(2.0, live).finite
    assert live["w"].isinf().any()
    assert hot.write(0.5, live).finite


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda live: live.pop("model.norm.weight"), "model.norm.weight is not in the loaded model"),
        (lambda live: live.update(other=torch.ones(2)), "other of the loaded model is not in the merge"),
        (lambda live: live.update({"model.norm.weight": torch.ones(5)}), r"is \(4,\) in the merge but \(5,\)"),
        (lambda live: live.update({"model.norm.weight": torch.ones(8)[::2]}), "model.norm.weight is not one piece"),
        (lambda live: live.update({"model.norm.weight": torch.ones(4, device="meta")}), "load it"),
        (
            lambda live: live.update({"model.norm.weight": live["model.layers.0.input_layernorm.weight"]}),
            "are one tensor in the loaded model but two in the merge",
        ),
    ],
)
def test_a_live_model_that_does_not_fit_is_refused_and_left_alone(
    change: Any, message: str, pre: dict, experts: dict
) -> None:
    live = {name: torch.zeros_like(tensor) for name, tensor in pre.items()}
    change(live)
    with pytest.raises(ValueError, match=message):
        Family(pre, experts).hot(["math"], "ta").write(1.0, live)
    assert not live[EMBEDDINGS].any()


@pytest.mark.parametrize("role", ["pre", "math", "code"])
def test_the_merges_own_inputs_are_no_live_model(role: str, pre: dict, experts: dict) -> None:
    hot = Family(pre, experts).hot(["math"], "ta")
    with pytest.raises(ValueError, match="is the memory that the merge starts from"):
        hot.write(1.0, {"pre": pre, **experts}[role])


@pytest.mark.parametrize(
    ("lam", "message"),
    [
        (math.nan, "lam is nan; it must be a finite number"),
        ({"math": math.inf, "code": 1.0}, "lam of math is inf"),
        ({"math": 1.0, "code": -0.5}, "lam of code is -0.5; it must be at least 0: mode=forget takes"),
        ({"math": 1.0}, "lam has numbers for math, but the experts are code, math"),
        ({"math": 1.0, "code": 1.0}, "held for one λ.*per_task=True"),
    ],
)
def test_a_lam_of_another_form_is_refused(lam: Any, message: str, pre: dict, experts: dict) -> None:
    with pytest.raises(ValueError, match=message):
        Family(pre, experts).hot(["math", "code"], "ta").measure(lam)


def test_what_does_not_fit_is_refused_before_a_point(pre: dict, experts: dict, models: Models) -> None:
    family = Family(pre, experts)
    with pytest.raises(ValueError, match="no expert 'mth'; did you mean 'math'"):
        family.hot(["mth"], "ta")
    for per_task in (False, True):
        with pytest.raises(ValueError, match="give the base model"):
            family.hot(["math"], "lata_linear", per_task=per_task)
    with pytest.raises(ValueError, match="has no parameter 'dens'"):
        family.hot(["math"], "ties", dens=0.2)
    with pytest.raises(ValueError, match="start does not fit pre"):
        family.hot(["math"], "ta", start={"w": torch.ones(2)})
    with pytest.raises(ValueError, match="compares layers with θ_base"):
        lata.hold(models.folder / "pre", models.given["experts"], method="lata_log")
    with pytest.raises(ValueError, match="no expert is given"):
        lata.hold(models.folder / "pre", {})


def test_a_start_that_is_not_finite_is_refused_by_name(pre: dict, experts: dict, tmp_path: Path) -> None:
    broken = {**experts["ua"], "model.norm.weight": torch.full((4,), math.nan)}
    with pytest.raises(ValueError, match=r"start: model\.norm\.weight holds values that are not finite"):
        Family(pre, experts).hot(["math"], "ta", start=broken).measure(1.0)
    folders = {
        role: write(tmp_path / role, t) for role, t in (("pre", pre), ("math", experts["math"]), ("ua", broken))
    }
    with pytest.raises(ValueError, match=r"target: model\.norm\.weight holds values that are not finite"):
        lata.hold(folders["pre"], {"math": folders["math"]}, target=folders["ua"])


def test_checkpoints_are_not_needed_once_a_merge_is_held(small: dict[torch.dtype, Models], tmp_path: Path) -> None:
    import shutil

    made = Models(tmp_path, torch.bfloat16)
    hots = [lata.hold(**made.given, method="lata_log", per_task=per_task) for per_task in (False, True)]
    for role in made.tensors:
        shutil.rmtree(tmp_path / role)
    expected = merge_tensors(made.tensors["pre"], made.family().direction(list(TASKS), "lata_log"), 0.7).tensors
    for hot in hots:
        live = made.live()
        hot.write(0.7, live)
        assert bits(live) == bits(expected)


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 1000, CHUNK - 1, CHUNK, CHUNK + 1])
@pytest.mark.parametrize("lam", [0.0, -1.5, 1.0, 3e38])
def test_the_fused_loop_gives_what_its_steps_give_for_any_bits(count: int, lam: float) -> None:
    from lata.numerics import kernels

    random = np.random.default_rng(count)
    start = random.integers(0, 1 << 16, count, dtype=np.uint16)
    step = random.integers(0, 1 << 32, count, dtype=np.uint32).view(np.float32)
    out, squares = np.zeros(count, np.uint16), np.zeros(-(-count // CHUNK))
    kernels.merge_bf16(start, step, np.float32(lam), out, CHUNK, squares)
    origin, merged, expected = np.zeros(count, np.float32), np.zeros(count, np.float32), np.zeros(count, np.uint16)
    kernels.widen(start, origin.view(np.uint32))
    kernels.add_scaled(origin, step, np.float32(lam), merged)
    kernels.narrow(merged.view(np.uint32), expected)
    kernels.widen(expected, merged.view(np.uint32))
    np.testing.assert_array_equal(out, expected)
    sums = np.zeros_like(squares)
    kernels.distances(merged, origin, CHUNK, sums)
    np.testing.assert_array_equal(squares, sums)
