"""What both backends make of lm-eval's requests: token ids that are remembered, and what is asked of a generation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lm_eval.models.utils import handle_stop_sequences, has_bos_prefix, normalize_gen_kwargs

from eval.backends.stops import StopStrings

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass
class Requests:
    """What depends on the tokenizer only, and so serves all models that share it.

    Attributes:
        tokenizer: of the models.
        encoded: (text, whether special tokens are added) → its tokens.
        appended: tokens that the tokenizer puts behind every text. They are left out: an answer to a prompt that has
            ended answers nothing, and a choice behind one is scored for its end.
    """

    tokenizer: PreTrainedTokenizerBase
    encoded: dict[tuple[str, bool], list[int]] = field(default_factory=dict)
    appended: list[int] = field(init=False)
    _stops: dict[tuple[str, ...], StopStrings] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.appended = appended_tokens(self.tokenizer)

    def encode(self, text: str, special: bool) -> list[int]:
        """A text's tokens, remembered; ``special`` adds those that the tokenizer puts before it."""
        key = (text, special)
        if key not in self.encoded:
            tokens = self.tokenizer.encode(text, add_special_tokens=special)
            end = len(tokens) - len(self.appended)
            self.encoded[key] = tokens[:end] if special and tokens[end:] == self.appended else tokens
        return self.encoded[key]

    def stop_strings(self, stops: Sequence[str]) -> StopStrings:
        """The stop strings of a request."""
        return self._stops.setdefault(tuple(stops), StopStrings(self.tokenizer, stops))


def appended_tokens(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The special tokens that a tokenizer puts behind a text, mostly EOS where ``add_eos_token`` is on."""
    for text in ("a", "1", "."):
        plain, full = (tokenizer.encode(text, add_special_tokens=special) for special in (False, True))
        for start in range(len(full) - len(plain) + 1):
            if plain and full[start : start + len(plain)] == plain:
                return list(full[start + len(plain) :])
    return []


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

    def options(self) -> dict[str, Any]:
        """``sampling`` as transformers' ``generate`` takes it: greedy search knows no temperature of 0."""
        return {key: value for key, value in self.sampling.items() if key != "temperature" or value}
