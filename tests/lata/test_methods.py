"""Every method: a case by hand, its edges, and agreement with an independent implementation (`naive`)."""

from __future__ import annotations

import inspect
import math
import re
from pathlib import Path

import naive
import numpy as np
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from loaded import Family, LoadedCheckpoint
from random_models import NEEDED

from lata.engine.similarities import LayerVectors, Similarity
from lata.engine.stream import Stream, expert
from lata.engine.vectors import TaskVectors
from lata.methods import get, methods
from lata.numerics import masks

CONF = Path(__file__).resolve().parents[2] / "conf" / "method"
CATALOGUE = CONF.parents[1] / "lata" / "README.md"
#: Methods and their variants, without those that compare layers with θ_base.
BLOCKS_ALONE = [
    (name, variant)
    for name, method in methods().items()
    if not method.needs_similarity
    for variant in (method.rules["variant"].choices if "variant" in method.rules else ("",))
]


def vectors(**tasks: list[float]) -> dict[str, dict[str, torch.Tensor]]:
    return {task: {"layers.0.w": torch.tensor(values)} for task, values in tasks.items()}


def direction(name: str, task_vectors: dict, similarity: Similarity | None = None, **parameters: object) -> dict:
    pre = {n: torch.zeros_like(v) for n, v in next(iter(task_vectors.values())).items()}
    family = Family(pre, task_vectors, base=pre)
    if similarity is not None:
        unknown_LT = np.full_like(similarity.values_LT, np.nan)  # only reports ask for it
        depths = tuple(range(len(similarity.layers)))
        known = LayerVectors(similarity, unknown_LT, unknown_LT, unknown_LT[0], depths)
        family.measured["block", "keep", similarity.tasks] = known
    return family.direction(list(task_vectors), name, **parameters)


def difference(expert: dict, pre: dict) -> dict[str, torch.Tensor]:
    return {name: expert[name] - pre[name] for name in pre}


def only(result: dict) -> list[float]:
    return result["layers.0.w"].tolist()


def layered(values: dict[str, list[float]], similarity_LT: list[list[float]]) -> tuple[dict, Similarity]:
    """Task vectors of one element a block, and their similarity."""
    count = len(similarity_LT)
    task_vectors = {t: {f"layers.{i}.w": torch.tensor([v]) for i, v in enumerate(row)} for t, row in values.items()}
    layer_of = {f"layers.{i}.w": str(i) for i in range(count)}
    layers = tuple(str(i) for i in range(count))
    return task_vectors, Similarity(layers, tuple(sorted(values)), np.array(similarity_LT), layer_of, "keep")


def blocks(result: dict) -> list[float]:
    return [tensor.item() for tensor in result.values()]


# --- by hand ---------------------------------------------------------------------------------------------------


def test_ta_adds_the_task_vectors() -> None:
    assert only(direction("ta", vectors(a=[1.0, -2.0], b=[0.5, 4.0]))) == [1.5, 2.0]


def test_ta_half_is_half_of_ta() -> None:
    assert only(direction("ta_half", vectors(a=[1.0, -2.0], b=[0.5, 4.0]))) == [0.75, 1.0]


def test_ties_by_hand() -> None:
    # d = 5, K = 0.4: ⌊dK⌋ = 2, the (5−2)-th smallest magnitude and above are kept, which are three values.
    # a: magnitudes 5 4 1 3 2 → kept 5 4 3.   b: magnitudes 1 6 7 2 8 → kept 6 7 8.
    task_vectors = vectors(a=[5.0, -4.0, 1.0, 3.0, -2.0], b=[-1.0, 6.0, -7.0, -2.0, 8.0])
    # Sums: 5, 2, −7, 3, 8; means over the values that agree: 5, 6, −7, 3, 8.
    assert only(direction("ties", task_vectors, density=0.4)) == [5, 6, -7, 3, 8]


