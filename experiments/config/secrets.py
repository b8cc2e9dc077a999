"""No secret of the environment goes into a result: what would be written is refused, what is printed is masked.

A variable holds a secret where its name looks like it (``HF_TOKEN``, ``WANDB_API_KEY``). No key of a configuration
takes a secret; a judge's key is named by its variable (``eval.judge.key_env``) and read there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

_NAME = re.compile(
    r"SECRET|PASSWORD|PASSWD|PASSPHRASE|(API|ACCESS|AUTH|PRIVATE)_?(KEY|TOKEN)"
    r"|(^|[_.-])(TOKEN|KEY|AUTH|PAT|CREDENTIALS?)\d*$",
    re.IGNORECASE,
)
#: Characters below which a value is too common to be looked for, and from which it is itself wherever it stands.
_SHORT, _LONG = 6, 12


def looks_secret(name: str) -> bool:
    """Whether what is called `name` is a secret by that name."""
    return _NAME.search(name) is not None


def masked(text: str) -> str:
    """`text` with the name of the variable in place of a secret of the environment."""
    for name, value in sorted(_secrets().items(), key=lambda item: -len(item[1])):
        text = text.replace(value, f"<{name}>")
    return text


def refuse_words(words: Sequence[str]) -> None:
    """ValueError where a word of the command line holds a secret: the command is a part of every result."""
    for word in words:
        _refuse(word.partition("=")[0], word, interpolated=False)


def refuse_values(config: DictConfig) -> None:
    """ValueError where a value of a composed configuration holds a secret, such as by ``${oc.env:HF_TOKEN}``."""
    written = dict(_leaves(OmegaConf.to_container(config, resolve=False)))
    for key, value in _leaves(OmegaConf.to_container(config, resolve=True)):
        _refuse(key, str(value), interpolated="${" in str(written.get(key, "${")))


def _refuse(key: str, text: str, *, interpolated: bool) -> None:
    for name, value in _secrets().items():
        if value in text and (interpolated or len(value) >= _LONG):
            raise ValueError(
                f"{key} holds the value of the environment variable {name}, a secret by its name, which every result "
                "would repeat; leave it out"
            )


def _secrets() -> dict[str, str]:
    found = {name: value.strip() for name, value in os.environ.items() if looks_secret(name)}
    return {name: value for name, value in found.items() if len(value) >= _SHORT}


def _leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if not isinstance(value, (dict, list)):
        yield key, value
        return
    for name, child in value.items() if isinstance(value, dict) else enumerate(value):
        yield from _leaves(child, f"{key}.{name}" if key else str(name))
