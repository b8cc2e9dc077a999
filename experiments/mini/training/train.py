"""The training of one model: what it starts from, what it reads, and how it is written. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from experiments.mini.training.stages import Shape, Stage

#: With these a training gives the same bits on every x86-64 processor: kernels that every one of them has, instead of
#: the fastest that each has. It takes about 2.7 times as long. Libraries read them when they are loaded.
KERNELS = {"ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "COMPATIBLE", "ONEDNN_MAX_CPU_ISA": "SSE41"}


def train(
    stage: Stage, seed: int, shape: Shape, parent: Path | None, folder: Path, report: Callable[[float, float], None]
) -> None:
    """Train one model, in a process that was started with `KERNELS` in its environment.

    Args:
        stage: what it reads and how it is trained.
        seed: of the family.
        shape: of the family's models.
        parent: folder of the model that it starts from; None for random weights.
        folder: is made; model and tokenizer are written to it.
        report: called with the share that is done and the loss, in nats a token.
    """
    import random

    import torch
    import transformers

    from experiments.mini.corpora.heldout import stable_hash
    from experiments.mini.corpora.mixtures import examples_of
    from experiments.mini.training.batches import packed_batches, response_batches
    from experiments.mini.training.loop import fit
    from experiments.mini.training.model import new_model
    from experiments.mini.training.tokenizer import load_tokenizer, train_tokenizer, wrap

    # One thread, so that the weights do not depend on the number of cores.
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    transformers.utils.logging.disable_progress_bar()
    if parent is None:
        tokenizer = wrap(train_tokenizer(shape.vocabulary), shape.context)
        model = new_model(shape, stable_hash(f"weights {seed}") >> 1)
    else:
        tokenizer = load_tokenizer(parent)
        model = transformers.LlamaForCausalLM.from_pretrained(parent, dtype=torch.float32)
    examples = examples_of(dict(stage.mixture), stage.name, seed)
    rng = random.Random(f"batches {stage.name} {seed}")
    if stage.packed:
        batches = packed_batches(tokenizer, examples, stage.packed, stage.batch, rng)
    else:
        batches = response_batches(tokenizer, examples, stage.batch, rng)
    fit(model, batches, stage.lr, report, muon=stage.muon, blocks_only=stage.blocks_only, peak=stage.peak)
    folder.mkdir()
    model.half().eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
