from __future__ import annotations

import math
import random

import naive
import numpy as np
import pytest
import torch
from loaded import Family, LoadedCheckpoint

from lata.engine.similarities import Similarity, measure_each
from lata.engine.stream import Stream


def measure(base: dict, pre: dict, experts: dict, granularity: str = "block", outside: str = "keep") -> Similarity:
    return Family(pre, experts, base).similarity(list(experts), granularity, outside)


def test_cosine_by_hand() -> None:
    base = {"layers.0.w": torch.tensor([0.0, 0.0]), "layers.1.w": torch.tensor([1.0, 1.0])}
    pre = {"layers.0.w": torch.tensor([1.0, 0.0]), "layers.1.w": torch.tensor([2.0, 1.0])}
    expert = {"layers.0.w": torch.tensor([1.0, 1.0]), "layers.1.w": torch.tensor([0.0, 1.0])}
    measured = measure(base, pre, {"t": expert})
    assert measured.values_LT[:, 0].tolist() == pytest.approx([1 / math.sqrt(2), -1.0], abs=1e-15)


@pytest.mark.parametrize("granularity", ["block", "module", "tensor"])
@pytest.mark.parametrize("outside", ["keep", "rank"])
def test_it_agrees_with_numpy_on_every_granularity(
    base: dict, pre: dict, experts: dict, granularity: str, outside: str
) -> None:
    measured = measure(base, pre, experts, granularity, outside)
    assert measured.tasks == ("code", "math", "ua")
    assert len(measured.layers) == {"block": 4, "module": 12, "tensor": 12}[granularity] + 2 * (outside == "rank")
    for row, layer in enumerate(measured.layers):
        names = [name for name, key in measured.layer_of.items() if key == layer]
        for column, task in enumerate(measured.tasks):
            raw = naive.flat(base, names)
            expected = naive.cosine(naive.flat(experts[task], names) - raw, naive.flat(pre, names) - raw)
            assert measured.values_LT[row, column] == pytest.approx(expected, abs=1e-12)


def test_threads_and_the_order_of_parameters_do_not_matter() -> None:
    def checkpoint(seed: int) -> dict[str, torch.Tensor]:
        generator = torch.Generator().manual_seed(seed)
        return {f"layers.{i}.{n}": torch.randn(300, 300, generator=generator) for i in range(2) for n in "ab"}

    base, pre, expert = checkpoint(0), checkpoint(1), checkpoint(2)
    reference = measure(base, pre, {"t": expert}).values_LT
    names = list(base)
    random.Random(0).shuffle(names)
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            shuffled = measure({n: base[n] for n in names}, {n: pre[n] for n in names}, {"t": expert}).values_LT
            np.testing.assert_array_equal(shuffled, reference)
    finally:
        torch.set_num_threads(before)


def test_an_untouched_layer_has_similarity_exactly_one(base: dict, pre: dict, experts: dict) -> None:
    expert = {**experts["math"], **{n: t for n, t in pre.items() if ".layers.2." in n}}
    assert measure(base, pre, {"math": expert}).of("math")[2] == 1.0


def test_a_layer_without_a_direction_has_no_cosine_and_is_named(base: dict, pre: dict, experts: dict) -> None:
    same = {**pre, **{n: t for n, t in base.items() if ".layers.1." in n}}
    with pytest.warns(UserWarning, match=r"task 'math': layers 1 have no cosine"):
        measured = measure(base, same, {"math": experts["math"]})
    assert np.isnan(measured.of("math")).tolist() == [False, True, False, False]


def test_parameter_weights_follow_layers_and_outside(base: dict, pre: dict, experts: dict) -> None:
    weights_L = np.array([0.0, 0.25, 0.5, 1.0])
    for outside, expected in (("keep", 1.0), ("drop", 0.0)):
        weight_of = measure(base, pre, experts, outside=outside).parameter_weights(weights_L)
        assert weight_of["model.layers.1.mlp.up_proj.weight"] == 0.25
        assert weight_of["model.embed_tokens.weight"] == expected


def vectors(tensors: dict) -> dict[str, np.ndarray]:
    return {name: tensor.to(torch.float64).numpy().ravel() for name, tensor in tensors.items()}


@pytest.mark.parametrize("granularity", ["block", "module", "tensor"])
@pytest.mark.parametrize("outside", ["keep", "rank"])
def test_what_similarity_leaves_open_agrees_with_numpy(
    base: dict, pre: dict, experts: dict, granularity: str, outside: str
) -> None:
    held = {"base": base, "pre": pre, **{f"experts.{task}": own for task, own in experts.items()}}
    sources = {role: LoadedCheckpoint(tensors, role) for role, tensors in held.items()}
    stream = Stream({**sources, "start": sources["pre"]}, list(pre), threads=2)
    found = measure_each(stream, sorted(experts), (granularity,), outside)[granularity]
    alone = measure(base, pre, experts, granularity, outside)
    np.testing.assert_array_equal(found.similarity.values_LT, alone.values_LT)
    raw, start = vectors(base), vectors(pre)
    for column, task in enumerate(sorted(experts)):
        tau = {name: own - start[name] for name, own in vectors(experts[task]).items()}
        square = {name: float(own @ own) for name, own in tau.items()}
        total, beyond = sum(square.values()), sum(own for name, own in square.items() if ".layers." not in name)
        assert found.outside_T[column] == pytest.approx(beyond / total, rel=1e-6)
        for row, layer in enumerate(alone.layers):
            names = [name for name, key in alone.layer_of.items() if key == layer]
            own, instruction = (
                np.concatenate([v[n] for n in names]) for v in (tau, {n: start[n] - raw[n] for n in raw})
            )
            cosine = own @ instruction / np.linalg.norm(own) / np.linalg.norm(instruction)
            assert found.cosine_LT[row, column] == pytest.approx(cosine, abs=1e-6)
            assert found.share_LT[row, column] == pytest.approx(sum(square[name] for name in names) / total, rel=1e-5)
    inside = found.share_LT.sum(axis=0) + (0 if outside == "rank" else found.outside_T)
    assert inside == pytest.approx(1, abs=1e-12)


def test_a_task_vector_that_is_short_has_a_high_similarity_and_any_cosine() -> None:
    base = {"layers.0.w": torch.zeros(2), "layers.1.w": torch.zeros(2), "embed.w": torch.zeros(2)}
    pre = {name: torch.tensor([1.0, 0.0]) for name in base}
    tau = {"layers.0.w": [0.0, 2**-7], "layers.1.w": [0.0, 0.0], "embed.w": [3 * 2**-7, 0.0]}
    expert = {name: pre[name] + torch.tensor(step) for name, step in tau.items()}
    sources = {role: LoadedCheckpoint(t, role) for role, t in {"base": base, "pre": pre, "experts.t": expert}.items()}
    stream = Stream({**sources, "start": sources["pre"]}, list(pre), threads=1)
    table = measure_each(stream, ["t"], ("block",))["block"].table()
    assert table["similarity", "t"].tolist() == [pytest.approx(1, abs=1e-4), 1.0]
    assert table["cosine", "t"].tolist() == [0.0, pytest.approx(math.nan, nan_ok=True)]
    assert table["share", "t"].tolist() == [0.1, 0.0]
    assert table.attrs == {"depths": [0, 1], "outside": {"t": 0.9}}
