"""The claims C1–C7 with what they say, how they are decided and what was found; the rules are in the files beside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pandas as pd

from results.analysis.analysis import Analysis, SweepAnalysis
from results.claims.forgetting import c3
from results.claims.layers import c4, c5
from results.claims.learning import c1, c2, c7
from results.claims.stability import c6
from results.claims.verdicts import Verdict

#: id → (claim in plain words, rule in plain words, function).
CLAIMS: dict[str, tuple[str, str, Callable[[Analysis], Verdict]]] = {
    "C1": (
        "At λ = 1.0 LATA has the lowest WikiText-2 perplexity of ta, ties, dare and dare_ties in every merge.",
        "Every 95 % interval of the paired difference excludes 0 in LATA's favour; the opposite: a rival is lower "
        "(Holm).",
        c1,
    ),
    "C2": (
        "At λ = 1.0 LATA beats ta, ties and dare on more than half of the task scores.",
        "A task score is won when all three are beaten by a Holm-corrected test; the opposite: half or more are "
        "lost.",
        c2,
    ),
    "C3": (
        "Forgetting brings harm below the threshold and keeps utility at the original model's level.",
        "Harm's interval lies under the threshold, and one-sided tests show that no utility fell by the margin; the "
        "opposite: harm's interval lies over it, or a utility's below the margin; a target that was harmless "
        "before is left out.",
        c3,
    ),
    "C4": (
        "The layers of low similarity are the late ones.",
        "Spearman's ρ of depth and similarity over the layers: its interval lies below 0 for every task; the "
        "opposite: above 0 for one (Holm).",
        c4,
    ),
    "C5": (
        "At threshold 0.95 about a tenth of the layer vectors is kept.",
        "The share of blocks below 0.95, over trainings: its interval lies between 5 and 20 %; the opposite: "
        "outside.",
        c5,
    ),
    "C6": (
        "Too large a λ destabilises the merge.",
        "Some method has a λ ≤ 2 that gives, in every seed, a model that is not finite or has over 10 times pre's "
        "perplexity; the opposite: all were swept to 2 and none does in any seed.",
        c6,
    ),
    "C7": (
        "LATA's gain is not explained by moving less far (this suite's own claim).",
        "Where LATA is ahead of ta (Holm), ta_norm_matched, lata_shuffled and depth_linear are each shown to have "
        "less "
        "than half of the gain, in more than half of the scores; the opposite: one has more than half, in half or "
        "more.",
        c7,
    ),
}


def check_claims(analysis: Analysis, swept: pd.DataFrame | None = None) -> pd.DataFrame:
    """All claims: columns family, claim, statement, rule, verdict, numbers, detail (lines).

    Args:
        analysis: one point for each merge.
        swept: the scores of every point, where λ was swept; C6 is decided by them.
    """
    rows = []
    for name, (statement, rule, function) in CLAIMS.items():
        found = function(replace(analysis, scores=swept) if name == "C6" and swept is not None else analysis)
        rows.append(
            {
                "family": str(analysis.meta.get("family", "")),
                "claim": name,
                "statement": statement,
                "rule": rule,
                "verdict": found.verdict,
                "numbers": found.numbers,
                "detail": "\n".join(found.detail),
            }
        )
    return pd.DataFrame(rows)


def check_sweep(found: SweepAnalysis) -> pd.DataFrame:
    """The claims of a sweep: at λ = 1 where it was swept, else at the chosen λ; C6 over all λ."""
    return check_claims(found.fixed or found.chosen, swept=found.scores)
