"""Numbers as people read them: rates in per cent, perplexities with two decimals, p-values without false zeros."""

from __future__ import annotations

import math
from collections.abc import Sequence

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


def seeds_note(seeds: int) -> str:
    """What this number of seeds can support.

    A percentile interval cannot leave the range of the seeds' own values, which holds the median of all trainings
    with probability 1 − 2^(1 − S): 75 % for three seeds, however many items there are.
    """
    if seeds == 1:
        return "One trained family: nothing here speaks about other trainings."
    text = f"{seeds} seeds support at most “consistent in sign”"
    if seeds > 6:
        return text + "."
    share = 100 * (1 - 2 ** (1 - seeds))
    return (
        text
        + f": where trainings differ more than items do, intervals over them cover at most {share:.0f} times in 100."
    )
