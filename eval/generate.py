"""Greedy generation for many prompts, without paying for rows that are done.

``transformers``' ``generate`` keeps a finished row in the batch until the last one ends, copies the whole
key-value cache at every step, and lm-eval's stop criterion decodes every row once for every stop string and
step. Here a row ends as soon as its text holds a stop string or an end token, finished rows leave the batch,
and the cache grows in place. The tokens are those of greedy search: the model's own forward is called with the
same left padding, mask and positions.

Shapes: B rows, P prompt tokens, V vocabulary.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from transformers.cache_utils import DynamicCache, DynamicLayer

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

#: Finished rows leave the batch once they are this share of it; below it, copying the cache costs more.
COMPACT_SHARE = 0.125

#: Settings of a model's ``generation_config`` that greedy search does not read.
NEUTRAL_SETTINGS = {
    *("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id"),
    *("do_sample", "temperature", "top_k", "top_p", "min_p", "typical_p"),
    *("max_length", "use_cache", "cache_implementation", "return_dict_in_generate"),
    *("output_attentions", "output_hidden_states", "output_scores", "output_logits"),
    *("transformers_version", "_from_model_config"),
}

#: What the loop passes to a model's forward.
FORWARD_ARGUMENTS = {"input_ids", "attention_mask", "position_ids", "past_key_values", "use_cache", "logits_to_keep"}


class InPlaceLayer(DynamicLayer):
    """A layer of the cache with room for all tokens to come, so that a step writes one column only."""

    def __init__(self, room: int) -> None:
        """Args: room: tokens that will follow the first ``update``."""
        super().__init__()
        self.room = room
        self.storage: tuple[torch.Tensor, torch.Tensor] | None = None

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append the new columns; returns views of keys and values, B × heads × length × head size."""
        start = self.get_seq_length()
        end = start + key_states.shape[-2]
        if self.storage is None:
            self.lazy_initialization(key_states, value_states)
            self.storage = (self._empty(key_states), self._empty(value_states))
        keys, values = self.storage
        keys[:, :, start:end] = key_states
        values[:, :, start:end] = value_states
        self.keys, self.values = keys[:, :, :end], values[:, :, :end]
        return self.keys, self.values

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keep the named rows."""
        if self.storage is not None:
            length = self.get_seq_length()
            keys, values = (part.index_select(0, indices) for part in self.storage)
            self.storage = (keys, values)
            self.keys, self.values = keys[:, :, :length], values[:, :, :length]

    def _empty(self, states: torch.Tensor) -> torch.Tensor:
        batch, heads, length, size = states.shape
        return states.new_empty((batch, heads, length + self.room, size))


class StopText:
    """Tells when a row's text holds a stop string, looking at new text only.

    A row's text is kept as the tokens' pieces put together. That can differ from decoding the row as a whole
    (a piece may lose a leading space or be half a character), so a hit counts only when the decoded row
    holds the stop string too, and a miss costs steps, never a different answer.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, stops: Sequence[str], rows: int) -> None:
        self.tokenizer = tokenizer
        # A stop string inside a longer one must not end the row before the longer one can begin earlier.
        self.stops = [s for s in stops if s and not any(s in t and not t.startswith(s) for t in stops)]
        self.reach = max((len(s) for s in self.stops), default=1) - 1
        self.tails = [""] * rows

    def hit(self, row: int, tokens: list[int], piece: str) -> bool:
        """Whether row ``row`` is done, after ``tokens`` of which the last one reads ``piece``."""
        text = self.tails[row] + piece
        self.tails[row] = text[-self.reach :] if self.reach else ""
        if not any(stop in text for stop in self.stops):
            return False
        decoded = self.tokenizer.decode(tokens, skip_special_tokens=True)
        return any(stop in decoded for stop in self.stops)


