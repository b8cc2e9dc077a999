"""The variants of TIES and DARE that others made, against PEFT itself and against mergekit's steps written out.

mergekit itself is compared by ``tests/benchmarks/mergekit_agreement.py``, for it needs an environment of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from loaded import Family

from lata.numerics import masks

F = np.float32
TASKS = ["code", "math", "ua"]
SEED = 5
DROP_RATE = 0.6


def made(pre: dict, experts: dict, method: str, **parameters: Any) -> dict[str, torch.Tensor]:
    return Family(pre, experts).direction(TASKS, method, SEED, **parameters)


def tau(pre: dict, experts: dict, name: str) -> list[torch.Tensor]:
    return [experts[task][name] - pre[name] for task in TASKS]


def kept(name: str, count: int) -> list[np.ndarray]:
    return [masks.keep(SEED, task, name, count, DROP_RATE) for task in TASKS]


@pytest.mark.parametrize("density", [0.1, 0.2, 0.5, 1.0])
@pytest.mark.filterwarnings("ignore:The density")
def test_ties_peft_is_what_peft_computes(pre: dict, experts: dict, density: float) -> None:
    utils = pytest.importorskip("peft.utils.merge_utils")
    direction = made(pre, experts, "ties", variant="peft", density=density)
    for name in pre:
        assert torch.equal(direction[name], utils.ties(tau(pre, experts, name), torch.ones(3), density)), name


@pytest.mark.parametrize("method", ["dare", "dare_ties"])
def test_dare_peft_is_what_peft_computes_given_the_masks(
    pre: dict, experts: dict, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    utils = pytest.importorskip("peft.utils.merge_utils")
    direction = made(pre, experts, method, variant="peft", drop_rate=DROP_RATE)
    merge: Callable[..., torch.Tensor] = {"dare": utils.dare_linear, "dare_ties": utils.dare_ties}[method]
    for name, tensor in pre.items():
        waiting = kept(name, tensor.numel())
        monkeypatch.setattr(
            torch, "bernoulli", lambda p, waiting=waiting: torch.from_numpy(waiting.pop(0)).view(p.shape).to(p.dtype)
        )
        theirs = merge(tau(pre, experts, name), torch.ones(3), 1 - DROP_RATE)
        assert torch.equal(direction[name], theirs), name


@pytest.mark.parametrize("density", [0.01, 0.2, 0.5, 1.0])
def test_ties_mergekit_trims_each_tensor_and_divides_by_the_votes(pre: dict, experts: dict, density: float) -> None:
    direction = made(pre, experts, "ties", variant="mergekit", density=density)
    for name, tensor in pre.items():
        count = tensor.numel()
        trimmed = []
        for vector in tau(pre, experts, name):
            values = vector.numpy().ravel()
            order = sorted(range(count), key=lambda i, v=values: (-abs(v[i]), i))
            chosen = set(order[: max(1, int(density * count))])
            trimmed.append([values[i] if i in chosen else F(0) for i in range(count)])
        expected = [agreeing_sum(column) for column in zip(*trimmed, strict=True)]
        divided = [F(total / F(max(votes, 1))) for total, votes in expected]
        np.testing.assert_array_equal(direction[name].numpy().ravel(), np.array(divided, dtype=F), name)


def test_of_equal_magnitudes_the_first_are_kept(pre: dict) -> None:
    experts = {task: {name: tensor.clone() for name, tensor in pre.items()} for task in TASKS}
    name = "model.embed_tokens.weight"
    flat = experts["math"][name] = torch.zeros(pre[name].shape)
    start = {**pre, name: torch.zeros(pre[name].shape)}
    for task in ("code", "ua"):
        experts[task][name] = torch.zeros(pre[name].shape)
    flat.view(-1)[3:20] = torch.tensor([0.5, -0.5]).repeat(9)[:17]
    for variant in ("mergekit", "peft"):
        direction = made(start, experts, "ties", variant=variant, density=0.25)[name].view(-1)
        assert direction.nonzero().view(-1).tolist() == list(range(3, 10))


@pytest.mark.parametrize("method", ["dare", "dare_ties"])
def test_dare_mergekit_keeps_the_sum_of_magnitudes(pre: dict, experts: dict, method: str) -> None:
    direction = made(pre, experts, method, variant="mergekit", drop_rate=DROP_RATE)
    for name, tensor in pre.items():
        rescaled = []
        for vector, mask in zip(tau(pre, experts, name), kept(name, tensor.numel()), strict=True):
            values = vector.numpy().ravel()
            before, after = (F(np.abs(v).astype(np.float64).sum()) for v in (values, values * mask))
            rescaled.append(values * mask * (F(before / after) if after >= 1e-7 else F(1)))
        columns = list(zip(*rescaled, strict=True))
        if method == "dare":
            expected = [F(F(a + b) + c) for a, b, c in columns]
        else:
            expected = [agreeing_sum(column)[0] for column in columns]
        np.testing.assert_array_equal(direction[name].numpy().ravel(), np.array(expected, dtype=F), name)


def test_dare_mergekit_without_dropping_is_ta(pre: dict, experts: dict) -> None:
    ours, plain = made(pre, experts, "dare", variant="mergekit", drop_rate=0.0), made(pre, experts, "ta")
    assert all(torch.equal(ours[name], plain[name]) for name in pre)


def agreeing_sum(column: tuple[np.float32, ...]) -> tuple[np.float32, int]:
    """Sum and number of the values with the sign of their sum; an exact zero sum counts as positive."""
    votes, total, count = F(0), F(0), 0
    for value in column:
        votes = F(votes + value)
    for value in column:
        if value > 0 if votes >= 0 else value < 0:
            total, count = F(total + value), count + 1
    return total, count
