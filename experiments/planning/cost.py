"""Seconds and bytes of evaluations and merges, from shapes, tokens and rates.

A forward pass takes the longest of three: its arithmetic, the bytes it moves, and the time to launch its kernels
(the roofline of Williams et al., https://doi.org/10.1145/1498765.1498785, with a floor for small batches).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from eval.backends.batching import LOGITS, READ_TOKENS
from experiments.planning.recorded import Documents
from experiments.planning.shapes import Shape
from lata.planning import Rates as MergeRates

#: Bytes an attention weight where all of a layer are held at once: its score and, in fp32, what softmax makes of it;
#: in two bytes a value also the copy that goes on.
EAGER = 8
ITEM = {"float32": 4, "bfloat16": 2, "float16": 2}

#: Bytes that the driver and PyTorch take on a GPU, and Python with its libraries in a worker; about.
CONTEXT = 0.7e9
PROCESS = 0.9e9


@dataclass(frozen=True)
class Rates:
    """What a device does in a second, shares of use applied.

    Attributes:
        flops: of one worker's devices together.
        bandwidth: of their memory.
        launch: least seconds of one layer in a forward pass.
    """

    flops: float
    bandwidth: float
    launch: float


@dataclass(frozen=True)
class Served:
    """A model as it is evaluated.

    Attributes:
        shape: of the model.
        parameters: number of them.
        item: bytes a value.
        batch: rows of a batch, at most.
        vllm: whether rows that are done make room for others at once.
    """

    shape: Shape
    parameters: int
    item: int
    batch: int
    vllm: bool = False

    @property
    def weights(self) -> int:
        """Bytes."""
        return self.parameters * self.item

    def window(self, documents: Documents) -> float:
        """Tokens of the longest forward pass over a prompt or page."""
        return min(self.shape.context, documents.longest)

    def rows(self, documents: Documents, tokens: float, batch: int | None = None) -> int:
        """Rows of a batch of prompts or pages of `tokens` each; what is read and not answered has a bound."""
        batch = batch or self.batch
        return batch if documents.limit else min(batch, max(1, int(READ_TOKENS // max(1, tokens))))


def prefill_seconds(served: Served, documents: Documents, rates: Rates) -> float:
    """All prompts or pages of one evaluation."""
    tokens = documents.prompt_tokens
    seen = min(documents.prompt, served.shape.context) / 2
    arithmetic = tokens * served.shape.token_flops(served.parameters, seen) / rates.flops
    passes = _passes(served, documents)
    return max(arithmetic, passes * served.weights / rates.bandwidth, passes * served.shape.layers * rates.launch)


def decode_seconds(served: Served, documents: Documents, rates: Rates, most: bool = False) -> float:
    """All answers of one evaluation; with `most` every one runs to its limit."""
    tokens = documents.answer_tokens(most)
    if not tokens:
        return 0.0
    rows = documents.count * documents.samples
    if served.vllm:
        steps = tokens / min(rows, served.batch)
    else:
        steps = math.ceil(rows / served.batch) * documents.steps(min(rows, served.batch), most)
    seen = documents.prompt + tokens / rows / 2
    moved = steps * served.weights + tokens * seen * served.shape.kv_bytes(served.item)
    arithmetic = tokens * served.shape.token_flops(served.parameters, seen)
    return max(moved / rates.bandwidth, arithmetic / rates.flops, steps * served.shape.layers * rates.launch)


def evaluation_seconds(served: Served, tasks: Sequence[Documents], rates: Rates, most: bool = False) -> float:
    """One model on all tasks."""
    return sum(prefill_seconds(served, each, rates) + decode_seconds(served, each, rates, most) for each in tasks)


def working_bytes(served: Served, documents: Documents, batch: int) -> float:
    """What a batch needs beside the weights: activations, and a key-value cache or some positions' logits."""
    shape, tokens = served.shape, served.window(documents)
    rows = min(served.rows(documents, tokens, batch), max(1, documents.count * documents.samples))
    # The widest of a block: the residual, and the two halves of the feed-forward layer.
    activations = rows * tokens * (4 * shape.hidden + 3 * shape.ffn) * served.item
    if shape.eager and not served.vllm:
        activations += EAGER * rows * shape.heads * tokens**2
    if documents.limit:
        length = min(shape.context, tokens + documents.limit)
        return rows * length * shape.kv_bytes(served.item) + activations
    logits = min(rows * tokens, max(1, LOGITS // shape.vocabulary)) * shape.vocabulary
    # A rescaled copy of them in the model's dtype; then, in fp32, themselves and what their log-sum-exp takes.
    wide = 0 if served.item == 4 else 4
    return logits * max(2 * served.item, served.item + wide + 4) + activations


def fitting_batch(served: Served, documents: Documents, room: float) -> int:
    """The largest of `served.batch`, its half, its quarter … whose batches fit into `room` bytes; 0 if none does."""
    batch = served.batch
    while batch and working_bytes(served, documents, batch) > room:
        batch //= 2
    return batch


def merge_seconds(read: float, written: float, rates: MergeRates) -> float:
    """Reading and combining `read` bytes of models and writing `written`; the three overlap."""
    return max(read / rates.read, read / rates.compute, written / rates.write)


def _passes(served: Served, documents: Documents) -> float:
    """Forward passes over prompts: batches of rows or windows."""
    windows = documents.count * documents.samples * max(1.0, documents.prompt / served.shape.context)
    return math.ceil(windows / served.rows(documents, min(documents.prompt, served.shape.context)))
