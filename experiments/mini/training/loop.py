"""The training loop of the family."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from experiments.mini.training.batches import IGNORE, Batch
from experiments.mini.training.lean import LeanLlama

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM

WARM_UP_STEPS = 20
REPORT_EVERY = 5
Report = Callable[[float, float], None]


def rate(step: int, steps: int) -> float:
    """The share of the peak learning rate at `step`: warm-up, flat to 30 % of the run, linear to 5 %."""
    done = max(0.0, (step - 0.3 * steps) / (0.7 * steps))
    return min(1.0, (step + 1) / WARM_UP_STEPS) * (1 - 0.95 * done)


class Muon(torch.optim.Optimizer):
    """Muon (Jordan et al., 2024): momentum, then the nearest orthogonal matrix by Newton–Schulz steps.

    The matrices of one shape go through it together, in fp32. ``torch.optim.Muon`` takes them one by one in bfloat16,
    which processors round differently, and which takes about a second a step on one without such arithmetic. The
    update is scaled to the root mean square of AdamW's (Liu et al., arXiv 2502.16982), as there.
    """

    #: Coefficients of the polynomial, and how often it is applied.
    QUINTIC = (3.4445, -4.7750, 2.0315)
    STEPS = 5

    def __init__(self, matrices: Sequence[torch.nn.Parameter], lr: float, momentum: float = 0.95) -> None:
        shapes = sorted({tuple(matrix.shape) for matrix in matrices})
        groups = [{"params": [m for m in matrices if tuple(m.shape) == shape]} for shape in shapes]
        super().__init__(groups, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One update of all matrices."""
        for group in self.param_groups:
            parameters = group["params"]
            gradient_KNM = torch.stack([parameter.grad for parameter in parameters])
            average_KNM = self.state[parameters[0]].setdefault("average", torch.zeros_like(gradient_KNM))
            average_KNM.lerp_(gradient_KNM, 1 - group["momentum"])
            update_KNM = self._orthogonal(gradient_KNM.lerp_(average_KNM, group["momentum"]))
            size = 0.2 * max(update_KNM.shape[1:]) ** 0.5
            for parameter, update_NM in zip(parameters, update_KNM, strict=True):
                parameter.sub_(update_NM, alpha=group["lr"] * size)

    def _orthogonal(self, matrices_KNM: Tensor) -> Tensor:
        tall = matrices_KNM.shape[1] > matrices_KNM.shape[2]
        x_KNM = matrices_KNM.mT if tall else matrices_KNM
        x_KNM = x_KNM / (x_KNM.norm(dim=(1, 2), keepdim=True) + 1e-7)
        a, b, c = self.QUINTIC
        for _ in range(self.STEPS):
            gram_KNN = x_KNM @ x_KNM.mT
            x_KNM = a * x_KNM + (b * gram_KNN + c * gram_KNN @ gram_KNN) @ x_KNM
        return x_KNM.mT if tall else x_KNM


def block_share(block: int, blocks: int, peak: float) -> float:
    """The learning rate of a block as a multiple of the stage's: 1.6 at relative depth `peak`, less on both sides.

    It falls by 2.4 over the whole depth, but never below 0.1.
    """
    return max(0.1, 1.6 - 2.4 * abs(block / max(blocks - 1, 1) - peak))


def make_optimizers(
    model: LlamaForCausalLM, lr: float, muon: bool = False, blocks_only: bool = False, peak: float | None = None
) -> list[torch.optim.Optimizer]:
    """AdamW for all parameters, or Muon for the matrices of the blocks and AdamW for the rest.

    Args:
        blocks_only: train the matrices of the blocks alone; embeddings and norms stay as they are.
        peak: the relative depth at which blocks learn fastest (see `block_share`); None: all alike. Needs
            `blocks_only`, without `muon`.
    """
    shares: dict[float, list[torch.nn.Parameter]] = {}
    matrices: list[torch.nn.Parameter] = []
    for name, parameter in model.named_parameters():
        in_block = parameter.dim() == 2 and "embed" not in name
        parameter.requires_grad_(in_block or not blocks_only)
        if muon and in_block:
            matrices.append(parameter)
        elif parameter.requires_grad:
            share = 1.0 if peak is None else block_share(int(name.split(".")[2]), len(model.model.layers), peak)
            shares.setdefault(share, []).append(parameter)
    optimizers: list[torch.optim.Optimizer] = []
    if shares:
        groups = [{"params": parameters, "share": share} for share, parameters in shares.items()]
        optimizers.append(torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.95), weight_decay=0.0, fused=True))
    if matrices:
        optimizers.append(Muon(matrices, lr=lr))
    return optimizers


def fit(
    model: LlamaForCausalLM,
    batches: Sequence[Batch],
    lr: float,
    report: Report,
    *,
    muon: bool = False,
    blocks_only: bool = False,
    peak: float | None = None,
) -> float:
    """Train `model` in place, one step a batch.

    Args:
        muon, blocks_only, peak: see `make_optimizers`.
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
    optimizers = make_optimizers(model, lr, muon, blocks_only, peak)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    losses: list[float] = []
    mean = float("nan")
    for step, (inputs_BT, targets_BT) in enumerate(batches):
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = lr * rate(step, len(batches)) * group.get("share", 1.0)
        asked_BT = targets_BT != IGNORE
        loss = F.cross_entropy(lean.logits(lean.hidden(inputs_BT)[asked_BT]), targets_BT[asked_BT])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        losses.append(loss.item())
        if len(losses) == REPORT_EVERY or step == len(batches) - 1:
            mean = sum(losses) / len(losses)
            losses.clear()
            report((step + 1) / len(batches), mean)
    return mean
