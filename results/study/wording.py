"""Numbers as people read them: rates in per cent, perplexities with two decimals, p-values without false zeros."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from eval.schema import METRICS, PRIMARY

#: Kinds of metrics that are written in per cent: right-or-wrong answers, and shares of something.
PERCENT = ("rate", "share")


def kind_of(task: str) -> str:
    """`rate`, `share`, `mean`, `perplexity` or `bits`: the kind of the task's primary metric (`eval.schema`)."""
    return METRICS[task, PRIMARY[task][0]].kind


def title_of(task: str) -> str:
    """Heading of the task's primary metric."""
    return METRICS[task, PRIMARY[task][0]].title


def in_percent(task: str) -> bool:
    """Whether the task's primary metric is a rate or a share, and so written in per cent."""
    return kind_of(task) in PERCENT


def heading_of(task: str) -> str:
    """`title_of` with its unit."""
    return title_of(task) + (" (%)" if in_percent(task) else "")


def number(task: str, value: float) -> str:
    """A score: 47.3 (per cent) or 2.58; very large perplexities in powers of ten; – where there is none."""
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "inf"
    if in_percent(task):
        return f"{100 * value:.1f}"
    return f"{value:.2f}" if value < 1000 else f"{value:.1e}"


def difference(task: str, value: float) -> str:
    """A difference with its sign: points for rates and shares. Never −0.0."""
    if not math.isfinite(value):
        return "–"
    scaled, digits = (100 * value, 1) if in_percent(task) else (value, 2)
    text = f"{abs(scaled):.{digits}f}"
    if float(text) == 0:
        return text
    return ("+" if scaled > 0 else "−") + text


def span(task: str, low: float, high: float, signed: bool = False) -> str:
    """An interval in square brackets."""
    write = difference if signed else number
    return f"[{write(task, low)}, {write(task, high)}]"


def p_value(p: float) -> str:
    """`p = 0.031`, `p < 0.001`."""
    if math.isnan(p):
        return "p not computable"
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def listed(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else list(names))


def is_miniature(meta: Mapping[str, Any]) -> bool:
    """Whether a study is of models of this suite's embedded family, of any shape."""
    return bool(meta.get("miniature", meta.get("family") == "mini"))


def over(seeds: int) -> str:
    """What intervals and tests generalise to: other trainings where there are several, else other test items."""
    return "over trainings" if seeds > 1 else "over items"


def seeds_note(seeds: int) -> str:
    """What this number of seeds can support, in a sentence or two."""
    if seeds == 1:
        return (
            "One trained family: intervals and marks are over test items; nothing here speaks about other trainings."
        )
    return (
        f"{seeds} seeds: intervals and marks are over trainings (a t test on {seeds} values, with the error of the "
        "test items that they share)."
    )


def layer_key(layer: object) -> tuple[int, float, str]:
    """Numbered layers by number, others after them by name."""
    try:
        return 0, float(str(layer)), ""
    except ValueError:
        return 1, 0.0, str(layer)