def test_ties_averages_the_values_that_agree() -> None:
    assert only(direction("ties", vectors(a=[4.0], b=[2.0], c=[-1.0]), density=1)) == [3]


def test_ties_keeps_every_value_that_equals_the_smallest_kept() -> None:
    task_vectors = vectors(a=[3.0, -2.0, 2.0, 2.0, 1.0, 0.5])
    assert only(direction("ties", task_vectors, density=0.3)) == [3, -2, 2, 2, 0, 0]


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ([1.0, 1.0], 2.0),  # the majority of signs is positive: the positive value is chosen
        ([-1.0, -1.0], -2.0),
        ([1.0, -1.0], -2.0),  # no majority either: negative
    ],
)
def test_ties_gives_an_exact_zero_sum_the_majority_of_signs(others: list[float], expected: float) -> None:
    task_vectors = vectors(a=[2.0, *others], b=[-2.0, *others])
    assert only(direction("ties", task_vectors, density=1))[0] == expected


def test_dare_drops_by_the_mask_and_rescales() -> None:
    values = torch.arange(1.0, 9.0)
    kept = torch.from_numpy(masks.keep(0, "a", "layers.0.w", 8, 0.75))
    result = direction("dare", {"a": {"layers.0.w": values}}, drop_rate=0.75)
    assert only(result) == (values * kept * 4).tolist()
    assert 0 < kept.sum() < 8


def test_dare_without_dropping_is_ta() -> None:
    task_vectors = vectors(a=[1.0, -2.0], b=[0.5, 4.0])
    assert only(direction("dare", task_vectors, drop_rate=0)) == only(direction("ta", task_vectors))


def test_dare_ties_is_ties_of_what_dare_leaves() -> None:
    task_vectors = {
        t: {"layers.0.w": torch.randn(200, generator=torch.Generator().manual_seed(s))} for s, t in enumerate("ab")
    }
    dropped = {t: direction("dare", {t: v}) for t, v in task_vectors.items()}
    torch.testing.assert_close(direction("dare_ties", task_vectors), direction("ties", dropped), rtol=0, atol=0)
    assert only(direction("dare_ties", task_vectors, drop_rate=0)) == only(direction("ties", task_vectors))


# Three blocks; task a ranks them 0, 1, 2 and task b 2, 1, 0 (highest similarity first).
LAYERED = ({"a": [1.0, 10.0, 100.0], "b": [3.0, 30.0, 300.0]}, [[0.9, 0.7], [0.8, 0.8], [0.7, 0.9]])


@pytest.mark.parametrize(
    ("name", "parameters", "expected"),
    [
        ("lata_linear", {}, [3.0, 20.0, 100.0]),
        ("lata_linear", {"floor": 0.5}, [0.5 + 3, 7.5 + 22.5, 100 + 150]),
        ("lata_log", {}, [3.0, 40 * math.log(2) / math.log(3), 100.0]),
        ("lata_threshold", {"threshold": 0.75}, [3.0, 0.0, 100.0]),
        ("lata_threshold", {"quantile": 2 / 3}, [3.0, 40.0, 100.0]),
        ("lata_threshold", {"threshold": -1}, [0.0, 0.0, 0.0]),
        ("lata_reversed", {}, [1.0, 20.0, 300.0]),
        ("lata_reversed", {"ceiling": 0.5}, [0.5, 10.0, 150.0]),
        ("depth_linear", {}, [0.0, 20.0, 400.0]),
        ("depth_linear", {"floor": 1, "ceiling": 1}, [4.0, 40.0, 400.0]),
        ("lines", {}, [2.0, 30.0, 400.0]),
        ("lines", {"alpha": 0.25, "beta": 1}, [1.0, 30.0, 500.0]),
        # Task a has 0, ½, 1 on the other family, task b 1, ½, 0.
        ("lata_transferred", {"profile": {"a": [0.9, 0.8, 0.7], "b": [0.7, 0.8, 0.9]}}, [3.0, 20.0, 100.0]),
        # Two blocks, 0 and 1 for a and b alike: the block between them gets ½.
        ("lata_transferred", {"profile": {"a": [0.9, 0.8], "b": [0.5, 0.4]}}, [0.0, 20.0, 400.0]),
        # Five blocks, read at the first, the third and the last.
        (
            "lata_transferred",
            {"profile": dict.fromkeys("ab", (0.5, 0.6, 0.8, 0.7, 0.9)), "floor": 0.5},
            [4.0, 25.0, 200.0],
        ),
        # The block without a cosine takes the ceiling.
        ("lata_transferred", {"profile": dict.fromkeys("ab", (0.9, None, 0.8))}, [0.0, 40.0, 400.0]),
        ("lata_transferred", {"profile": dict.fromkeys("ab", (0.3,))}, [4.0, 40.0, 400.0]),
    ],
)
def test_layer_weights_by_hand(name: str, parameters: dict, expected: list[float]) -> None:
    task_vectors, similarity = layered(*LAYERED)
    assert blocks(direction(name, task_vectors, similarity, **parameters)) == pytest.approx(expected, rel=1e-6)


