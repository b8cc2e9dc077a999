"""A conversation as a chat template writes it, with its system turn also where the template refuses one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def conversation(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[dict[str, str]], add_generation_prompt: bool = True
) -> str:
    """A conversation as the tokenizer's chat template writes it.

    A task's description comes as a system message, which some templates refuse (Gemma's). It then stands before the
    first question, as it does without a template. (lm-eval's `HFLM.apply_chat_template` leaves it out, and with it
    what is asked for.)

    Raises:
        ValueError: the template refuses what is left as well.
    """
    from jinja2.exceptions import TemplateError

    def written(said: Sequence[dict[str, str]]) -> str:
        text = tokenizer.apply_chat_template(
            list(said),
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
            continue_final_message=not add_generation_prompt,
        )
        assert isinstance(text, str)
        return text

    try:
        return written(messages)
    except TemplateError:
        try:
            return written(_without_system(messages))
        except TemplateError as error:
            raise ValueError(
                f"the tokenizer's chat template refuses the prompts ({error}); set eval.chat_template=off"
            ) from error


def _without_system(messages: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """The same with what the system says at the beginning of the first turn of another role."""
    said = "".join(message["content"] for message in messages if message["role"] == "system")
    first, *rest = (message for message in messages if message["role"] != "system")
    space = "" if said[-1:].isspace() or not said else "\n\n"
    return [{**first, "content": f"{said}{space}{first['content']}"}, *rest]
