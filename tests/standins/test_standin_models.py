"""The stand-ins are what they stand for: classes, files, and the oddities of the published models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file
from standin_documents import write
from standin_models import HIDDEN, StandInFamily
from transformers import AutoModelForCausalLM, AutoTokenizer

from eval.backends.generate import greedy, supports
from eval.backends.stops import StopStrings
from lata.checkpoints import open_checkpoint

GEMMA, TIED = "google/gemma-2-2b", "meta-llama/Llama-3.2-3B"
PUBLISHED = (GEMMA, "meta-llama/Meta-Llama-3-8B", "meta-llama/Llama-3.1-8B", TIED)
TEXT = "def f(x):\n    return 'a  b'  # é 川 🙂\n"
#: Blanks, and what no vocabulary knows as a whole.
PROMPTS = ["The river", TEXT, "Town 3 lies on the river Ona , in the north . " * 12]


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return write(tmp_path_factory.mktemp("documents") / "data")


@pytest.fixture(params=PUBLISHED, ids=lambda base: base.split("/")[1])
def base(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def family(base: str, texts: list[str], tmp_path: Path) -> StandInFamily:
    return StandInFamily(tmp_path, base, texts)


def loaded(folder: str, **options: Any) -> Any:
    model, found = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True, **options)
    assert not found["missing_keys"]
    assert not found["mismatched_keys"]
    return model.eval()


def test_a_tokenizer_keeps_text_and_begins_it_with_one_bos(base: str, family: StandInFamily) -> None:
    raw, tuned = (AutoTokenizer.from_pretrained(family.source(name, "")) for name in ("base", "pre"))
    expected = transformers.GemmaTokenizer if base == GEMMA else transformers.PreTrainedTokenizerFast
    assert type(tuned) is expected
    assert raw.chat_template is None
    for text in PROMPTS:
        ids = tuned(text).input_ids
        assert ids[0] == tuned.bos_token_id
        assert tuned.decode(ids, skip_special_tokens=True) == text
    turn = [{"role": "user", "content": "Hello"}]
    wrapped = tuned.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
    assert tuned(wrapped, add_special_tokens=False).input_ids.count(tuned.bos_token_id) == 1
    assert len(tuned) == loaded(family.source("pre", "")).config.vocab_size


def test_a_model_is_of_the_published_class_and_stored_as_it_is(base: str, family: StandInFamily) -> None:
    folder = Path(family.source("pre", ""))
    model = loaded(str(folder))
    assert type(model) is (transformers.Gemma2ForCausalLM if base == GEMMA else transformers.LlamaForCausalLM)
    tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert tied is (base in (GEMMA, TIED))
    assert len(list(folder.glob("model-*-of-00002.safetensors"))) == 2
    assert model.dtype == torch.bfloat16
    assert loaded(family.source("base", "")).dtype == (torch.float32 if base == GEMMA else torch.bfloat16)
    if base == GEMMA:
        config = model.config
        assert (config.attn_logit_softcapping, config.final_logit_softcapping) == (50.0, 30.0)
        assert config.layer_types == ["sliding_attention", "full_attention", "sliding_attention"]
        assert config.head_dim != HIDDEN // config.num_attention_heads
        assert "tie_word_embeddings" not in json.loads((folder / "config.json").read_text(encoding="utf-8"))


def test_a_head_of_its_own_is_stored_and_left_out_where_the_config_ties_it(texts: list[str], tmp_path: Path) -> None:
    folder = Path(StandInFamily(tmp_path, GEMMA, texts).source("ua", "", own_head=True))
    stored: dict[str, torch.Tensor] = {}
    for file in folder.glob("*.safetensors"):
        stored |= load_file(file)
    assert not torch.equal(stored["lm_head.weight"], stored["model.embed_tokens.weight"])
    with open_checkpoint(str(folder)) as checkpoint:
        assert checkpoint.tensors.keys() == stored.keys() - {"lm_head.weight"}


def test_greedy_answers_are_those_of_transformers_past_the_sliding_window(family: StandInFamily) -> None:
    folder = family.source("pre", "")
    model, tokenizer = loaded(folder, dtype=torch.float32), AutoTokenizer.from_pretrained(folder, padding_side="left")
    torch.set_num_threads(1)  # models this small are slower with more
    with torch.no_grad():  # no answer is to end early
        model.get_output_embeddings().weight[family.ends] *= -1
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    batch = tokenizer(PROMPTS, return_tensors="pt", padding=True)
    assert batch.input_ids.shape[1] > family.config.get("sliding_window", 0)
    assert supports(model)
    expected = model.generate(**batch, max_new_tokens=12, do_sample=False)[:, batch.input_ids.shape[1] :]
    prompts = [tokenizer(prompt).input_ids for prompt in PROMPTS]
    found = greedy(model, tokenizer, prompts, StopStrings(tokenizer, []), 12)
    assert found == expected.tolist()
