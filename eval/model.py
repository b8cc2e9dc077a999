"""lm-eval's Hugging Face model with the same answers at a fraction of the time.

Three things differ from ``lm_eval.models.huggingface.HFLM``, none of which changes a score:

- tokenised requests are kept in a ``Requests`` store that any number of models share;
- greedy generation runs in ``eval.generate`` (sampling, and models that need more, go to the parent class);
- rolling log-likelihood sorts all windows by length before it makes batches, and takes the target's logit
  minus the log-sum-exp in fp32 instead of a second array of log-probabilities.

Rolling log-likelihood never adds special tokens to the text: a tokenizer that prepends BOS by itself would
score P(BOS | BOS) once a document, for the window's own prefix token is that BOS already. For a fair
comparison lm-eval's own command needs ``--model_args …,add_bos_token=False`` for ``wikitext`` there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from lm_eval.models.huggingface import HFLM
from lm_eval.models.utils import (
    Collator,
    handle_stop_sequences,
    has_bos_prefix,
    normalize_gen_kwargs,
    postprocess_generated_text,
)
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from eval.generate import greedy, pieces, supports

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass
class Requests:
    """What depends on the tokenizer only, and so serves all models that share it."""

    tokenizer: PreTrainedTokenizerBase
    encoded: dict[tuple[str, bool | None], list[int]] = field(default_factory=dict)
    _pieces: list[str] = field(default_factory=list)

    def pieces(self, size: int) -> list[str]:
        """The text of each token id below ``size``."""
        if len(self._pieces) < size:
            self._pieces = pieces(self.tokenizer, size)
        return self._pieces


class CausalLM(HFLM):
    """A loaded causal language model, as lm-eval sees it."""

    def __init__(self, model: PreTrainedModel, requests: Requests, batch_size: int) -> None:
        """Args: batch_size: rows of a batch, prompts or windows; never chosen by the harness."""
        super().__init__(pretrained=model, tokenizer=requests.tokenizer, batch_size=batch_size)
        self.shared = requests

    def tok_encode(
        self,
        string: str,
        add_special_tokens: bool | None = None,
        left_truncate_len: int | None = None,
        **kwargs: Any,
    ) -> list[int]:
        """As the parent's, remembered."""
        key = (string, add_special_tokens)
        if key not in self.shared.encoded:
            self.shared.encoded[key] = super().tok_encode(string, add_special_tokens)
        tokens = self.shared.encoded[key]
        return tokens[-left_truncate_len:] if left_truncate_len else tokens

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """The answer to each request, cut at its first stop string.

        Raises:
            ValueError: no room for a prompt beside ``max_gen_toks`` in the model's context.
        """
        if any(req.args[1].get("do_sample") for req in requests) or not supports(self.model):
            return super().generate_until(requests, disable_tqdm=disable_tqdm)
        eos = self.tok_decode(self.eot_token_id, skip_special_tokens=False)
        token_text = self.shared.pieces(self.model.config.get_text_config().vocab_size)
        # The same order as the parent class: longest prompt first, one group for each set of arguments.
        order = Collator(
            [req.args for req in requests],
            sort_fn=lambda args: (-len(self._prompt_tokens(args[0])), args[0]),
            group_by="gen_kwargs",
            group_fn=lambda args: args[1],
        )
        answers = []
        for chunk in order.get_batched(n=self.batch_size):
            contexts, arguments = zip(*chunk, strict=True)
            settings = normalize_gen_kwargs(arguments[0], self.max_gen_toks)
            stops = handle_stop_sequences(settings["until"], eos=eos)
            max_new = settings["max_gen_toks"]
            room = self.max_length - max_new
            if room <= 0:
                raise ValueError(
                    f"max_gen_toks = {max_new} leaves no room for a prompt in a context of {self.max_length} "
                    "tokens. Lower it in the task's generation_kwargs."
                )
            prompts = [self._prompt_tokens(context)[-room:] for context in contexts]
            for tokens in greedy(self.model, self.tokenizer, prompts, stops, max_new, token_text):
                answers.append(postprocess_generated_text(self.tok_decode(tokens), stops, None))
        return order.get_original(answers)

    def _prompt_tokens(self, context: str) -> list[int]:
        """A prompt's tokens with what the tokenizer adds by itself, unless the text begins with BOS already."""
        plain = has_bos_prefix(context, getattr(self.tokenizer, "bos_token", None))
        return self.tok_encode(context, add_special_tokens=not plain)

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[float]:
        """log P of each document in nats, in disjoint windows of the model's context."""
        owners: list[int] = []
        windows: list[tuple[list[int], list[int]]] = []
        for index, request in enumerate(requests):
            for window in get_rolling_token_windows(
                token_list=self.tok_encode(request.args[0], add_special_tokens=False),
                prefix_token=self.prefix_token_id,
                max_seq_len=self.max_length,
                context_len=1,
            ):
                owners.append(index)
                windows.append(make_disjoint_window(window))
        totals = [0.0] * len(requests)
        order = sorted(range(len(windows)), key=lambda i: -sum(map(len, windows[i])))
        for start in range(0, len(order), self.batch_size):
            batch = order[start : start + self.batch_size]
            for index, value in zip(batch, self._score([windows[i] for i in batch]), strict=True):
                totals[owners[index]] += value
        return totals

    @torch.inference_mode()
    def _score(self, windows: list[tuple[list[int], list[int]]]) -> list[float]:
        """log P(target | context) in nats for each (context, target) of one batch."""
        rows = [context + target for context, target in windows]
        width = max(map(len, rows)) - 1
        pad = 0  # to the right of everything scored: a causal model never sees it
        inputs = torch.tensor([row[:-1] + [pad] * (width + 1 - len(row)) for row in rows], device=self.device)
        logits_BTV = self._model_call(inputs)
        values = []
        for logits_TV, row, (_, target) in zip(logits_BTV, rows, windows, strict=True):
            scored_TV = logits_TV[len(row) - 1 - len(target) : len(row) - 1].float()
            target_T = torch.tensor(target, device=self.device)
            chosen_T = scored_TV.gather(-1, target_T[:, None]).squeeze(-1)
            values.append(float((chosen_T - scored_TV.logsumexp(-1)).double().sum()))
        return values
