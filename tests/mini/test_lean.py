"""The lean forward pass is the same function as Hugging Face's."""

from __future__ import annotations

import pytest
import torch

from experiments.mini.training.lean import LeanLlama
from experiments.mini.training.model import new_model
from experiments.mini.training.stages import Shape

SHAPE = Shape(hidden=32, layers=3, heads=4, ffn=40, vocabulary=120, context=64)


def test_logits_equal_those_of_transformers() -> None:
    torch.manual_seed(0)
    model = new_model(SHAPE, 0).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # norms away from 1, weights large enough for attention to be sharp
            parameter.add_(0.3 * torch.randn_like(parameter))
        ids_BT = torch.randint(0, 120, (3, 40))
        lean = LeanLlama(model)
        ours, theirs = lean.logits(lean.hidden(ids_BT)), model(input_ids=ids_BT).logits
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    assert ours.std() > 0.1


def test_gradients_equal_those_of_transformers() -> None:
    torch.manual_seed(0)
    model = new_model(SHAPE, 0)
    ids_BT = torch.randint(2, 120, (2, 20))  # transformers gives padding no gradient
    lean = LeanLlama(model)
    gradients = []
    for logits in (lean.logits(lean.hidden(ids_BT)), model(input_ids=ids_BT).logits):
        model.zero_grad()
        logits.square().mean().backward()
        gradients.append([parameter.grad.clone() for parameter in model.parameters()])
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-6)


def test_right_padding_changes_nothing_before_it() -> None:
    lean = LeanLlama(new_model(SHAPE, 0))
    ids_BT = torch.randint(2, 120, (1, 10), generator=torch.Generator().manual_seed(0))
    padded_BT = torch.cat([ids_BT, torch.ones(1, 5, dtype=torch.long)], 1)
    with torch.no_grad():
        torch.testing.assert_close(lean.hidden(padded_BT)[:, :10], lean.hidden(ids_BT))


def test_an_architecture_it_leaves_out_is_refused() -> None:
    model = new_model(SHAPE, 0)
    model.config.num_key_value_heads = 2
    with pytest.raises(ValueError, match="as many key as query heads"):
        LeanLlama(model)


def test_initial_weights_are_a_function_of_the_seed() -> None:
    first, again, other = (new_model(SHAPE, seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)
