from __future__ import annotations

import math

import pytest
import torch
from loaded import Family, merge_tensors


def test_learning_adds_and_forgetting_subtracts_by_hand() -> None:
    start = {"w": torch.tensor([1.0, 2.0])}
    direction = {"w": torch.tensor([0.5, -1.0])}
    assert merge_tensors(start, direction, 2.0).tensors["w"].tolist() == [2.0, 0.0]
    assert merge_tensors(start, direction, -1.0).tensors["w"].tolist() == [0.5, 3.0]


def test_lam_zero_gives_the_start_back_bit_for_bit(pre: dict, experts: dict) -> None:
    merged = merge_tensors(pre, Family(pre, experts).direction(["math"], "ta"), 0.0)
    torch.testing.assert_close(merged.tensors, pre, rtol=0, atol=0)
    assert merged.distance == 0.0


def test_bf16_is_subtracted_in_fp32_and_rounded_once() -> None:
    pre = {"w": torch.tensor([1.0, 1.0], dtype=torch.bfloat16)}
    expert = {"w": torch.tensor([1.0078125, 0.99609375], dtype=torch.bfloat16)}
    merged = merge_tensors(pre, Family(pre, {"a": expert}).direction(["a"], "ta"), 1.0)
    assert merged.tensors["w"].dtype == torch.bfloat16
    torch.testing.assert_close(merged.tensors["w"], expert["w"], rtol=0, atol=0)
    # Twice the step, in fp32: 1 + 2·0.0078125 fits bf16, 1 − 2·0.00390625 too.
    twice = merge_tensors(pre, Family(pre, {"a": expert}).direction(["a"], "ta"), 2.0)
    assert twice.tensors["w"].tolist() == [1.015625, 0.9921875]


def test_distance_is_the_norm_of_what_really_changed() -> None:
    start = {"v": torch.zeros(2), "w": torch.zeros(1)}
    merged = merge_tensors(start, {"v": torch.tensor([3.0, 0.0]), "w": torch.tensor([4.0])}, 1.0)
    assert merged.distance == 5.0


def test_values_that_are_not_finite_are_noticed() -> None:
    start = {"w": torch.tensor([3e38])}
    assert not merge_tensors(start, {"w": torch.tensor([3e38])}, 1.0).finite
    assert merge_tensors(start, {"w": torch.tensor([-3e38])}, 1.0).finite


@pytest.mark.parametrize("lam", [math.nan, math.inf, -math.inf])
def test_a_lam_that_is_not_finite_is_refused(lam: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        merge_tensors({"w": torch.ones(1)}, {"w": torch.ones(1)}, lam)


def test_checkpoints_that_differ_are_refused_with_every_difference(pre: dict, experts: dict) -> None:
    broken = {**experts["math"], "extra": torch.ones(1), "model.norm.weight": torch.ones(5)}
    del broken["model.embed_tokens.weight"]
    with pytest.raises(ValueError, match="math does not fit pre") as caught:
        Family(pre, {"math": broken})
    message = str(caught.value)
    assert "model.embed_tokens.weight is missing from math" in message
    assert "extra stands in math but not in pre" in message
    assert "model.norm.weight is (4,) in pre but (5,) in math" in message


def test_negating_what_was_added_gives_the_start_back(pre: dict, experts: dict) -> None:
    family = Family(pre, experts)
    direction = family.direction(["ua"], "ta")
    back = merge_tensors(experts["ua"], direction, -1.0)
    torch.testing.assert_close(back.tensors, pre, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_an_input_that_is_not_finite_is_refused_by_name(pre: dict, experts: dict, value: float) -> None:
    broken = {**experts["math"], "model.norm.weight": torch.full((4,), value)}
    with pytest.raises(ValueError, match=r"math: model\.norm\.weight holds values that are not finite"):
        Family(pre, {"math": broken})


def test_the_distance_does_not_depend_on_threads() -> None:
    start = {"w": torch.zeros(300_000)}
    direction = {"w": torch.randn(300_000, generator=torch.Generator().manual_seed(0))}
    before = torch.get_num_threads()
    try:
        found = set()
        for threads in (1, 2, 4):
            torch.set_num_threads(threads)
            found.add(merge_tensors(start, direction, 1.0).distance)
    finally:
        torch.set_num_threads(before)
    assert len(found) == 1
