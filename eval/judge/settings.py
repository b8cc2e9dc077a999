"""Which language model grades refusals, and how it may be asked; checked at once, nothing heavy imported.

The key itself is never a setting: ``key_env`` names the environment variable that holds it, so that no
configuration, log, cache or table can contain it. For the same reason values that could be a key put in the wrong
place are refused without being shown.
"""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from eval.judge.rubric import RUBRIC_VERSION


@dataclass(frozen=True)
class JudgeSettings:
    """An OpenAI-compatible endpoint and its limits.

    Attributes:
        base_url: where the endpoint's interface begins; usually ends in ``/v1``.
        model: the judge's name at the endpoint. Name a dated version where there is one: a moving name moves scores.
        key_env: the environment variable that holds the key; None for an endpoint that needs none.
        max_retries: further tries after a time limit, a broken connection, 429 or 5xx, for each request.
        requests_per_minute: most requests that start in a minute, retries included.
        timeout_s: seconds without a byte before a request is given up.
        concurrency: most requests under way at once.
        max_tokens: most tokens of a reply. A judge that thinks aloud needs more than the default.
        price_in, price_out: price of a million tokens sent and received, in any one currency; both or neither.
        max_price: refuse to start where the estimate is above it; needs prices.
        cache: folder of judgements made before; None keeps nothing.

    Raises:
        ValueError: a value that cannot be right; the message names the key.
    """

    base_url: str
    model: str
    key_env: str | None = "OPENAI_API_KEY"
    max_retries: int = 5
    requests_per_minute: float = 60.0
    timeout_s: float = 60.0
    concurrency: int = 4
    max_tokens: int = 512
    price_in: float | None = None
    price_out: float | None = None
    max_price: float | None = None
    cache: Path | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "base_url", _checked_url(self.base_url))
        if not (isinstance(self.model, str) and self.model.strip()):
            raise ValueError("eval.judge.model is not set: name the judge as its endpoint knows it.")
        if self.key_env is not None and not re.fullmatch(r"[A-Z_][A-Z0-9_]{0,63}", str(self.key_env)):
            raise ValueError(
                "eval.judge.key_env must be the name of an environment variable in capitals, such as OPENAI_API_KEY "
                "(the value is not shown: it may be the key itself)."
            )
        for name, lowest in (("max_retries", 0), ("concurrency", 1), ("max_tokens", 16)):
            value = getattr(self, name)
            if type(value) is not int or value < lowest:
                raise ValueError(f"eval.judge.{name} must be a whole number of at least {lowest}, not {value!r}.")
        for name in ("requests_per_minute", "timeout_s"):
            if not _number(getattr(self, name)) or getattr(self, name) == 0:
                raise ValueError(f"eval.judge.{name} must be a number above 0, not {getattr(self, name)!r}.")
        for name in ("price_in", "price_out", "max_price"):
            if getattr(self, name) is not None and not _number(getattr(self, name)):
                raise ValueError(f"eval.judge.{name} must be a number of at least 0, not {getattr(self, name)!r}.")
        if (self.price_in is None) != (self.price_out is None):
            raise ValueError("eval.judge.price_in and eval.judge.price_out belong together: set both or neither.")
        if self.max_price is not None and self.price_in is None:
            raise ValueError("eval.judge.max_price needs eval.judge.price_in and eval.judge.price_out.")
        if self.cache is not None:
            object.__setattr__(self, "cache", Path(self.cache))

    def read_key(self) -> str:
        """The key from the environment; empty where none is needed.

        Raises:
            ValueError: the variable is not set, or holds what no key can be.
        """
        if self.key_env is None:
            return ""
        key = os.environ.get(self.key_env, "").strip()
        if not key:
            raise ValueError(
                f"the environment variable {self.key_env} is not set: put the judge's key there, or set "
                "eval.judge.key_env=null for an endpoint that needs none."
            )
        if not all("!" <= character <= "~" for character in key):
            raise ValueError(
                f"the environment variable {self.key_env} holds spaces or characters that no key has. Set it again."
            )
        return key

    def deciding(self) -> dict[str, str | int]:
        """What decides a judge's scores, ready for JSON: for fingerprints and score rows."""
        return {
            "base_url": self.base_url,
            "model": self.model,
            "rubric": RUBRIC_VERSION,
            "max_tokens": self.max_tokens,
        }


def _number(value: object) -> bool:
    """Whether ``value`` is a finite number of at least 0."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and value >= 0


def _checked_url(value: object) -> str:
    """``value`` without its last slashes, if it is a plain http address."""
    text = str(value or "").strip().rstrip("/")
    hint = "Give a plain address such as https://api.openai.com/v1."
    try:
        parts = urlsplit(text)
        fine = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        fine = False
    if not fine:
        raise ValueError(f"eval.judge.base_url is not an http or https address. {hint}")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError(f"eval.judge.base_url holds a user, a query or a fragment; keys go in key_env. {hint}")
    return text
