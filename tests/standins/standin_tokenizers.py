"""Tokenizers of Gemma 2 and Llama 3 around a vocabulary of a few hundred tokens.

Files, classes, special tokens and settings are those of the published models, as far as this suite reads them; the
vocabulary is trained on the spot, and the chat templates are short ones of our own with the published markers.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

#: Tokens that are learned beside the alphabet and the special ones.
LEARNED = 700

GEMMA_SPECIAL = ("<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<start_of_turn>", "<end_of_turn>")
GEMMA_TEMPLATE = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}"
    "{% endif %}{% for message in messages %}{{ '<start_of_turn>' + ('model' if message['role'] == 'assistant' else "
    "message['role']) + '\n' + message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)

LLAMA_SPECIAL = (
    *("<|begin_of_text|>", "<|end_of_text|>", "<|reserved_special_token_0|>", "<|reserved_special_token_1|>"),
    *("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
)
LLAMA_TEMPLATE = (
    "{% for message in messages %}{% if loop.first %}{{ bos_token }}{% endif %}{{ '<|start_header_id|>' + "
    "message['role'] + '<|end_header_id|>\n\n' + message['content'] | trim + '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
#: How Llama 3 cuts text before it looks for tokens.
LLAMA_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)


@dataclass(frozen=True)
class TinyTokenizer:
    """A tokenizer, ready to be written into the folders of a family.

    Attributes:
        core: content of ``tokenizer.json``.
        settings: content of ``tokenizer_config.json`` without the chat template.
        template: the chat template of instruction-tuned models.
    """

    core: dict[str, Any]
    settings: dict[str, Any]
    template: str

    @property
    def ids(self) -> dict[str, int]:
        """Every token's id."""
        added = {token["content"]: token["id"] for token in self.core["added_tokens"]}
        return {**self.core["model"]["vocab"], **added}

    def write(self, folder: Path, *, chat: bool, **settings: Any) -> None:
        """Write the files that transformers loads a tokenizer from, with a chat template or without."""
        said = {**self.settings, **settings, **({"chat_template": self.template} if chat else {})}
        (folder / "tokenizer.json").write_text(json.dumps(self.core, ensure_ascii=False), encoding="utf-8")
        (folder / "tokenizer_config.json").write_text(json.dumps(said, ensure_ascii=False), encoding="utf-8")


def gemma(texts: Sequence[str]) -> TinyTokenizer:
    """As of Gemma 2: BPE over text whose blanks are ``▁``, bytes for what it does not know, BOS before every text."""
    core = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    core.normalizer = normalizers.Replace(" ", "▁")
    # For training only: no token of the published vocabulary spans several words.
    core.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    bytes_ = [f"<0x{value:02X}>" for value in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=len(GEMMA_SPECIAL) + 256 + LEARNED,
        special_tokens=[*GEMMA_SPECIAL, *bytes_],
        show_progress=False,
    )
    core.train_from_iterator(texts, trainer)
    made = json.loads(core.to_str())
    # Bytes are ordinary tokens: as special ones they would be left out of decoded text.
    made["added_tokens"] = [token for token in made["added_tokens"] if token["content"] in GEMMA_SPECIAL]
    made["pre_tokenizer"] = None
    core = Tokenizer.from_str(json.dumps(made))
    core.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    core.post_processor = processors.TemplateProcessing(
        single="<bos> $A", pair="<bos> $A <bos> $B", special_tokens=[("<bos>", GEMMA_SPECIAL.index("<bos>"))]
    )
    settings = {
        "add_bos_token": True,
        "add_eos_token": False,
        "additional_special_tokens": ["<start_of_turn>", "<end_of_turn>"],
        "bos_token": "<bos>",
        "clean_up_tokenization_spaces": False,
        "eos_token": "<eos>",
        "model_max_length": 1000000000000000019884624838656,
        "pad_token": "<pad>",
        "sp_model_kwargs": {},
        "spaces_between_special_tokens": False,
        "tokenizer_class": "GemmaTokenizer",
        "unk_token": "<unk>",
        "use_default_system_prompt": False,
    }
    return TinyTokenizer(json.loads(core.to_str()), settings, GEMMA_TEMPLATE)


def llama(texts: Sequence[str]) -> TinyTokenizer:
    """As of Llama 3: BPE over bytes, special tokens after all others, no pad token, BOS before every text."""
    core = Tokenizer(models.BPE(ignore_merges=True))
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(LLAMA_SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=256 + LEARNED, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    core.train_from_iterator(texts, trainer)
    core.add_special_tokens(list(LLAMA_SPECIAL))
    start = LLAMA_SPECIAL[0]
    places = [(start, core.token_to_id(start))]
    core.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=True),
            processors.TemplateProcessing(
                single=f"{start} $A", pair=f"{start} $A {start}:1 $B:1", special_tokens=places
            ),
        ]
    )
    settings = {
        "bos_token": start,
        "clean_up_tokenization_spaces": True,
        "eos_token": "<|end_of_text|>",
        "model_input_names": ["input_ids", "attention_mask"],
        "model_max_length": 1000000000000000019884624838656,
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    return TinyTokenizer(json.loads(core.to_str()), settings, LLAMA_TEMPLATE)
