"""How far the training of a family is: one bar on a terminal, one line for each finished model elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping

from tqdm import tqdm


class Progress:
    """Progress over several models that train at the same time.

    Args:
        examples: by model, the examples it trains on; examples take about equally long in all stages.
        shown: False for silence.
        title: stands before the bar or the lines.
    """

    def __init__(self, examples: Mapping[str, int], shown: bool, title: str) -> None:
        self.examples = examples
        self.title = title
        terminal = sys.stderr.isatty()
        self.lines = shown and not terminal
        self.done = dict.fromkeys(examples, 0)
        self.losses: dict[str, float] = {}
        self.start = time.monotonic()
        self.bar = tqdm(
            total=sum(examples.values()),
            desc=title,
            disable=not (shown and terminal),
            unit="ex",
            smoothing=0.05,
            dynamic_ncols=True,
        )

    def update(self, name: str, share: float, loss: float) -> None:
        """Model `name` has done `share` of its training, at `loss` nats a token."""
        self.losses[name] = loss
        done = round(share * self.examples[name])
        self.bar.set_postfix_str(", ".join(f"{k} loss {v:.2f}" for k, v in self.losses.items()), refresh=False)
        self.bar.update(done - self.done[name])
        self.done[name] = done

    def finish(self, name: str) -> None:
        """Model `name` is in its place."""
        loss = self.losses.pop(name, float("nan"))
        if self.lines:
            ready = f"{self.title}: {name} trained, loss {loss:.3f}, {time.monotonic() - self.start:.0f} s so far"
            print(ready, file=sys.stderr, flush=True)

    def close(self) -> None:
        """End the bar's line."""
        self.bar.close()
