"""From examples to batches of token ids. Shapes: B sequences, T positions."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from experiments.mini.corpora.heldout import Example
from experiments.mini.training.tokenizer import EOS, PAD

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

IGNORE = -100
Batch = tuple[Tensor, Tensor]


def packed_batches(
    tokenizer: PreTrainedTokenizerFast,
    examples: Sequence[Example],
    length: int,
    size: int,
    rng: random.Random,
) -> list[Batch]:
    """Documents joined by EOS, cut into windows of `length`, shuffled; (inputs_BT, targets_BT) a batch."""
    ids: list[int] = []
    for document in tokenizer([prompt + response for prompt, response in examples])["input_ids"]:
        ids += [EOS, *document]
    windows = [ids[i : i + length + 1] for i in range(0, len(ids) - length, length)]
    rng.shuffle(windows)
    stacked = [torch.tensor(windows[i : i + size]) for i in range(0, len(windows) - size + 1, size)]
    return [(window[:, :-1], window[:, 1:]) for window in stacked]


def response_batches(
    tokenizer: PreTrainedTokenizerFast, examples: Sequence[Example], size: int, rng: random.Random
) -> list[Batch]:
    """One example a row, rows of like length together, targets on the response and its EOS only.

    A document starts with EOS and a prompt does not, for so the evaluation presents them: lm-eval prefixes the
    documents whose likelihood it measures, and adds nothing to the prompts that it generates from.
    """
    prompts = tokenizer([example.prompt for example in examples])["input_ids"]
    responses = tokenizer([example.response for example in examples])["input_ids"]
    rows = []
    for prompt, response in zip(prompts, responses, strict=True):
        start = prompt or [EOS]
        ids = [*start, *response, EOS]
        rows.append((ids[:-1], [*[IGNORE] * (len(start) - 1), *response, EOS]))
    batches = []
    # Sorted within chunks of 16 batches: little padding, and still a random order.
    for chunk_start in range(0, len(rows), 16 * size):
        chunk = sorted(rows[chunk_start : chunk_start + 16 * size], key=lambda row: len(row[0]))
        for i in range(0, len(chunk) - size + 1, size):
            batches.append(_pad(chunk[i : i + size]))
    rng.shuffle(batches)
    return batches


def _pad(rows: Sequence[tuple[list[int], list[int]]]) -> Batch:
    longest = max(len(inputs) for inputs, _ in rows)
    inputs_BT = torch.full((len(rows), longest), PAD)
    targets_BT = torch.full((len(rows), longest), IGNORE)
    for row, (inputs, targets) in enumerate(rows):
        inputs_BT[row, : len(inputs)] = torch.tensor(inputs)
        targets_BT[row, : len(targets)] = torch.tensor(targets)
    return inputs_BT, targets_BT