def test_norm_matched_ta_moves_as_far_as_lata_in_the_direction_of_ta() -> None:
    task_vectors, similarity = layered(*LAYERED)
    matched = np.array(blocks(direction("ta_norm_matched", task_vectors, similarity)))
    lata = np.array(blocks(direction("lata_linear", task_vectors, similarity)))
    ta = np.array(blocks(direction("ta", task_vectors)))
    assert np.linalg.norm(matched) == pytest.approx(np.linalg.norm(lata), rel=1e-6)
    np.testing.assert_allclose(matched / np.linalg.norm(matched), ta / np.linalg.norm(ta), rtol=1e-6)


def test_safety_arithmetic_by_hand() -> None:
    # d = 5, k = 0.4: as TIES trims, ⌊dk⌋ + 1 = 3 values; a keeps 5 −4 3, b keeps 6 −7 8.
    task_vectors = vectors(a=[5.0, -4.0, 1.0, 3.0, -2.0], b=[-1.0, 6.0, -7.0, -2.0, 8.0])
    assert only(direction("safety_arithmetic", task_vectors, share=0.4)) == [5, 2, -7, 3, 8]


def test_safety_arithmetic_keeps_what_equals_the_smallest_kept_and_all_of_a_sparse_vector() -> None:
    assert only(direction("safety_arithmetic", vectors(a=[3.0, -2.0, 2.0, 2.0, 1.0, 0.5]), share=0.3)) == [
        *(3, -2, 2, 2, 0, 0)
    ]
    assert only(direction("safety_arithmetic", vectors(a=[0.0] * 9 + [0.25]), share=0.2)) == [0.0] * 9 + [0.25]


def test_safety_arithmetic_that_keeps_everything_is_ta_bit_for_bit(pre: dict, experts: dict) -> None:
    family = Family(pre, experts)
    torch.testing.assert_close(
        family.direction(list(experts), "safety_arithmetic", share=1),
        family.direction(list(experts), "ta"),
        rtol=0,
        atol=0,
    )


@pytest.mark.parametrize(("tasks", "first"), [(("a",), 0.5), (("a", "b"), 0.5), (("a", "b", "c"), 1 / 3)])
def test_lines_starts_at_one_share_of_the_experts_and_moves_what_is_outside_blocks_as_little(
    tasks: tuple[str, ...], first: float
) -> None:
    tensors = {"embed.w": torch.ones(1), **{f"layers.{block}.w": torch.ones(1) for block in range(3)}}
    result = direction("lines", dict.fromkeys(tasks, tensors))
    expected = [len(tasks) * weight for weight in (first, first, first + 0.25, first + 0.5)]
    assert blocks(result) == pytest.approx(expected, rel=1e-6)


