"""lm-eval's Hugging Face model with the same answers at a fraction of the time.

Three things differ from ``lm_eval.models.huggingface.HFLM``, none of which changes a score:

- tokenised requests are kept in a ``Requests`` store that any number of models share;
- generation runs in ``eval.backends.generate``, where every row ends by itself;
- log-likelihoods, rolling ones and those of choices, sort all rows by length before they make batches, take the
  target's logit minus the log-sum-exp in fp32 instead of a second array of log-probabilities, and hold the logits of
  some positions at a time only (`eval.backends.logits`). In bf16 lm-eval rounds them to bf16 first.

Rolling log-likelihood never adds special tokens to the text: a tokenizer that prepends BOS by itself would
score P(BOS | BOS) once a document, for the window's own prefix token is that BOS already. For a fair
comparison lm-eval's own command needs ``--model_args …,add_bos_token=False`` for ``wikitext`` there.
"""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from lm_eval.models.huggingface import HFLM
from lm_eval.models.utils import Collator, has_bos_prefix, postprocess_generated_text

from eval.backends.batching import Window, cut_window, longest_first, rolling_windows, scored_documents
from eval.backends.generate import embedding_rows, greedy, library, own_settings, supports
from eval.backends.logits import TokenScorer
from eval.backends.requests import Asked, Requests, prompt_tokens

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance
    from transformers import PreTrainedModel


class CausalLM(HFLM):
    """A loaded causal language model, as lm-eval sees it."""

    def __init__(self, model: PreTrainedModel, requests: Requests, batch_size: int) -> None:
        """Args: batch_size: rows of a batch, prompts or windows; never chosen by the harness."""
        super().__init__(
            pretrained=model, tokenizer=requests.tokenizer, batch_size=batch_size, trust_remote_code=False
        )
        self.shared = requests
        #: Task → generated answers that were cut at the most tokens asked for.
        self.unended: Counter[str] = Counter()
        #: Tokens that the model's embeddings have.
        self.rows = embedding_rows(model)
        #: What the model's ``generation_config`` adds to greedy search.
        self.own_settings = own_settings(model)

    @cached_property
    def scorer(self) -> TokenScorer:
        """Scores tokens by the model."""
        return TokenScorer(self.model)

    @cached_property
    def _prefix(self) -> str:
        return str(self.tokenizer.decode(self.prefix_token_id))

    def tok_encode(
        self,
        string: str,
        add_special_tokens: bool | None = None,
        left_truncate_len: int | None = None,
        **kwargs: Any,
    ) -> list[int]:
        """As the parent's, remembered; None adds special tokens unless the string begins with BOS already.

        What the tokenizer puts behind a text is left out (`eval.backends.requests.Requests`).
        """
        if add_special_tokens is None:
            add_special_tokens = not has_bos_prefix(string, self._prefix)
        tokens = self.shared.encode(string, add_special_tokens)
        return tokens[-left_truncate_len:] if left_truncate_len else tokens

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """The answer to each request, cut at its first stop string.

        Raises:
            ValueError: no room for a prompt beside ``max_gen_toks`` in the model's context.
        """
        fast = supports(self.model)
        # The same order as the parent class: longest prompt first, one group for each set of arguments.
        order = Collator(
            [req.args for req in requests],
            sort_fn=lambda args: (-len(prompt_tokens(self, args[0])), args[0]),
            group_by="gen_kwargs",
            group_fn=lambda args: args[1],
        )
        answers: list[tuple[str, bool]] = []
        for chunk in order.get_batched(n=self.batch_size):
            contexts, arguments = zip(*chunk, strict=True)
            asked = Asked.of(self, arguments[0])
            prompts = [prompt_tokens(self, context)[-asked.room :] for context in contexts]
            stops = self.shared.stop_strings(asked.stops)
            batch = (self.model, self.tokenizer, prompts, stops, asked.max_new)
            greedily = fast and not asked.sampling["do_sample"]
            for tokens in greedy(*batch) if greedily else library(*batch, asked.options()):
                text = postprocess_generated_text(self.tok_decode(tokens), asked.stops, None)
                answers.append((text, len(tokens) == asked.max_new and not stops.hit(tokens)))
        answers = order.get_original(answers)
        self.unended += Counter(r.task_name for r, (_, cut) in zip(requests, answers, strict=True) if cut)
        return [text for text, _ in answers]

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[float]:
        """log P of each document in nats, in disjoint windows of the model's context."""
        documents = (
            rolling_windows(
                self.tok_encode(request.args[0], add_special_tokens=False), self.prefix_token_id, self.max_length
            )
            for request in requests
        )
        return scored_documents(
            documents, self.batch_size, lambda windows: [value for value, _ in self._score(windows)]
        )

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """As the parent's, without a bar for each model."""
        scored: list[tuple[float, bool]] = super().loglikelihood(requests, disable_tqdm=True)
        return scored

    def _loglikelihood_tokens(
        self, requests: list[tuple[tuple[str, str], list[int], list[int]]], *_: Any, **__: Any
    ) -> list[tuple[float, bool]]:
        """log P of each continuation in nats and whether it is the greedy one; choices of one token share a row."""
        windows = [cut_window(context, target, self.max_length) for _, context, target in requests]
        rows: dict[tuple[int, ...], list[int]] = {}
        for index, window in enumerate(windows):
            rows.setdefault(_fed(window), []).append(index)
        fed, owners = list(rows), list(rows.values())
        found: dict[int, tuple[float, bool]] = {}
        for batch in longest_first(fed, self.batch_size, len):
            own = [index for row in batch for index in owners[row]]
            found.update(zip(own, self._score([windows[index] for index in own]), strict=True))
        return [found[index] for index in range(len(windows))]

    def _score(self, windows: list[Window]) -> list[tuple[float, bool]]:
        """log P(targets | context) in nats, and whether they are the greedy choice, for each window of one batch."""
        rows = {fed: row for row, fed in enumerate(dict.fromkeys(map(_fed, windows)))}
        width = max(map(len, rows))
        pad = 0  # to the right of everything scored: a causal model never sees it
        inputs_BT = torch.tensor([[*fed, *[pad] * (width - len(fed))] for fed in rows], device=self.device)
        places: list[int] = []
        for window in windows:
            first = rows[_fed(window)] * width + len(window[0]) - 1
            places += range(first, first + len(window[1]))
        values_N, best_N = self.scorer(inputs_BT, places, [token for _, target in windows for token in target])
        sizes = [len(target) for _, target in windows]
        return [
            (float(value_T.double().sum()), bool(best_T.all()))
            for value_T, best_T in zip(values_N.split(sizes), best_N.split(sizes), strict=True)
        ]


def _fed(window: Window) -> tuple[int, ...]:
    """What the model reads of a window: all but the last target."""
    context, target = window
    return (*context, *target[:-1])
