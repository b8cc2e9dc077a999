"""One model's scores with as large a batch as the device has memory for."""

from __future__ import annotations

import copy
import gc
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from eval.collect import Evaluation
    from eval.harness import Evaluator

Result = TypeVar("Result")

# What torch and the libraries below it say; torch.OutOfMemoryError is a RuntimeError that says the first.
_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED")


def evaluate_fitting(evaluator: Evaluator, model: Any, batch_size: int | None = None) -> tuple[Evaluation, int]:
    """Score one model, with half the batch size as often as the device runs out of memory.

    It begins with `batch_size`, or with that of the evaluator's settings where None. What was scored with a larger
    batch is scored again, so the result is that of the batch size that is returned, and every score row says so.

    Returns:
        The scores, and the effective batch size.

    Raises:
        ValueError: not even one row at a time fits.
    """

    def run(batch_size: int) -> Evaluation:
        # A shallow copy: tasks and tokenised requests are those of `evaluator`.
        sized = copy.copy(evaluator)
        sized.settings = replace(evaluator.settings, batch_size=batch_size)
        return sized(model)

    return halving(run, batch_size or evaluator.settings.batch_size)


def halving(run: Callable[[int], Result], batch_size: int) -> tuple[Result, int]:
    """``run(batch_size)``, again with half of it as often as it runs out of memory; see `evaluate_fitting`.

    Returns:
        What `run` returned, and the batch size it took.

    Raises:
        ValueError: not even a batch size of 1 fits.
    """
    while True:
        try:
            return run(batch_size), batch_size
        except RuntimeError as error:
            if not any(sign in str(error) for sign in _OUT_OF_MEMORY):
                raise
        # Outside the handler, where the error no longer keeps the tensors of its frames alive.
        if batch_size == 1:
            raise ValueError(
                "out of memory even with eval.batch_size=1: choose a smaller eval.dtype, eval.device=cpu, or "
                "eval.backend=vllm with eval.tensor_parallel"
            )
        _free()
        print(f"out of memory with eval.batch_size={batch_size}; {batch_size // 2} is tried", file=sys.stderr)
        batch_size //= 2


def _free() -> None:
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