def test_depth_linear_and_transferred_weights_leave_what_is_outside_blocks_as_ta_does(
    pre: dict, experts: dict
) -> None:
    family = Family(pre, experts)
    plain = family.direction(list(experts), "ta")
    for name in ("depth_linear", "lata_transferred"):
        result = family.direction(list(experts), name, **NEEDED.get(name, {}))
        for outside in ("model.embed_tokens.weight", "model.norm.weight"):
            torch.testing.assert_close(result[outside], plain[outside], rtol=0, atol=0)


@pytest.mark.parametrize(("name", "variant"), BLOCKS_ALONE, ids=[" ".join(pair) for pair in BLOCKS_ALONE])
def test_outside_drop_is_the_method_on_a_model_that_has_its_blocks_alone(
    name: str, variant: str, pre: dict, experts: dict
) -> None:
    parameters = {**NEEDED.get(name, {}), **({"variant": variant} if variant else {})}
    kept = [parameter for parameter in pre if ".layers." in parameter]

    def family(names: list[str]) -> Family:
        models = {task: {n: own[n] for n in names} for task, own in experts.items()}
        return Family({n: pre[n] for n in names}, models)

    dropped = family(list(pre)).direction(list(experts), name, seed=3, **parameters, outside="drop")
    alone = family(kept).direction(list(experts), name, seed=3, **parameters)
    torch.testing.assert_close({n: dropped[n] for n in kept}, alone, rtol=0, atol=0)
    assert {n: bool(dropped[n].any()) for n in pre if n not in kept} == {
        "model.embed_tokens.weight": False,
        "model.norm.weight": False,
    }


def test_blocks_alone_need_blocks() -> None:
    tensors = {"a.w": torch.ones(2)}
    with pytest.raises(ValueError, match="numbered block"):
        Family(tensors, {"t": tensors}).direction(["t"], "ta", outside="drop")


@pytest.mark.parametrize("schedule", ["lata_linear", "lata_log"])
def test_weights_transferred_from_the_same_family_are_its_own_bit_for_bit(
    schedule: str, base: dict, pre: dict, experts: dict
) -> None:
    family = Family(pre, experts, base)
    similarity = family.similarity(list(experts))
    profile = {task: similarity.of(task).tolist() for task in experts}
    carried = family.direction(list(experts), "lata_transferred", profile=profile, schedule=schedule, ceiling=0.9)
    own = family.direction(list(experts), schedule, ceiling=0.9)
    torch.testing.assert_close(carried, own, rtol=0, atol=0)


def test_a_merged_task_that_the_profile_lacks_is_refused_by_name(pre: dict, experts: dict) -> None:
    with pytest.raises(ValueError, match=r"profile has no task 'ua' \(it has code, math\)"):
        Family(pre, experts).direction(["math", "ua"], "lata_transferred", profile={"math": [0.5], "code": [0.4]})


def test_reversed_gives_equal_layers_equal_weights() -> None:
    task_vectors, similarity = layered({"a": [1.0, 1.0, 1.0]}, [[0.9], [0.9], [0.5]])
    assert blocks(direction("lata_reversed", task_vectors, similarity)) == [0.75, 0.75, 0.0]


def test_norm_matched_ta_follows_the_floor_of_what_it_matches() -> None:
    task_vectors, similarity = layered(*LAYERED)
    matched = np.array(blocks(direction("ta_norm_matched", task_vectors, similarity, floor=0.3)))
    lata = np.array(blocks(direction("lata_linear", task_vectors, similarity, floor=0.3)))
    assert np.linalg.norm(matched) == pytest.approx(np.linalg.norm(lata), rel=1e-6)


def test_norm_matched_ta_refuses_task_vectors_that_cancel() -> None:
    task_vectors, similarity = layered({"a": [1.0, -2.0], "b": [-1.0, 2.0]}, [[0.9, 0.8], [0.8, 0.9]])
    with pytest.raises(ValueError, match="add up to zero"):
        direction("ta_norm_matched", task_vectors, similarity)


