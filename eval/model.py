"""lm-eval's Hugging Face model with the same answers at a fraction of the time.

Three things differ from ``lm_eval.models.huggingface.HFLM``, none of which changes a score:

- tokenised requests are kept in a ``Requests`` store that any number of models share;
- greedy generation runs in ``eval.generate`` (sampling, and models that need more, go to the parent class);
- rolling log-likelihood sorts all windows by length before it makes batches, and takes the target's logit
  minus the log-sum-exp in fp32 instead of a second array of log-probabilities.

Rolling log-likelihood never adds special tokens to the text: a tokenizer that prepends BOS by itself would
score P(BOS | BOS) once a document, for the window's own prefix token is that BOS already. For a fair
comparison lm-eval's own command needs ``--model_args …,add_bos_token=False`` for ``wikitext`` there.

`language_model` chooses between this model and the one of `eval.vllm_lm`.
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

from eval.batching import Window, rolling_windows, scored_documents
from eval.generate import greedy, pieces, supports
from eval.vllm import Engine

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance
    from lm_eval.api.model import TemplateLM
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from eval.settings import EvalSettings


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


def prompt_tokens(lm: Any, context: str) -> list[int]:
    """A prompt's tokens with what the tokenizer adds by itself, unless the text begins with BOS already."""
    plain = has_bos_prefix(context, getattr(lm.tokenizer, "bos_token", None))
    return list(lm.tok_encode(context, add_special_tokens=not plain))


@dataclass(frozen=True)
class Asked:
    """What a request's arguments ask of a generation.

    Attributes:
        stops: strings that end an answer; the end token's text is one of them.
        max_new: most tokens of an answer.
        room: most tokens of a prompt, whose beginning is cut off.
        sampling: the rest: ``do_sample``, ``temperature`` (0 is greedy) and the like.
    """

    stops: list[str]
    max_new: int
    room: int
    sampling: dict[str, Any]

    @classmethod
    def of(cls, lm: Any, arguments: dict[str, Any]) -> Asked:
        """Read the arguments; ValueError where `lm`'s context has no room for a prompt beside the answer."""
        settings: dict[str, Any] = dict(normalize_gen_kwargs(arguments, lm.max_gen_toks))
        eos = lm.tok_decode(lm.eot_token_id, skip_special_tokens=False)
        stops, max_new = handle_stop_sequences(settings.pop("until"), eos=eos), settings.pop("max_gen_toks")
        # What transformers does where nothing is said.
        settings.setdefault("temperature", 1.0 if settings["do_sample"] else 0.0)
        room = lm.max_length - max_new
        if room <= 0:
            raise ValueError(
                f"max_gen_toks = {max_new} leaves no room for a prompt in a context of {lm.max_length} "
                "tokens. Lower it in the task's generation_kwargs."
            )
        return cls(stops, max_new, room, settings)


def language_model(model: PreTrainedModel | Engine, requests: Requests, settings: EvalSettings) -> TemplateLM:
    """A model as lm-eval sees it, on the settings' device.

    Args:
        model: for ``backend="hf"`` a causal language model in the settings' dtype, which is moved to the device and
            left there (one that accelerate has spread over devices stays as it is); for ``"vllm"`` an open
            `eval.vllm.Engine`.
        requests: what models with one tokenizer share.
        settings: ``backend``, ``device``, ``batch_size`` and ``seed`` count here.

    Raises:
        ValueError: a device that this machine has not, or a model that does not belong to the backend.
    """
    if (settings.backend == "vllm") != isinstance(model, Engine):
        wanted = "an open eval.vllm.Engine" if settings.backend == "vllm" else "a model of transformers"
        raise ValueError(f"eval.backend={settings.backend} scores {wanted}, not {type(model).__name__}")
    if isinstance(model, Engine):
        from eval.vllm_lm import EngineLM

        return EngineLM(model, requests, settings.seed)
    device = settings.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"eval.device={device}: there is no GPU that this PyTorch can use; set eval.device=cpu")
    loaded: Any = model
    placed = loaded if getattr(model, "hf_device_map", None) else loaded.to(device)
    return CausalLM(placed, requests, settings.batch_size)


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
        token_text = self.shared.pieces(self.model.config.get_text_config().vocab_size)
        # The same order as the parent class: longest prompt first, one group for each set of arguments.
        order = Collator(
            [req.args for req in requests],
            sort_fn=lambda args: (-len(prompt_tokens(self, args[0])), args[0]),
            group_by="gen_kwargs",
            group_fn=lambda args: args[1],
        )
        answers = []
        for chunk in order.get_batched(n=self.batch_size):
            contexts, arguments = zip(*chunk, strict=True)
            asked = Asked.of(self, arguments[0])
            prompts = [prompt_tokens(self, context)[-asked.room :] for context in contexts]
            for tokens in greedy(self.model, self.tokenizer, prompts, asked.stops, asked.max_new, token_text):
                answers.append(postprocess_generated_text(self.tok_decode(tokens), asked.stops, None))
        return order.get_original(answers)

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[float]:
        """log P of each document in nats, in disjoint windows of the model's context."""
        documents = (
            rolling_windows(
                self.tok_encode(request.args[0], add_special_tokens=False), self.prefix_token_id, self.max_length
            )
            for request in requests
        )
        return scored_documents(documents, self.batch_size, self._score)

    @torch.inference_mode()
    def _score(self, windows: list[Window]) -> list[float]:
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
