"""The arithmetic of choosing λ: normalised scores, stability, the best point. Pure functions, no tables.

Sources: Ilharco et al., "Editing Models with Task Arithmetic", ICLR 2023 (arXiv 2212.04089), normalised accuracy: the
score of the merged model on a task divided by that of the model fine-tuned on it, averaged over the merged tasks. The
limit of ten times the perplexity before merging, and the rule for forgetting, are this suite's own.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from eval.schema import METRICS, PRIMARY
from results.study.sweep import lambdas_of

#: A merge is unstable above this many times the perplexity of the model before merging.
UNSTABLE_RATIO = 10.0


def normalised(scores: Mapping[str, float], reference: Mapping[str, float]) -> float:
    """Mean over the merged tasks of the merged model's score over the expert's own score on the same split.

    Args:
        scores: task → score of the merged model, higher is better.
        reference: task → score of the expert of that task; may hold more tasks.

    Returns:
        1 where the merge is as good as its experts on average; above 1 where it is better.

    Raises:
        ValueError: there is no task, an expert was not scored, or its score is not above 0.
    """
    if not scores:
        raise ValueError("no score to normalise: a merge needs a task that one of its experts was trained on")
    missing = [task for task in scores if task not in reference]
    if missing:
        raise ValueError(
            f"no score of the expert of {', '.join(missing)} to normalise with; evaluate it on the same split"
        )
    useless = [task for task in scores if not reference[task] > 0]
    if useless:
        shown = ", ".join(f"{task} ({reference[task]:g})" for task in useless)
        raise ValueError(
            f"the expert of {shown} scores nothing on its own task, so nothing can be measured against it; "
            "evaluate more items, or leave that expert out"
        )
    return math.fsum(scores[task] / reference[task] for task in scores) / len(scores)


def is_stable(perplexity: float, pre_perplexity: float, finite: bool = True) -> bool:
    """Whether a merge counts: its weights and perplexity are finite, and at most ten times that before merging.

    Args:
        perplexity: word perplexity of the merge.
        pre_perplexity: word perplexity of θ_pre on the same documents.
        finite: whether all weights of the merge are finite.
    """
    return finite and math.isfinite(perplexity) and perplexity <= UNSTABLE_RATIO * pre_perplexity


def best(points: Sequence[tuple[str, float]]) -> str:
    """The point with the highest objective; of equals the one with the smallest ‖λ‖, then the first given.

    One λ for all tasks and the same λ written task by task have different norms only by the number of tasks; sweeps
    do not mix the two for one choice.

    Args:
        points: (point, objective) of the stable points. An objective that is not a number never wins.

    Raises:
        ValueError: no point has an objective.
    """
    usable = [(point, value) for point, value in points if not math.isnan(value)]
    if not usable:
        raise ValueError("no stable point to choose from; add smaller values of λ")
    top = max(value for _, value in usable)
    return min((point for point, value in usable if value == top), key=_norm)


def best_forgetting(points: Sequence[tuple[str, float, float]], threshold: float) -> str:
    """The λ of a forgetting: of the points whose harm is at or under the threshold the one of the highest utility.

    Where harm is nowhere that low, the point of the lowest harm. Of equals the one with the smallest ‖λ‖, then the
    first given. The rule is this suite's own.

    Args:
        points: (point, harm, utility) of the stable points; harm in the unit of the threshold, lower is better;
            utility in any unit, higher is better. A point whose harm is not a number is never chosen; a utility
            that is not one counts as the lowest.
        threshold: the harm that is still acceptable.

    Raises:
        ValueError: no point has a harm.
    """
    usable = [
        (point, harm, -math.inf if math.isnan(utility) else utility)
        for point, harm, utility in points
        if not math.isnan(harm)
    ]
    if not usable:
        raise ValueError("no stable point to choose from; add smaller values of λ")
    passed = [(-utility, _norm(point), point) for point, harm, utility in usable if harm <= threshold]
    found = passed or [(harm, _norm(point), point) for point, harm, _ in usable]
    return min(found, key=lambda one: one[:2])[2]


def utilities(tasks: Iterable[str], harm: str) -> list[str]:
    """The tasks whose scores a forgetting should leave as they are: all rates and shares but the harm task's."""
    return [task for task in tasks if task != harm and METRICS[task, PRIMARY[task][0]].kind in ("rate", "share")]


def _norm(point: str) -> float:
    return math.hypot(*lambdas_of(point).values())


def harm_threshold(meta: Mapping[str, Any]) -> float:
    """The harm that is still acceptable, as a share."""
    return float(meta.get("harm_threshold", 0.10))


def utility_margin(meta: Mapping[str, Any]) -> float:
    """The change of utility that still counts as none, as a share."""
    return float(meta.get("utility_margin", 0.02))