def test_shuffled_uses_each_weight_of_lata_once_and_on_other_layers() -> None:
    values = {"a": [1.0] * 6}
    task_vectors, similarity = layered(values, [[0.9], [0.8], [0.7], [0.6], [0.5], [0.4]])
    lata = blocks(direction("lata_linear", task_vectors, similarity))
    shuffled = blocks(direction("lata_shuffled", task_vectors, similarity))
    assert sorted(shuffled) == sorted(lata)
    assert shuffled != lata


# --- edges -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in methods() if name != "ta_norm_matched"])
def test_zero_task_vectors_give_a_zero_direction(name: str) -> None:
    task_vectors, similarity = layered({"a": [0.0] * 3, "b": [0.0] * 3}, [[0.9, 0.7], [0.8, 0.8], [0.7, 0.9]])
    assert blocks(direction(name, task_vectors, similarity, **NEEDED.get(name, {}))) == [0, 0, 0]


@pytest.mark.parametrize("name", list(methods()))
def test_one_expert_of_one_element_works(name: str) -> None:
    task_vectors, similarity = layered({"a": [2.0]}, [[0.5]])
    value = blocks(direction(name, task_vectors, similarity, **NEEDED.get(name, {})))[0]
    assert value in {"ta_half": (1.0,), "dare": (0.0, 4.0), "dare_ties": (0.0, 4.0)}.get(name, (2.0,))


@pytest.mark.parametrize("name", list(methods()))
def test_inputs_are_left_as_they_were(name: str, base: dict, pre: dict, experts: dict) -> None:
    family = Family(pre, experts, base)
    models = {"base": base, "pre": pre, **experts}
    before = {model: {n: t.clone() for n, t in tensors.items()} for model, tensors in models.items()}
    family.direction(list(experts), name, **NEEDED.get(name, {}))
    torch.testing.assert_close(models, before, rtol=0, atol=0)


@pytest.mark.parametrize("name", list(methods()))
def test_the_order_of_experts_and_parameters_does_not_change_a_bit(
    name: str, base: dict, pre: dict, experts: dict
) -> None:
    needed = NEEDED.get(name, {})
    straight = Family(pre, experts, base).direction(["math", "code", "ua"], name, **needed)

    def turned(checkpoint: dict) -> dict:
        return dict(reversed(checkpoint.items()))

    other = Family(turned(pre), {t: turned(experts[t]) for t in reversed(experts)}, turned(base))
    torch.testing.assert_close(other.direction(["ua", "code", "math"], name, **needed), straight, rtol=0, atol=0)


# --- agreement with independent implementations ----------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    arrays.arrays(
        np.float32,
        st.tuples(st.integers(1, 3), st.integers(1, 24)),
        # Few distinct magnitudes, so that ties in magnitude and exact zero sums are common.
        elements=st.sampled_from([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 3.0]),
    ),
    st.sampled_from([0.1, 0.2, 0.5, 0.9, 1.0]),
)
def test_ties_equals_the_naive_one_bit_for_bit(values_TD: np.ndarray, density: float) -> None:
    task_vectors = {f"t{i}": {"layers.0.w": torch.from_numpy(row)} for i, row in enumerate(values_TD)}
    np.testing.assert_array_equal(
        direction("ties", task_vectors, density=density)["layers.0.w"].numpy(), naive.ties(list(values_TD), density)
    )


def test_ties_trims_all_parameters_as_one_vector(pre: dict, experts: dict) -> None:
    family = Family(pre, experts)
    names = sorted(pre)
    result = family.direction(["math", "code", "ua"], "ties")
    flat = [naive.flat(difference(experts[task], pre), names) for task in ("code", "math", "ua")]
    np.testing.assert_array_equal(naive.flat(result, names), naive.ties(flat, 0.2))


