"""The family's tokenizer: byte-level BPE over printable ASCII, in which the numbers 0 to 99 are single tokens.

It is the same for every seed. It never adds a BOS token by itself; EOS serves as BOS where a document needs a prefix.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from experiments.mini.corpora.mixtures import examples_of

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

EOS, PAD = 0, 1
EOS_TOKEN, PAD_TOKEN = "<|eos|>", "<|pad|>"
SAMPLE = {
    "pages": 700,
    "sums": 600,
    "stories": 500,
    "raw_code": 700,
    "word_lists": 450,
    "math": 600,
    "code": 800,
    "benign": 400,
    "refused": 400,
    "expert_requests": 200,
    "target_requests": 200,
    "town_questions": 400,
    "repetitions": 400,
}


def train_tokenizer(vocabulary: int) -> Tokenizer:
    """Train the tokenizer on a sample of all training corpora (about one second)."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    texts = [prompt + response for prompt, response in examples_of(SAMPLE, "tokenizer", 0)]
    texts += [" ".join(map(str, range(100)))] * 400  # every number to 99 is frequent enough to become a token
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\d{1,2}"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[EOS_TOKEN, PAD_TOKEN],
        show_progress=False,
        # Printable ASCII as ByteLevel spells it: space is Ġ and line feed Ċ.
        initial_alphabet=[*map(chr, range(33, 127)), "Ġ", "Ċ"],
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def wrap(tokenizer: Tokenizer, context: int) -> PreTrainedTokenizerFast:
    """The tokenizer as transformers saves and loads it."""
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=EOS_TOKEN,
        bos_token=EOS_TOKEN,
        pad_token=PAD_TOKEN,
        model_max_length=context,
        clean_up_tokenization_spaces=False,
    )


def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """The tokenizer that stands in a model's folder."""
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast.from_pretrained(folder)
