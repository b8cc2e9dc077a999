"""The training loop of the family."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

from experiments.mini.batches import IGNORE, Batch
from experiments.mini.lean import LeanLlama

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM

WARM_UP_STEPS = 20
REPORT_EVERY = 5
Report = Callable[[float, float], None]


def rate(step: int, steps: int) -> float:
    """The share of the peak learning rate at `step`: warm-up, flat to 30 % of the run, linear to 5 %."""
    done = max(0.0, (step - 0.3 * steps) / (0.7 * steps))
    return min(1.0, (step + 1) / WARM_UP_STEPS) * (1 - 0.95 * done)


def make_optimizers(model: LlamaForCausalLM, lr: float, muon: bool) -> list[torch.optim.Optimizer]:
    """AdamW for all parameters, or Muon for the matrices of the blocks and AdamW for the rest."""
    matrices: list[torch.nn.Parameter] = []
    rest: list[torch.nn.Parameter] = []
    for name, parameter in model.named_parameters():
        (matrices if muon and parameter.dim() == 2 and "embed" not in name else rest).append(parameter)
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(rest, lr=lr, betas=(0.9, 0.95), weight_decay=0.0, fused=True)
    ]
    if matrices:
        # Batching matrices of one shape would save 13 % of Muon's 38 ms a step: not worth an optimizer of our own.
        optimizers.append(torch.optim.Muon(matrices, lr=lr, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"))
    return optimizers


def fit(model: LlamaForCausalLM, batches: Sequence[Batch], lr: float, muon: bool, report: Report) -> float:
    """Train `model` in place, one step a batch.

    Args:
        report: called every few steps with the share of the run that is done and the mean loss since the last call.

    Returns:
        the mean loss of the last few steps, in nats a token.

    Raises:
        ValueError: there is not one full batch.
    """
    if not batches:
        raise ValueError("the stage has too few examples for one batch; give it more")
    model.train()
    lean = LeanLlama(model)
    optimizers = make_optimizers(model, lr, muon)
    losses: list[float] = []
    mean = float("nan")
    for step, (inputs, targets) in enumerate(batches):
        inputs_BT, targets_BT = inputs.to(model.device), targets.to(model.device)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = lr * rate(step, len(batches))
        asked_BT = targets_BT != IGNORE
        loss = F.cross_entropy(lean.logits(lean.hidden(inputs_BT)[asked_BT]), targets_BT[asked_BT])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        losses.append(loss.item())
        if len(losses) == REPORT_EVERY or step == len(batches) - 1:
            mean = sum(losses) / len(losses)
            losses.clear()
            report((step + 1) / len(batches), mean)
    return mean