@settings(max_examples=40, deadline=None)
@given(
    arrays.arrays(
        np.float32,
        st.tuples(st.integers(1, 3), st.integers(1, 24)),
        elements=st.sampled_from([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 3.0]),
    ),
    st.sampled_from([0.01, 0.1, 0.5, 0.9, 1.0]),
)
def test_safety_arithmetic_equals_the_naive_one_bit_for_bit(values_TD: np.ndarray, share: float) -> None:
    task_vectors = {f"t{i}": {"layers.0.w": torch.from_numpy(row)} for i, row in enumerate(values_TD)}
    expected = naive.top_share(values_TD[0], share)
    for row in values_TD[1:]:
        expected = expected + naive.top_share(row, share)
    result = direction("safety_arithmetic", task_vectors, share=share)["layers.0.w"].numpy()
    np.testing.assert_array_equal(result, expected)


def test_safety_arithmetic_trims_all_parameters_as_one_vector(pre: dict, experts: dict) -> None:
    names = sorted(pre)
    result = naive.flat(Family(pre, experts).direction(["ua"], "safety_arithmetic"), names)
    expected = naive.top_share(naive.flat(difference(experts["ua"], pre), names), 0.1)
    np.testing.assert_array_equal(result, expected)
    assert np.count_nonzero(result) == int(0.1 * result.size) + 1


@pytest.mark.parametrize("kind", ["linear", "log"])
def test_lata_equals_the_naive_one_bit_for_bit(base: dict, pre: dict, experts: dict, kind: str) -> None:
    family = Family(pre, experts, base)
    task_vectors = {task: difference(experts[task], pre) for task in experts}
    weight_of: dict[str, dict[str, float]] = {}
    for task, tensors in experts.items():
        similarities = []
        for block in range(4):
            names = [name for name in pre if f".layers.{block}." in name]
            raw = naive.flat(base, names)
            similarities.append(naive.cosine(naive.flat(tensors, names) - raw, naive.flat(pre, names) - raw))
        weights = naive.rank_weights(similarities, kind)
        weight_of[task] = {n: weights[int(n.split(".")[2])] if ".layers." in n else 1.0 for n in pre}
    expected = naive.layer_weighted(task_vectors, weight_of)
    result = family.direction(list(experts), f"lata_{kind}")
    for name in pre:
        np.testing.assert_array_equal(result[name].numpy(), expected[name])


def test_dare_equals_the_original_formula_bit_for_bit_given_the_mask(pre: dict, experts: dict) -> None:
    family = Family(pre, experts)
    result = family.direction(["math"], "dare", seed=7, drop_rate=0.3)
    for name, vector in difference(experts["math"], pre).items():
        dropped = 1.0 - torch.from_numpy(masks.keep(7, "math", name, vector.numel(), 0.3)).view(vector.shape).float()
        # MergeLM: input_tensor * (1 - mask), then torch.div(…, other=1 - mask_rate).
        expected = torch.div(vector * (1 - dropped), other=1 - masks.exact_drop_rate(0.3))
        torch.testing.assert_close(result[name], expected, rtol=0, atol=0)


def test_dare_ties_equals_the_naive_one_bit_for_bit_given_the_mask(pre: dict, experts: dict) -> None:
    family = Family(pre, experts)
    names = sorted(pre)
    result = family.direction(["math", "code"], "dare_ties", seed=3, drop_rate=0.5, density=0.4)
    dropped = []
    for task in ("code", "math"):
        kept = [masks.keep(3, task, name, pre[name].numel(), 0.5) for name in names]
        dropped.append(naive.flat(difference(experts[task], pre), names) * np.concatenate(kept) / np.float32(0.5))
    np.testing.assert_array_equal(naive.flat(result, names), naive.ties(dropped, 0.4))


