"""A tiny tokenizer, tiny random models and a handful of documents: everything an evaluation needs, made here."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from eval_documents import ROWS, write_lines

os.environ["HF_HUB_OFFLINE"] = os.environ["HF_DATASETS_OFFLINE"] = "1"


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in the layout of the miniature data, with a few documents a task and split."""
    folder = tmp_path_factory.mktemp("data")
    for name, rows in ROWS.items():
        write_lines(folder / f"{name}_test.jsonl", rows)
        write_lines(folder / f"{name}_dev.jsonl", rows[::-1])
    return folder


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    """A byte-level tokenizer of about 400 tokens; EOS begins documents too, and nothing is added by itself."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|eos|>", "<|pad|>"],
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    core.train_from_iterator([json.dumps(row) for rows in ROWS.values() for row in rows], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<|eos|>", eos_token="<|eos|>", pad_token="<|pad|>"
    )


@pytest.fixture(scope="session")
def tiny_model(tokenizer: Any) -> Callable[..., Any]:
    """``tiny_model(seed, **config)``: a random two-layer Llama that knows the tokenizer's vocabulary.

    Torch gets one thread: models this small are slower with more.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.set_num_threads(1)

    def make(seed: int = 0, **config: Any) -> Any:
        torch.manual_seed(seed)
        settings = {
            "vocab_size": len(tokenizer),
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 256,
            "initializer_range": 0.3,
            "bos_token_id": 0,
            "eos_token_id": 0,
            "pad_token_id": 1,
            **config,
        }
        return LlamaForCausalLM(LlamaConfig(**settings)).eval()

    return make


@pytest.fixture(scope="session")
def bench_data() -> Path:
    """The folder of real benchmark files, or a skip that says how to get one."""
    folder = os.environ.get("LATA_BENCH_DATA")
    if not folder:
        pytest.skip("LATA_BENCH_DATA is not set: it names a folder with HumanEval.jsonl.gz and gsm8k_test.jsonl")
    return Path(folder)


@pytest.fixture(scope="session")
def human_eval(bench_data: Path) -> list[dict[str, str]]:
    """The 164 problems of HumanEval."""
    with gzip.open(bench_data / "HumanEval.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]
