"""What `eval.backends.vllm` uses of vLLM's interface, over a model of transformers, with vLLM's own refusals."""

from __future__ import annotations

import importlib
import types
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch


@dataclass
class SamplingParams:
    max_tokens: int = 16
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    stop: list[str] = field(default_factory=list)
    seed: int | None = None
    prompt_logprobs: int | None = None
    detokenize: bool = True
    skip_special_tokens: bool = True
    spaces_between_special_tokens: bool = True


class LLM:
    """Rows one by one, each as vLLM would answer it."""

    opened: ClassVar[list[dict[str, Any]]] = []

    def __init__(self, model: str, tokenizer: str, max_model_len: int, **options: Any) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        LLM.opened.append({"model": model, "tokenizer": tokenizer, "max_model_len": max_model_len, **options})
        self.model = AutoModelForCausalLM.from_pretrained(model, dtype=options["dtype"]).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(tokenizer)
        named = {"max_position_embeddings": self.model.config.max_position_embeddings}
        if max_model_len > (named | options.get("hf_overrides", {}))["max_position_embeddings"]:
            raise ValueError(f"User-specified max_model_len ({max_model_len}) is greater than the derived one")
        self.max_model_len = max_model_len
        module, name = options["worker_extension_cls"].rsplit(".", 1)
        worker = type("Worker", (getattr(importlib.import_module(module), name),), {})()
        worker.model_runner = types.SimpleNamespace(model=types.SimpleNamespace(load_weights=self._load))
        self.worker = worker
        self.resets = 0
        self.loaded: list[list[str]] = []

    def collective_rpc(self, method: str, args: tuple[Any, ...] = ()) -> list[Any]:
        assert isinstance(method, str)
        assert all(isinstance(arg, str) for arg in args), "what crosses to other processes must be plain"
        return [getattr(self.worker, method)(*args)]

    def reset_prefix_cache(self) -> None:
        self.resets += 1

    def generate(
        self, prompts: list[dict[str, list[int]]], sampling_params: list[SamplingParams], use_tqdm: bool
    ) -> list[Any]:
        assert len(prompts) == len(sampling_params)
        return [self._row(p["prompt_token_ids"], s) for p, s in zip(prompts, sampling_params, strict=True)]

    def _load(self, weights: Iterable[tuple[str, torch.Tensor]]) -> None:
        parameters = dict(self.model.named_parameters())
        names = []
        for name, tensor in weights:
            assert tensor.shape == parameters[name].shape
            parameters[name].data.copy_(tensor)
            names.append(name)
        self.loaded.append(names)

    @torch.inference_mode()
    def _row(self, prompt: list[int], asked: SamplingParams) -> Any:
        if len(prompt) + 1 > self.max_model_len:
            raise ValueError(f"The decoder prompt (length {len(prompt)}) is longer than the maximum model length")
        logprobs = None
        if asked.prompt_logprobs is not None:
            rows = self.model(torch.tensor([prompt])).logits[0].float().log_softmax(-1)
            logprobs = [None]
            for row, token in zip(rows[:-1], prompt[1:], strict=True):
                best = int(row.argmax())
                logprobs.append({t: types.SimpleNamespace(logprob=float(row[t])) for t in {token, best}})
        new: list[int] = []
        generator = torch.Generator().manual_seed(asked.seed or 0)
        while len(new) < min(asked.max_tokens, self.max_model_len - len(prompt)):
            logits = self.model(torch.tensor([prompt + new])).logits[0, -1].float()
            if asked.temperature:
                token = int(torch.multinomial((logits / asked.temperature).softmax(-1), 1, generator=generator))
            else:
                token = int(logits.argmax())
            new.append(token)
            text = self.tokenizer.decode(new, skip_special_tokens=asked.skip_special_tokens)
            if token == self.tokenizer.eos_token_id or any(stop in text for stop in asked.stop):
                break
        return types.SimpleNamespace(
            prompt_logprobs=logprobs, outputs=[types.SimpleNamespace(token_ids=tuple(new), text="")]
        )
