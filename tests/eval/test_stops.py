"""An answer ends where lm-eval ends it, whatever the tokenizer and the stop strings, and whatever its batch."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from eval.backends.generate import supports
from eval.backends.hf import CausalLM
from eval.backends.requests import Requests

SPECIAL = ["<|end|>", "<s>", "</s>", "<|im_end|>"]
WORDS = ["a", "b", "b:", "ab", "Question:", "\n", "\n\n", " a", " b", " ", "é", "1", " 1", ".", " .", "n't"]
MAX_NEW = 8
#: Shrinking a failure would take minutes, for each example builds models.
RULES: Any = {"deadline": None, "phases": (Phase.explicit, Phase.reuse, Phase.generate)}


def tokenizer_of(kind: str, end: str, clean: bool) -> PreTrainedTokenizerFast:
    """``plain``: texts as they are; ``bytes``: as GPT-2's; ``pieces``: as Llama 2's, where a text loses its space."""
    texts = WORDS
    if kind == "bytes":
        texts = [_byte_level(word) for word in WORDS]
    if kind == "pieces":
        texts = [word.replace(" ", "\u2581") for word in WORDS] + [f"<0x{byte:02X}>" for byte in (0xC3, 0xA8, 0x41)]
    letters = sorted({letter for text in texts if not text.startswith("<0x") for letter in text})
    vocab = {text: number for number, text in enumerate(dict.fromkeys([*SPECIAL, *letters, *texts]))}
    made = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    if kind == "bytes":
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        made.decoder = decoders.ByteLevel()
    elif kind == "pieces":
        made.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
        steps = [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
        made.decoder = decoders.Sequence(steps)
    else:
        made.decoder = decoders.Fuse()
    made.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in SPECIAL])
    # By itself transformers leaves spaces before punctuation in place with a BPE.
    clean_up = "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output"
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        eos_token=end,
        pad_token=SPECIAL[0],
        clean_up_tokenization_spaces=clean,
        **{clean_up: clean},
    )


def _byte_level(text: str) -> str:
    ((word, _),) = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str(text)
    return str(word)


def model_of(successors: list[int], ends: Any) -> LlamaForCausalLM:
    """A model that writes ``successors[t]`` behind token t, whatever stands before it."""
    size = len(successors)
    width = size + size % 2
    shape = {"intermediate_size": 4, "num_hidden_layers": 1, "num_attention_heads": 1, "num_key_value_heads": 1}
    config = LlamaConfig(
        vocab_size=size, hidden_size=width, head_dim=8, max_position_embeddings=64, tie_word_embeddings=False, **shape
    )
    model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.fill_(1.0 if "norm" in name else 0.0)
        model.model.embed_tokens.weight[:, :size] = torch.eye(size)
        for token, successor in enumerate(successors):
            model.lm_head.weight[successor, token] = 1.0
    model.generation_config = GenerationConfig(eos_token_id=ends, pad_token_id=0)
    return model


@dataclass
class Case:
    tokenizer: PreTrainedTokenizerFast
    model: LlamaForCausalLM
    prompts: list[str]
    stops: list[str]

    @classmethod
    def drawn(cls, draw: Any) -> Case:
        kind = draw(st.sampled_from(["plain", "bytes", "pieces"]))
        tokenizer = tokenizer_of(kind, draw(st.sampled_from(SPECIAL)), draw(st.booleans()))
        size = len(tokenizer)
        successors = draw(st.lists(st.integers(0, size - 1), min_size=size, max_size=size))
        ends = draw(st.one_of(st.none(), st.integers(0, 3), st.lists(st.integers(0, 3), min_size=1, max_size=2)))
        prompts = draw(
            st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=5).map("".join), min_size=1, max_size=6)
        )
        stops = []
        for _ in range(draw(st.integers(0, 4))):
            if draw(st.booleans()):  # of what a row will write
                row = [tokenizer.encode(draw(st.sampled_from(prompts)))[-1]]
                for _ in range(MAX_NEW):
                    row.append(successors[row[-1]])
                text = tokenizer.decode(row[1:])
                start = draw(st.integers(0, len(text)))
                stops.append(text[start : start + draw(st.integers(1, 12))])
            else:
                stops.append("".join(draw(st.lists(st.sampled_from(SPECIAL + WORDS), min_size=1, max_size=3))))
        return cls(
            tokenizer, model_of(successors, ends), prompts, list(dict.fromkeys(stop for stop in stops if stop))
        )

    def requests(self) -> list[Instance]:
        arguments = {"until": self.stops, "do_sample": False, "max_gen_toks": MAX_NEW}
        return [
            Instance("generate_until", {}, (prompt, dict(arguments)), number, metadata=("t", number, 1))
            for number, prompt in enumerate(self.prompts)
        ]

    def stock(self, batch_size: int = 1) -> list[str]:
        lm = HFLM(pretrained=self.model, tokenizer=self.tokenizer, batch_size=batch_size)
        return list(lm.generate_until(self.requests(), disable_tqdm=True))

    def ours(self, batch_size: int) -> list[str]:
        return CausalLM(self.model, Requests(self.tokenizer), batch_size).generate_until(self.requests())


@pytest.fixture(autouse=True)
def _quiet() -> None:
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    torch.set_num_threads(1)


def same_answers(data: st.DataObject) -> None:
    case = Case.drawn(data.draw)
    expected = case.stock()
    assert supports(case.model)
    for batch_size in {1, 3, len(case.prompts)}:
        assert case.ours(batch_size) == expected
    case.model.generation_config.renormalize_logits = True  # changes no answer, and is not for our own loop
    assert not supports(case.model)
    assert case.ours(len(case.prompts)) == expected


@settings(max_examples=60, derandomize=True, **RULES)
@given(st.data())
def test_answers_equal_those_of_lm_eval_row_by_row(data: st.DataObject) -> None:
    same_answers(data)


@pytest.mark.slow
@settings(max_examples=120, **RULES)
@given(st.data())
def test_answers_equal_those_of_lm_eval_row_by_row_on_many_tokenizers(data: st.DataObject) -> None:
    same_answers(data)