@pytest.mark.parametrize("variant", ["mergekit", "peft"])
@pytest.mark.parametrize("density", [0.05, 0.2, 0.5, 1.0])
def test_ties_by_tensor_equals_the_naive_one_bit_for_bit(
    variant: str, density: float, pre: dict, experts: dict
) -> None:
    # Values on a coarse grid, so that equal magnitudes and exact cancellations are common.
    grid = {t: {n: (4 * (v - pre[n])).round() / 4 for n, v in tensors.items()} for t, tensors in experts.items()}
    result = direction("ties", grid, variant=variant, density=density)
    for name in pre:
        vectors_T = [grid[task][name].numpy() for task in ("code", "math", "ua")]
        expected = naive.ties_by_tensor(vectors_T, density, [1.0, 1.0, 1.0], variant)
        np.testing.assert_array_equal(result[name].numpy(), expected)


@pytest.mark.parametrize("variant", ["mergekit", "peft"])
def test_ties_by_tensor_weighs_tasks_as_the_originals_do(variant: str, pre: dict, experts: dict) -> None:
    lam = {"code": 0.3, "math": 1.5, "ua": -0.7}
    models = {"pre": pre, **{expert(task): tensors for task, tensors in experts.items()}}
    sources = {role: LoadedCheckpoint(tensors, role) for role, tensors in models.items()}
    stream = Stream({**sources, "start": sources["pre"]}, list(pre), threads=1)
    method = get("ties")
    step = method.direction(TaskVectors(stream, list(experts), lam), 0, method.parameters({"variant": variant}))
    for piece, values in stream.each(lambda block: np.array(step(block))):
        vectors_T = [difference(experts[task], pre)[piece.name].numpy() for task in lam]
        expected = naive.ties_by_tensor(vectors_T, 0.2, list(lam.values()), variant)
        np.testing.assert_array_equal(values, expected.ravel())


def test_dare_variants_differ_in_what_they_rescale_by(pre: dict, experts: dict) -> None:
    family = Family(pre, experts)
    for variant in ("paper", "mergekit", "peft"):
        result = family.direction(["math"], "dare", seed=7, drop_rate=0.3, variant=variant)
        for name, vector in difference(experts["math"], pre).items():
            kept = torch.from_numpy(masks.keep(7, "math", name, vector.numel(), 0.3)).view(vector.shape)
            masked = vector * kept
            before, after = vector.double().abs().sum().float(), masked.double().abs().sum().float()
            expected = {
                "paper": masked / (1 - masks.exact_drop_rate(0.3)),
                "mergekit": masked * (before / after),
                "peft": masked / (1 - 0.3),
            }[variant]
            torch.testing.assert_close(result[name], expected, rtol=0, atol=0)


@pytest.mark.parametrize(("variant", "units"), [("mergekit", False), ("peft", True)])
def test_dare_ties_without_trimming_adds_or_averages_what_agrees(
    variant: str, units: bool, pre: dict, experts: dict
) -> None:
    family = Family(pre, experts)
    dropped = [family.direction([t], "dare", seed=3, variant=variant) for t in ("code", "math", "ua")]
    result = family.direction(list(experts), "dare_ties", seed=3, variant=variant)
    for name in pre:
        vectors_T = [d[name].numpy().ravel() for d in dropped]
        merged = naive.agree(vectors_T, vectors_T, None)
        if not units:
            count = naive.agree([np.abs(np.sign(v)) for v in vectors_T], vectors_T, None)
            assert (count <= 1).all()
            total = sum(np.where(np.sign(v) == np.where(sum(vectors_T) >= 0, 1, -1), v, 0) for v in vectors_T)
            np.testing.assert_allclose(result[name].numpy().ravel(), total, rtol=1e-6)
        else:
            np.testing.assert_array_equal(result[name].numpy().ravel(), merged)


# --- the registry ----------------------------------------------------------------------------------------------


def test_every_method_is_a_file_and_a_yaml_of_the_same_name_with_the_same_defaults() -> None:
    assert {file.stem for file in CONF.glob("*.yaml")} == set(methods())
    for name, method in methods().items():
        assert Path(inspect.getfile(method.function)).stem == name
        written = yaml.safe_load((CONF / f"{name}.yaml").read_text(encoding="utf-8"))
        assert written == {"name": name, **method.defaults}
        assert method.control == (method.paper == "")
        folder = Path(inspect.getfile(method.function)).parent.name
        assert folder == {"baseline": "baselines", "lata": "schedules", "control": "controls"}[method.group]


