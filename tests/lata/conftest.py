"""A tiny family of random tensors."""

from __future__ import annotations

import pytest
import torch
from random_models import moved, random_checkpoint


@pytest.fixture
def base() -> dict[str, torch.Tensor]:
    return random_checkpoint(0)


@pytest.fixture
def pre(base: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return moved(base, 1, 0.5)


@pytest.fixture
def experts(pre: dict[str, torch.Tensor]) -> dict[str, dict[str, torch.Tensor]]:
    return {task: moved(pre, seed, 0.3) for seed, task in enumerate(("math", "code", "ua"), start=2)}
