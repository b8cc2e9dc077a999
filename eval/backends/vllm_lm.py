"""The tasks on vLLM: the same prompts, windows, stops and cut answers as `eval.backends.hf` asks of transformers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lm_eval.api.model import TemplateLM
from lm_eval.models.utils import postprocess_generated_text

from eval.backends.batching import Window, cut_window, rolling_windows, scored_documents
from eval.backends.requests import Asked, Requests, prompt_tokens
from eval.documents.conversation import conversation

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance

    from eval.backends.vllm import Engine

# What vLLM's ``SamplingParams`` takes besides length, stops and seed.
_SAMPLING = {"temperature", "top_p", "top_k", "min_p"}

# Stop strings that are special tokens end an answer, as in lm-eval's own vLLM model.
_SPECIAL_TOKENS = {"skip_special_tokens": False, "spaces_between_special_tokens": False}


class EngineLM(TemplateLM):
    """An open engine, as lm-eval sees it."""

    def __init__(self, engine: Engine, requests: Requests, seed: int = 0) -> None:
        """Args: seed: of sampled answers; each request has its own stream, whatever the batch."""
        super().__init__()
        self.engine, self.shared, self.tokenizer, self.seed = engine, requests, requests.tokenizer, seed
        #: Task → generated answers that were cut at the most tokens asked for.
        self.unended: Counter[str] = Counter()
        self.max_length, self.batch_size, self.max_gen_toks = engine.max_length, engine.batch_size, 256
        self.rows = engine.rows
        #: Empty: vLLM is told everything, and reads only end tokens from a model's ``generation_config``.
        self.own_settings: dict[str, Any] = {}

    @property
    def eot_token_id(self) -> int:
        """The end of a text."""
        return int(self.tokenizer.eos_token_id)

    @property
    def prefix_token_id(self) -> int:
        """What stands before a document's first token."""
        begin = self.tokenizer.bos_token_id
        return self.eot_token_id if begin is None else int(begin)

    @property
    def tokenizer_name(self) -> str:
        """As lm-eval writes it into names of files."""
        return str(self.tokenizer.name_or_path).replace("/", "__")

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """A conversation as the tokenizer's template writes it."""
        return conversation(self.tokenizer, chat_history, add_generation_prompt)

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **kwargs: Any) -> list[int]:
        """Token ids, remembered; None adds what the tokenizer adds by itself where it is not there yet."""
        if add_special_tokens is None:
            return prompt_tokens(self, string)
        return self.shared.encode(string, add_special_tokens)

    def tok_decode(self, tokens: int | list[int], skip_special_tokens: bool = True) -> str:
        """The text of tokens."""
        return str(self.tokenizer.decode(tokens, skip_special_tokens=skip_special_tokens))

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """The answer to each request, cut at its first stop string.

        Raises:
            ValueError: no room for a prompt in the model's context, or an argument that is unknown here.
        """
        prompts, options, wanted = [], [], []
        for index, request in enumerate(requests):
            context, arguments = request.args
            asked = Asked.of(self, arguments)
            if unknown := asked.sampling.keys() - _SAMPLING - {"do_sample"}:
                raise ValueError(f"eval.backend=vllm has no generation_kwargs {', '.join(sorted(unknown))}")
            chosen = {key: value for key, value in asked.sampling.items() if key in _SAMPLING}
            chosen |= {"max_tokens": asked.max_new, "stop": asked.stops, "seed": self.seed + index}
            options.append({**chosen, **_SPECIAL_TOKENS})
            prompts.append(prompt_tokens(self, context)[-asked.room :])
            wanted.append(asked)
        answers = []
        for request, asked, output in zip(requests, wanted, self.engine.run(prompts, options), strict=True):
            tokens = list(output.outputs[0].token_ids)
            ended = len(tokens) < asked.max_new or self.shared.stop_strings(asked.stops).hit(tokens)
            self.unended[str(request.task_name)] += not ended
            answers.append(postprocess_generated_text(self.tok_decode(tokens), asked.stops, None))
        return answers

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[float]:
        """log P of each document in nats, in the windows of `eval.backends.batching`."""
        documents = [
            rolling_windows(
                self.tok_encode(r.args[0], add_special_tokens=False), self.prefix_token_id, self.max_length
            )
            for r in requests
        ]
        return scored_documents(
            documents, sum(map(len, documents)) or 1, lambda w: [value for value, _ in self._score(w)]
        )

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """As the parent's, without a bar for each model."""
        scored: list[tuple[float, bool]] = super().loglikelihood(requests, disable_tqdm=True)
        return scored

    def _loglikelihood_tokens(
        self, requests: list[tuple[tuple[str, str], list[int], list[int]]], **kwargs: Any
    ) -> list[tuple[float, bool]]:
        return self._score([cut_window(context, target, self.max_length) for _, context, target in requests])

    def _score(self, windows: Sequence[Window]) -> list[tuple[float, bool]]:
        """(log P(targets | context) in nats, whether the targets are the greedy choice) for each window."""
        rows = [context + target for context, target in windows]
        option = {"temperature": 0.0, "max_tokens": 1, "prompt_logprobs": 1, "detokenize": False}
        found = []
        for row, (context, _), output in zip(rows, windows, self.engine.run(rows, [option] * len(rows)), strict=True):
            places = range(len(context), len(row))
            tables = [output.prompt_logprobs[place] for place in places]
            values = [float(table[row[place]].logprob) for place, table in zip(places, tables, strict=True)]
            best = [max(float(entry.logprob) for entry in table.values()) for table in tables]
            found.append((math.fsum(values), values == best))
        return found
