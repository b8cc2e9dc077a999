"""Numbers about checkpoints on disk."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from folders import write
from loaded import Family

from lata.merging.measuring import distance, metagpt

Tensors = dict[str, torch.Tensor]


def test_the_distance_of_two_checkpoints_is_the_norm_of_their_difference(tmp_path: Path, pre: Tensors) -> None:
    moved = {name: tensor.clone() for name, tensor in pre.items()}
    moved["model.norm.weight"][0] += 3
    moved["model.embed_tokens.weight"][0, 0] += 4
    first, second = write(tmp_path / "a", pre), write(tmp_path / "b", moved)
    assert distance(first, second) == pytest.approx(5, rel=1e-6)
    assert distance(first, first) == 0


def test_checkpoints_that_do_not_fit_have_no_distance(tmp_path: Path, pre: Tensors) -> None:
    other = {**pre, "model.norm.weight": torch.ones(5)}
    with pytest.raises(ValueError, match=r"does not fit .*: model\.norm\.weight differs"):
        distance(write(tmp_path / "a", pre), write(tmp_path / "b", other))


def test_values_that_are_not_finite_are_refused(tmp_path: Path, pre: Tensors) -> None:
    broken = {**pre, "model.norm.weight": torch.full((4,), math.nan)}
    with pytest.raises(ValueError, match=r"model\.norm\.weight holds values that are not finite"):
        distance(write(tmp_path / "a", pre), write(tmp_path / "b", broken))


@pytest.mark.parametrize("method", ["ta", "lata_log"])
def test_metagpt_from_disk_is_that_in_memory(
    tmp_path: Path, base: Tensors, pre: Tensors, experts: dict[str, Tensors], method: str
) -> None:
    folders = {name: write(tmp_path / name, tensors) for name, tensors in experts.items()}
    found = metagpt(write(tmp_path / "pre", pre), folders, write(tmp_path / "base", base), method=method)
    assert found == Family(pre, experts, base).metagpt(list(experts), method)
    assert math.fsum(found.values()) == pytest.approx(1)


def test_a_method_that_is_no_weighted_sum_has_no_coefficients(
    tmp_path: Path, pre: Tensors, experts: dict[str, Tensors]
) -> None:
    folders = {name: write(tmp_path / name, tensors) for name, tensors in experts.items()}
    with pytest.raises(ValueError, match="'ties' is no weighted sum"):
        metagpt(write(tmp_path / "pre", pre), folders, method="ties")
