"""Asks an OpenAI-compatible endpoint through the ``openai`` client, at a steady rate and with patience.

The client's own retries are off, for they skip the rate limit and do not hold back other requests. Here every try
waits its turn, ``Retry-After`` holds back all requests under way, and other failures back off exponentially with
jitter. The key is read from the environment at the last moment and cut out of every text that comes back.
"""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from eval.judge.pace import RETRY_AFTER_MAX_S, Pace, backoff, retry_after
from eval.judge.rubric import shortened
from eval.judge.settings import JudgeSettings

#: Error codes that say why this one answer will get no grade.
DECLINED = {
    "content_filter": "the endpoint's content filter blocked the request",
    "content_policy_violation": "the endpoint's content filter blocked the request",
    "context_length_exceeded": "the answer is too long for the judge's context",
}

#: Loggers that write headers or addresses of every request at their finer levels.
TRANSPORT_LOGGERS = ("openai", "httpx", "httpx2", "httpcore", "httpcore2")

#: Shortest key that is cut out of texts; a placeholder such as "x" is no secret and would cut words apart.
SECRET_CHARACTERS = 8


@dataclass(frozen=True)
class Reply:
    """What the judge said.

    Attributes:
        text: its message, empty if there is none.
        declined: why it will not grade this answer, or None.
        cut: whether the reply ran into ``max_tokens``.
    """

    text: str
    declined: str | None = None
    cut: bool = False


class Endpoint:
    """The judge's endpoint; ``ask`` may be called from several threads."""

    def __init__(self, settings: JudgeSettings, pace: Pace) -> None:
        """Raises:
        ValueError: the ``openai`` package or the key is missing.
        """
        try:
            import openai
        except ImportError as error:
            raise ValueError(
                "the judge needs the openai package. Install the extra: pip install 'lata-bench[judge]', "
                "or leave eval.judge out to score refusals by rule."
            ) from error
        self.settings = settings
        self.pace = pace
        self._openai = openai
        key = settings.read_key()
        self._secret = key if len(key) >= SECRET_CHARACTERS else ""
        self._client: Any = openai.OpenAI(
            api_key=key or "none", base_url=settings.base_url, timeout=settings.timeout_s, max_retries=0
        )
        if urlsplit(settings.base_url).hostname != "api.openai.com":
            # The client reads these from the environment; they are nobody else's business.
            self._client.organization = self._client.project = None
        self._options: dict[str, Any] = {"max_tokens": settings.max_tokens, "seed": 0}

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def ask(self, messages: list[dict[str, str]]) -> Reply:
        """One reply at temperature 0.

        Raises:
            ValueError: the endpoint refuses such requests, or does not answer after all retries.
            Stopped: another request has failed.
        """
        failures = 0
        while True:
            self.pace.take()
            options = dict(self._options)
            error: Exception | None = None
            try:
                completion = self._client.chat.completions.create(
                    model=self.settings.model, messages=messages, temperature=0, **options
                )
                if (reply := self._read(completion)) is not None:
                    return reply
                problem = "the reply is no chat completion"
            except (self._openai.OpenAIError, json.JSONDecodeError) as caught:
                error = caught
                problem = self._clean(str(caught)).rstrip(".") or type(caught).__name__
            if (declined := _declined(error)) is not None:
                return Reply("", declined=declined)
            if self._adapted(error, options):
                continue
            if error is not None and not _transient(error):
                raise ValueError(self._advice(error, problem))
            failures += 1
            if failures > self.settings.max_retries:
                tries = f"{failures} {'try' if failures == 1 else 'tries'}"
                raise ValueError(
                    f"the judge at {self.settings.base_url} gave no answer after {tries}: {problem}. Check "
                    "eval.judge.base_url (it usually ends in /v1), or raise eval.judge.max_retries or timeout_s."
                )
            self._back_off(error, failures)

    def _read(self, completion: Any) -> Reply | None:
        """The reply in a completion; None where it is none: a proxy's page, or an error dressed as success."""
        choices = getattr(completion, "choices", None)
        choice = choices[0] if isinstance(choices, list) and choices else None
        message = getattr(choice, "message", None)
        if message is None:
            return None
        finish = getattr(choice, "finish_reason", None)
        refusal, text = getattr(message, "refusal", None), getattr(message, "content", None)
        if finish == "content_filter":
            return Reply("", declined=DECLINED["content_filter"])
        if isinstance(refusal, str) and refusal.strip():
            return Reply("", declined=f"the judge refused: {self._clean(refusal)}")
        return Reply(self._secret_free(text) if isinstance(text, str) else "", cut=finish == "length")

    def _adapted(self, error: Exception | None, used: dict[str, Any]) -> bool:
        """Whether the request can be sent again without an option that this endpoint does not know.

        Newer models call ``max_tokens`` ``max_completion_tokens``; some servers refuse ``seed``.
        """
        if getattr(error, "status_code", None) not in (400, 422):
            return False
        about = f"{getattr(error, 'param', '')} {error}"
        for name, replacement in (("max_tokens", {"max_completion_tokens": self.settings.max_tokens}), ("seed", {})):
            if name in used and name in about:
                self._options = {**{key: value for key, value in used.items() if key != name}, **replacement}
                return True
        return False

    def _back_off(self, error: Exception | None, failures: int) -> None:
        """Wait before the next try: as long as the endpoint asks for, and longer after each failure."""
        headers = getattr(getattr(error, "response", None), "headers", {})
        asked = retry_after(headers, time.time())
        if asked is not None and asked > RETRY_AFTER_MAX_S:
            raise ValueError(
                f"the judge at {self.settings.base_url} asks to wait {asked:.0f} s. Run the same command again then."
            )
        if asked is not None:
            self.pace.hold(asked)
        self.pace.wait(max(backoff(failures), asked or 0.0))

    def _advice(self, error: Exception, problem: str) -> str:
        """One line for an error that another try would not change."""
        steps = {
            401: f"Check the key in the environment variable {self.settings.key_env}.",
            403: f"Check what the key in {self.settings.key_env} may use.",
            404: "Check eval.judge.model, and eval.judge.base_url (it usually ends in /v1).",
            429: "The account's quota is used up.",
        }
        step = steps.get(getattr(error, "status_code", 0), "Choose another eval.judge.model or endpoint.")
        return f"the judge {self.settings.model} at {self.settings.base_url} refuses requests: {problem}. {step}"

    def _secret_free(self, text: str) -> str:
        return text.replace(self._secret, "[key]") if self._secret else text

    def _clean(self, text: str) -> str:
        return shortened(self._secret_free(text))


@contextlib.contextmanager
def quiet_transport() -> Iterator[None]:
    """Keep the transport from logging headers, in which an endpoint may send the key back."""
    loggers = [logging.getLogger(name) for name in TRANSPORT_LOGGERS]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.WARNING)
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _declined(error: Exception | None) -> str | None:
    """Why this one answer will get no grade, if that is what the error says; other answers may well get one."""
    if "maximum context length" in str(error):  # vLLM's wording; it gives no code of its own
        return DECLINED["context_length_exceeded"]
    return DECLINED.get(str(getattr(error, "code", None)))


def _transient(error: Exception) -> bool:
    """Whether another try may succeed: no connection, a time limit, 408, 409, 429 or 5xx, but not a spent quota."""
    if getattr(error, "code", None) == "insufficient_quota":
        return False
    status = getattr(error, "status_code", None)
    return status is None or status in (200, 408, 409, 429) or status >= 500