def pieces(tokenizer: PreTrainedTokenizerBase, size: int) -> list[str]:
    """The text of every token by itself; special tokens read as nothing."""
    special = set(tokenizer.all_special_ids)
    texts = tokenizer.batch_decode([[token] for token in range(size)])
    return ["" if token in special else text for token, text in enumerate(texts)]


def supports(model: PreTrainedModel) -> bool:
    """Whether ``greedy`` gives what ``model.generate`` would: a decoder with an ordinary key-value cache, and
    argmax alone, that is no penalties, biases or forced tokens in the model's defaults."""
    settings = model.generation_config.to_diff_dict() if model.generation_config is not None else {}
    return (
        not model.config.is_encoder_decoder
        and set(settings) <= NEUTRAL_SETTINGS
        and set(inspect.signature(model.forward).parameters) >= FORWARD_ARGUMENTS
        and all(isinstance(layer, DynamicLayer) for layer in DynamicCache(config=model.config).layers)
    )


def end_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """The tokens that end a row, as ``generate`` reads them from the model."""
    config = model.generation_config
    ends = config.eos_token_id if config is not None else model.config.eos_token_id
    if ends is None:
        ends = tokenizer.eos_token_id
    return set(ends) if isinstance(ends, (list, tuple)) else {int(ends)} if ends is not None else set()


@torch.inference_mode()
def greedy(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    stops: Sequence[str],
    max_new: int,
    token_text: Sequence[str],
) -> list[list[int]]:
    """The greedy continuation of every prompt.

    Args:
        model: a causal language model; ``supports`` must hold.
        tokenizer: gives the pad token, and decodes to confirm a stop.
        prompts: token ids; they are one batch, padded on the left to the longest.
        stops: strings that end a row. The tokens returned still contain them.
        max_new: most tokens a row gets.
        token_text: what ``pieces`` returns for the tokenizer.

    Returns:
        New tokens for each prompt, up to and with its end token.
    """
    device = model.device
    longest = max(len(prompt) for prompt in prompts)
    pad = tokenizer.pad_token_id
    ids_BP = torch.tensor([[pad] * (longest - len(p)) + list(p) for p in prompts], device=device)
    lengths_B = torch.tensor([len(p) for p in prompts], device=device)
    room_B = torch.arange(longest + max_new, device=device)
    mask_B = (room_B >= longest - lengths_B[:, None]).long()
    positions_BP = (mask_B[:, :longest].cumsum(-1) - 1).masked_fill(mask_B[:, :longest] == 0, 0)

    ends = end_tokens(model, tokenizer)
    stop = StopText(tokenizer, stops, len(prompts))
    new: list[list[int]] = [[] for _ in prompts]
    rows = list(range(len(prompts)))
    alive = [True] * len(rows)
    cache = _cache(model, max_new)
    inputs, position = ids_BP, positions_BP
    for step in range(max_new):
        logits_BV = model(
            input_ids=inputs,
            attention_mask=mask_B[:, : longest + step],
            position_ids=position,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]
        chosen_B = logits_BV.argmax(-1)
        for slot, token in enumerate(chosen_B.tolist()):
            if alive[slot]:
                row = rows[slot]
                new[row].append(token)
                alive[slot] = token not in ends and not stop.hit(row, new[row], token_text[token])
        living = sum(alive)
        if not living:
            break
        inputs, position = chosen_B[:, None], position[:, -1:] + 1
        if len(rows) - living >= max(1, COMPACT_SHARE * len(rows)):
            keep = torch.tensor([slot for slot, lives in enumerate(alive) if lives], device=device)
            cache.batch_select_indices(keep)
            inputs, position, mask_B = inputs[keep], position[keep], mask_B[keep]
            rows = [row for row, lives in zip(rows, alive, strict=True) if lives]
            alive = [True] * len(rows)
    return new


def _cache(model: PreTrainedModel, room: int) -> DynamicCache:
    """The model's own kind of cache, with its plain layers replaced by ones that grow in place."""
    cache = DynamicCache(config=model.config)
    cache.layers = [InPlaceLayer(room) if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache
