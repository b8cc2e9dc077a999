"""When a request may be sent: a steady rate, and how long to wait after a failure."""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime

#: First and longest wait after a failure, and the longest ``Retry-After`` that is waited for, in seconds.
BACKOFF_S, BACKOFF_MAX_S, RETRY_AFTER_MAX_S = 1.0, 60.0, 600.0

#: The jitter's own generator, so that the seeds of a study are not touched.
JITTER = random.Random()


class Stopped(Exception):
    """Another request has failed for good, so this one need not wait any longer."""


class Pace:
    """Turns for requests, at least ``60 / per_minute`` seconds apart, for any number of threads."""

    def __init__(self, per_minute: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.gap = 60.0 / per_minute
        self.clock = clock
        self.stop = threading.Event()
        self._lock = threading.Lock()
        self._next = clock()

    def take(self) -> None:
        """Return when it is this thread's turn.

        Raises:
            Stopped: ``stop`` is set.
        """
        while not self.stop.is_set():
            with self._lock:
                now = self.clock()
                if now >= self._next:
                    self._next = now + self.gap
                    return
                rest = self._next - now
            self.wait(rest)
        raise Stopped

    def hold(self, seconds: float) -> None:
        """No turn for anyone in the next ``seconds``."""
        with self._lock:
            self._next = max(self._next, self.clock() + seconds)

    def wait(self, seconds: float) -> None:
        """Wait, but no longer than until ``stop`` is set."""
        self.stop.wait(seconds)


def backoff(failures: int) -> float:
    """Seconds to wait after so many failures: doubling, with a jitter that parts those who failed together."""
    return min(BACKOFF_MAX_S, BACKOFF_S * 2.0 ** min(failures - 1, 30)) * JITTER.uniform(0.5, 1.0)


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds that an endpoint asks to wait (RFC 9110, 10.2.3: a number or a date), or None.

    Args:
        headers: of the response, in lower case.
        now: seconds since 1970, to measure a date against.
    """
    seconds = None
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        try:
            seconds = float(headers[name]) / unit
            break
        except (KeyError, ValueError):
            continue
    if seconds is None:
        try:
            seconds = parsedate_to_datetime(headers["retry-after"]).timestamp() - now
        except (KeyError, ValueError, TypeError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None