def test_the_catalogue_has_every_method_with_its_formula_its_parameters_and_its_source() -> None:
    page = CATALOGUE.read_text(encoding="utf-8")
    page = page[page.index("## Methods") : page.index("### What the papers")]
    rows = dict(re.findall(r"^\| `(\w+)` (\|.*)$", page, re.MULTILINE))
    assert list(rows) == list(methods())
    for name, method in methods().items():
        assert f"| {method.equation} |" in rows[name]
        own = {key: value for key, value in method.defaults.items() if key not in ("outside", "granularity")}
        for key, value in own.items():
            assert f"`{key}={'null' if value is None else value}`" in rows[name]
        assert method.paper in (page if method.group == "lata" else rows[name])
        assert ("needs θ_base" in rows[name]) == (method.needs_similarity and method.control)


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("ties", {"dens": 0.3}, "no parameter 'dens'; did you mean 'density'"),
        ("ties", {"density": 0}, r"density=0 must be a number in \(0, 1\]"),
        ("ties", {"density": float("nan")}, "must be a number"),
        ("ties", {"density": True}, "must be a number"),
        ("ties", {"variant": "mine"}, "must be one of paper"),
        ("dare", {"drop_rate": 1.0}, r"must be a number in \[0, 1\)"),
        ("lata_linear", {"granularity": "row"}, "must be one of block, module, tensor"),
        ("lata_threshold", {"threshold": "high"}, "must be a number"),
        ("safety_arithmetic", {"share": 0}, r"share=0 must be a number in \(0, 1\]"),
        ("lines", {"alpha": -0.1}, r"alpha=-0.1 must be a number in \[0, 1\]"),
        ("lata_transferred", {}, "profile=None is missing: give the similarities of another family"),
        ("lata_transferred", {"profile": {}}, "must give task → list"),
        ("lata_transferred", {"profile": "table.csv"}, "must give task → list"),
        ("lata_transferred", {"profile": [("a", 0.5)]}, "must give task → list"),
        ("lata_transferred", {"profile": {"a": [0.5, 1.5]}}, r"task 'a' a list of numbers in \[-1, 1\]"),
        ("lata_transferred", {"profile": {"a": [float("nan")]}}, "null where a block has no cosine"),
        ("lata_transferred", {"profile": {"a": [0.5], "b": [0.5, 0.4]}}, "as many numbers"),
        ("lata_transferred", {"profile": (("a", (0.5,)), ("a", (0.4,)))}, "names a task twice"),
        ("lata_transferred", {"profile": {"a": [0.5]}, "schedule": "linear"}, "must be one of lata_linear, lata_log"),
    ],
)
def test_a_wrong_parameter_is_refused_by_name(name: str, parameters: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        get(name).parameters(parameters)


def test_an_unknown_method_is_refused_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="unknown method 'lata_lin'; did you mean 'lata_linear'"):
        get("lata_lin")


def test_an_integer_parameter_is_the_same_as_its_float() -> None:
    assert get("ties").parameters({"density": 1}) == get("ties").parameters({"density": 1.0})


def test_a_profile_has_one_form_that_can_be_hashed_whatever_the_order_of_its_tasks() -> None:
    method = get("lata_transferred")
    given = method.parameters({"profile": {"math": [1, None], "code": (0.5, 0.25)}})
    assert given["profile"] == (("code", (0.5, 0.25)), ("math", (1.0, None)))
    assert hash(given["profile"])
    assert method.parameters({"profile": {"code": [0.5, 0.25], "math": [1.0, None]}}) == given
    assert method.parameters(given) == given


def test_a_method_that_weights_layers_asks_for_the_base(pre: dict, experts: dict) -> None:
    with pytest.raises(ValueError, match="give the base model"):
        Family(pre, experts).direction(["math"], "lata_linear")
