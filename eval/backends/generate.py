"""Generation for many prompts, without paying for rows that are done.

``transformers``' ``generate`` keeps a finished row in the batch until the last one ends, copies the whole
key-value cache at every step, and lm-eval's stop criterion decodes every row once for every stop string and
step. Here a row ends with a stop string (`eval.backends.stops`) or an end token, finished rows leave the batch, and
the cache grows in place. The tokens are those of greedy search: the model's own forward is called with the same left
padding, mask and positions. Sampling, and models whose defaults ask for more than argmax, go to ``generate`` with the
same rule for the end of a row.

Shapes: B rows, P prompt tokens, V vocabulary.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from transformers.cache_utils import DynamicCache, DynamicLayer
from transformers.generation import StoppingCriteria, StoppingCriteriaList

from eval.backends.stops import StopStrings

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


def supports(model: PreTrainedModel) -> bool:
    """Whether ``greedy`` gives what ``model.generate`` would: a decoder with an ordinary key-value cache, and
    argmax alone, that is no penalties, biases or forced tokens in the model's defaults."""
    return (
        not model.config.is_encoder_decoder
        and not own_settings(model)
        and set(inspect.signature(model.forward).parameters) >= FORWARD_ARGUMENTS
        and all(isinstance(layer, DynamicLayer) for layer in DynamicCache(config=model.config).layers)
    )


def own_settings(model: PreTrainedModel) -> dict[str, Any]:
    """What a model's ``generation_config`` asks for beyond argmax, as a penalty; lm-eval's ``generate`` obeys it."""
    settings = model.generation_config.to_diff_dict() if model.generation_config is not None else {}
    return {key: value for key, value in settings.items() if key not in NEUTRAL_SETTINGS}


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
    stops: StopStrings,
    max_new: int,
) -> list[list[int]]:
    """The greedy continuation of every prompt.

    Args:
        model: a causal language model; ``supports`` must hold.
        tokenizer: names the pad token, and the end token where the model names none.
        prompts: token ids; they are one batch, padded on the left to the longest.
        stops: strings that end a row. The tokens returned still contain them.
        max_new: most tokens a row gets.

    Returns:
        New tokens for each prompt, up to and with its end token.
    """
    device = model.device
    ids_BP, mask_BP = _padded(model, tokenizer, prompts)
    longest = ids_BP.shape[1]
    mask_B = torch.cat([mask_BP, mask_BP.new_ones((len(prompts), max_new))], dim=1)
    positions_BP = (mask_BP.cumsum(-1) - 1).clamp(min=0)

    ends = end_tokens(model, tokenizer)
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
                alive[slot] = token not in ends and not stops.hit(new[row])
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


@torch.inference_mode()
def library(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    stops: StopStrings,
    max_new: int,
    options: dict[str, Any],
) -> list[list[int]]:
    """As `greedy`, by the model's own ``generate`` with ``options`` (``do_sample``, ``temperature`` and the like)."""
    ids_BP, mask_BP = _padded(model, tokenizer, prompts)
    longest = ids_BP.shape[1]
    ends = end_tokens(model, tokenizer)
    own: Any = model
    generated = own.generate(
        input_ids=ids_BP,
        attention_mask=mask_BP,
        max_length=longest + max_new,
        stopping_criteria=StoppingCriteriaList([_RowEnds(stops, longest)]),
        pad_token_id=pad_token(model, tokenizer, prompts),
        eos_token_id=sorted(ends),
        use_cache=True,
        tokenizer=tokenizer,  # for stop strings of the model's own
        **options,
    )
    new = [row[longest:] for row in generated.tolist()]
    lengths = [
        next((size for size in range(1, len(row) + 1) if row[size - 1] in ends or stops.hit(row[:size])), len(row))
        for row in new
    ]
    return [row[:length] for row, length in zip(new, lengths, strict=True)]


class _RowEnds(StoppingCriteria):
    """Which rows hold a stop string behind their prompts."""

    def __init__(self, stops: StopStrings, start: int) -> None:
        self.stops, self.start = stops, start

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> Any:
        rows = input_ids[:, self.start :].tolist()
        return torch.tensor([self.stops.hit(row) for row in rows], device=input_ids.device)


def pad_token(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[Sequence[int]]) -> int:
    """What fills up short rows: the tokenizer's pad token, or a prompt's token where the model has no row for that.

    No other position reads it. A ``[PAD]`` is often added to a tokenizer for training and not to the model.
    """
    pad = tokenizer.pad_token_id
    has_row = pad is not None and 0 <= pad < embedding_rows(model)
    return int(pad) if has_row else int(prompts[0][0])


def embedding_rows(model: PreTrainedModel) -> int:
    """How many tokens the model can read."""
    table: Any = model.get_input_embeddings()
    return int(table.weight.shape[0])


def _padded(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[Sequence[int]]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens and mask of a batch, both B × P, padded on the left."""
    longest = max(map(len, prompts))
    pad = pad_token(model, tokenizer, prompts)
    ids = [[pad] * (longest - len(prompt)) + list(prompt) for prompt in prompts]
    mask = [[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts]
    return torch.tensor(ids, device=model.device), torch.tensor(mask, device=model.device)


def _cache(model: PreTrainedModel, room: int) -> DynamicCache:
    """The model's own kind of cache, with its plain layers replaced by ones that grow in place."""
    cache = DynamicCache(config=model.config)
    cache.layers = [InPlaceLayer(room) if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache
