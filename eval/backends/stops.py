"""When an answer ends: lm-evaluation-harness's rule for stop strings, decided for each row by itself.

lm-eval decodes the last tokens of an answer, special tokens included, after every token and for every stop string. So
``<|im_end|>`` or ``</s>`` end an answer also where the model's ``generation_config`` names another end. The answer is
then decoded without special tokens and cut at the stop strings that are left in it.

lm-eval ends a batch when all its rows hold the same stop string, and a row that is done goes on until then. What it
writes meanwhile is cut off where the stop string is ordinary text, and stays in the answer where it is a special
token: there lm-eval's answers depend on the batch. Here every row ends by itself, as with lm-eval's batch size of 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

#: Tokens that lm-eval decodes beyond those of the stop string's own encoding (``MultiTokenEOSCriteria``).
LOOKBACK = 2


class StopStrings:
    """The stop strings of a task for one tokenizer.

    Decoding after every token would take longer than a small model's step, so it is left out where the last token's
    text cannot be the end of a stop string.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, stops: Sequence[str]) -> None:
        """Args: stops: strings that end an answer; an empty one ends it at its first token, as in lm-eval."""
        self.tokenizer = tokenizer
        self.reach = {stop: len(tokenizer.encode(stop, add_special_tokens=False)) + LOOKBACK for stop in stops}
        self._completing: dict[int, bool] = {}

    def hit(self, tokens: Sequence[int]) -> bool:
        """Whether an answer ends with its last token."""
        last = tokens[-1]
        if last not in self._completing:
            self._completing[last] = self._can_complete(last)
        # The first token of an answer may read otherwise than it does behind another.
        if len(tokens) > 1 and not self._completing[last]:
            return False
        return any(stop in str(self.tokenizer.decode(list(tokens[-reach:]))) for stop, reach in self.reach.items())

    def _can_complete(self, token: int) -> bool:
        """Whether a stop string can end in what ``token`` adds to a text; True where that cannot be known."""
        alone, twice = (str(self.tokenizer.decode([token] * count)) for count in (1, 2))
        added = twice.removeprefix(alone)
        if not added or not twice.startswith(alone) or "\ufffd" in twice:  # a part of a character
            return True
        return any(_ends_in(stop, added) or _ends_in(_bare(stop), _bare(added)) for stop in self.reach)


def _ends_in(stop: str, text: str) -> bool:
    """Whether ``stop`` can end in ``text``, having begun before it or not."""
    return not text or stop in text or any(stop.endswith(text[:size]) for size in range(1, len(text) + 1))


def _bare(text: str) -> str:
    """Without spaces, which decoders add between tokens and take away."""
    return text.replace(" ", "")
