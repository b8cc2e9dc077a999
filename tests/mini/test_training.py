"""Batches and the training loop."""

from __future__ import annotations

import random

import pytest
import torch

from experiments.mini.corpora.heldout import Example
from experiments.mini.training.batches import IGNORE, packed_batches, response_batches
from experiments.mini.training.loop import Muon, block_share, fit, make_optimizers, rate
from experiments.mini.training.model import new_model
from experiments.mini.training.stages import Shape
from experiments.mini.training.tokenizer import EOS, PAD, train_tokenizer, wrap

SHAPE = Shape(hidden=16, layers=2, heads=2, ffn=24, vocabulary=300, context=64)
TOKENIZER = wrap(train_tokenizer(300), 64)
EXAMPLES = [Example("How many?", f" {n}") for n in range(10, 42)]


def test_the_loss_is_on_the_response_and_its_eos_only() -> None:
    ((inputs_BT, targets_BT),) = response_batches(TOKENIZER, EXAMPLES[:1], 1, random.Random(0))
    prompt, response = TOKENIZER("How many?")["input_ids"], TOKENIZER(" 10")["input_ids"]
    assert inputs_BT.tolist() == [[*prompt, *response]]
    assert targets_BT.tolist() == [[*[IGNORE] * (len(prompt) - 1), *response, EOS]]


def test_a_document_starts_with_eos_and_is_learnt_whole() -> None:
    ((inputs_BT, targets_BT),) = response_batches(TOKENIZER, [Example("", "A town.")], 1, random.Random(0))
    ids = TOKENIZER("A town.")["input_ids"]
    assert inputs_BT.tolist() == [[EOS, *ids]]
    assert targets_BT.tolist() == [[*ids, EOS]]


def test_short_rows_are_padded_on_the_right_without_targets() -> None:
    examples = [Example("a", " 1"), Example("a a a a a a", " 1")]
    ((inputs_BT, targets_BT),) = response_batches(TOKENIZER, examples, 2, random.Random(0))
    padded_BT = inputs_BT == PAD
    assert padded_BT.any()
    assert (targets_BT[padded_BT] == IGNORE).all()


def test_packed_windows_overlap_by_the_one_token_that_is_predicted() -> None:
    batches = packed_batches(TOKENIZER, EXAMPLES, 8, 2, random.Random(0))
    assert len(batches) > 2
    for inputs_BT, targets_BT in batches:
        assert inputs_BT.shape == targets_BT.shape == (2, 8)
        assert torch.equal(inputs_BT[:, 1:], targets_BT[:, :-1])


def test_the_rate_warms_up_stays_and_falls_to_5_percent() -> None:
    assert rate(0, 1000) == pytest.approx(1 / 20)
    assert rate(19, 1000) == rate(300, 1000) == 1.0
    assert rate(650, 1000) == pytest.approx(1 - 0.95 / 2)
    assert rate(1000, 1000) == pytest.approx(0.05)


def trained(optimizer: torch.optim.Optimizer) -> int:
    return sum(len(group["params"]) for group in optimizer.param_groups)


def test_muon_takes_the_matrices_of_the_blocks_and_adamw_the_rest() -> None:
    adamw, muon = make_optimizers(new_model(SHAPE, 0), 1e-3, muon=True)
    assert (trained(muon), trained(adamw)) == (2 * 7, 2 * 2 + 2)
    (only,) = make_optimizers(new_model(SHAPE, 0), 1e-3)
    assert trained(only) == 2 * (7 + 2) + 2
    (only,) = make_optimizers(new_model(SHAPE, 0), 1e-3, blocks_only=True)
    assert trained(only) == 2 * 7


def test_muon_makes_the_steps_of_torchs_own() -> None:
    """On the matrices of several shapes; torch rounds to bfloat16 on the way, so they agree to about a per cent."""
    torch.manual_seed(0)
    ours = [torch.nn.Parameter(torch.randn(shape)) for shape in ((8, 8), (8, 20), (20, 8), (8, 8))]
    theirs = [torch.nn.Parameter(matrix.detach().clone()) for matrix in ours]
    start = [matrix.detach().clone() for matrix in ours]
    optimizers = (
        Muon(ours, lr=0.1),
        torch.optim.Muon(theirs, lr=0.1, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"),
    )
    for _ in range(3):
        for mine, other in zip(ours, theirs, strict=True):
            mine.grad = torch.randn_like(mine)
            other.grad = mine.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    for mine, other, before in zip(ours, theirs, start, strict=True):
        assert (mine - other).norm() < 0.03 * (other - before).norm()


def test_blocks_at_the_peak_learn_fastest() -> None:
    assert [round(block_share(block, 11, 0.5), 2) for block in (0, 5, 10)] == [0.4, 1.6, 0.4]
    assert block_share(10, 11, 0.0) == 0.1  # never against the gradient
    model = new_model(Shape(16, 3, 2, 24, 300, 64), 0)
    before = {name: weights.clone() for name, weights in model.state_dict().items()}
    batches = response_batches(TOKENIZER, EXAMPLES * 4, 8, random.Random(0))
    fit(model, batches, 1e-3, lambda share, loss: None, blocks_only=True, peak=0.5)
    moved = {name: float((weights - before[name]).norm()) for name, weights in model.state_dict().items()}
    sizes = [sum(size for name, size in moved.items() if f".{block}." in name) for block in range(3)]
    assert sizes[1] > 2 * max(sizes[0], sizes[2])
    assert all(size == 0 for name, size in moved.items() if "norm" in name or "embed" in name)


@pytest.mark.parametrize("muon", [False, True])
def test_training_lowers_the_loss_reports_and_repeats_itself(muon: bool) -> None:
    results = []
    for _ in range(2):
        model = new_model(SHAPE, 0)
        reports: list[tuple[float, float]] = []
        batches = response_batches(TOKENIZER, EXAMPLES * 20, 8, random.Random(0))
        last = fit(model, batches, 5e-3, lambda share, loss, to=reports: to.append((share, loss)), muon=muon)
        assert reports[-1] == (1.0, last)
        assert last < 0.7 * reports[0][1]
        results.append(model.state_dict())
    assert all(torch.equal(results[0][name], results[1][name]) for name in results[0])


def test_no_full_batch_is_refused() -> None:
    with pytest.raises(ValueError, match="too few examples"):
        fit(new_model(SHAPE, 0), [], 1e-3, lambda share, loss: None)
