"""log P of given tokens, without ever holding the logits of a whole batch.

A window of 8,192 tokens has 2 · 10⁹ logits where the vocabulary has 256,000 entries: 4 GB in bf16, and several times
that while it is rescaled and normalised. Only some positions are scored, and the output head treats each by itself.
So the model's body runs once, and the head is applied to as many of the wanted positions at a time as `LOGITS`
allows. Where body and head cannot be told apart, all logits come from the model in one piece.

Shapes: B rows, T tokens, H hidden size, V vocabulary, N scored positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from eval.backends.batching import LOGITS

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class TokenScorer:
    """Scores tokens by a model.

    Attributes:
        model: the causal language model.
        split: whether its body and its head are applied one after the other (see the module's text).
    """

    def __init__(self, model: PreTrainedModel) -> None:
        """Find out whether the model's logits are its head's, by comparing them on two tokens."""
        self.model: Any = model
        self._cap = getattr(model.config.get_text_config(), "final_logit_softcapping", None)
        self.split = self._is_its_head()

    @torch.inference_mode()
    def __call__(
        self, inputs_BT: torch.Tensor, places: Sequence[int], targets: Sequence[int]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Score one token behind each of N places of a batch.

        Args:
            inputs_BT: tokens; padding stands to the right, where no scored position sees it.
            places: row · T + position of the last token before each target.
            targets: the tokens.

        Returns:
            log P of each target in nats, in fp32, and whether it is the most likely token there, on the CPU.
        """
        states = self._states(inputs_BT) if self.split else self.model(inputs_BT).logits
        states = states.flatten(0, 1)
        # Without the head the states are logits already, and only what follows is done in pieces.
        width = self.model.get_output_embeddings().weight.shape[0] if self.split else states.shape[-1]
        piece = max(1, LOGITS // width)
        values, best = [], []
        for start in range(0, len(places), piece):
            chosen = torch.tensor(places[start : start + piece], device=states.device)
            logits_NV = self._logits(states[chosen]) if self.split else states[chosen]
            target_N = torch.tensor(targets[start : start + piece], device=logits_NV.device)
            best.append((logits_NV.argmax(-1) == target_N).cpu())
            logits_NV = logits_NV.float()
            target_logit_N = logits_NV.gather(-1, target_N[:, None]).squeeze(-1)
            values.append((target_logit_N - logits_NV.logsumexp(-1)).cpu())
        return torch.cat(values), torch.cat(best)

    def _states(self, inputs_BT: torch.Tensor) -> torch.Tensor:
        """What the head reads, B × T × H. There is no cache: nothing is generated, and it can outgrow the weights."""
        states: torch.Tensor = self.model.get_decoder()(inputs_BT, use_cache=False).last_hidden_state
        return states

    def _logits(self, states_NH: torch.Tensor) -> torch.Tensor:
        """The head as Llama's and Gemma's ``forward`` apply it: N × V."""
        head = self.model.get_output_embeddings()
        # Mamba-2 and Nemotron-H add up their states in fp32, whatever the dtype of their weights.
        logits_NV: torch.Tensor = head(states_NH.to(head.weight.dtype))
        return logits_NV if self._cap is None else torch.tanh(logits_NV / self._cap) * self._cap

    @torch.inference_mode()
    def _is_its_head(self) -> bool:
        """Whether body and head give the model's own logits to the last bit.

        Other architectures scale the logits, or call the body differently. They must not be scored by this, and need
        not be: the model's own ``forward`` is always there.
        """
        inputs_BT = torch.tensor([[0, 1]], device=self.model.device)
        try:
            ours = self._logits(self._states(inputs_BT).flatten(0, 1))
        except (AttributeError, TypeError):
            return False
        theirs = self.model(inputs_BT).logits.flatten(0, 1)
        # A merge that has come apart has logits that are no numbers, in both. A model that is spread over GPUs gives
        # its own logits on the first one, its head on the last; some give fp32 whatever their dtype.
        return ours.shape == theirs.shape and torch.allclose(
            ours.to(theirs.device).float(), theirs.float(), rtol=0, atol=0, equal_nan=True
        )
