"""The claims C1–C7 with what they say, how they are decided and what was found; rules in `claim_rules`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pandas as pd

from results.analysis import Analysis
from results.claim_rules import Verdict, c1, c2, c3, c4, c5, c6, c7
from results.inputs import rows_of
from results.wording import seeds_note

#: id → (claim in plain words, rule in plain words, function).
CLAIMS: dict[str, tuple[str, str, Callable[[Analysis], Verdict]]] = {
    "C1": (
        "At λ = 1.0 LATA has the lowest WikiText-2 perplexity of ta, ties, dare and dare_ties in every merge.",
        "Every interval of the paired difference excludes 0 in LATA's favour; a rival that is lower (Holm) refutes.",
        c1,
    ),
    "C2": (
        "At λ = 1.0 LATA beats ta, ties and dare on more than half of the task scores.",
        "A task score is won when all three are beaten by a Holm-corrected test; half or more lost refutes it.",
        c2,
    ),
    "C3": (
        "Forgetting brings harm below the threshold and keeps utility at the original model's level.",
        "Harm's upper bound lies under the threshold; two one-sided tests show utility within the margin; a target "
        "that was harmless before is left out.",
        c3,
    ),
    "C4": (
        "The layers of low similarity are the late ones.",
        "Spearman's ρ of depth and similarity: its interval lies below 0 for every task.",
        c4,
    ),
    "C5": (
        "At threshold 0.95 about a tenth of the layer vectors is kept.",
        "The share below 0.95 lies between 5 and 20 %; not asked where the threshold is a quantile.",
        c5,
    ),
    "C6": (
        "Too large a λ destabilises the merge.",
        "Some λ ≤ 2 of the sweep gives a model that is not finite or has over 10 times pre's perplexity.",
        c6,
    ),
    "C7": (
        "LATA's gain is not explained by moving less far (this suite's own claim).",
        "Where LATA is ahead of ta it is also ahead of ta_norm_matched, lata_shuffled and depth_linear.",
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


def claims_markdown(analysis: Analysis, claims: pd.DataFrame) -> str:
    """claims.md: a table of verdicts, then each claim with its rule and the numbers behind it."""
    lines = [f"# Claims on the family `{analysis.meta.get('family', '')}`", ""]
    if analysis.meta.get("family") == "mini":
        lines += ["Miniature models: a verdict here says nothing about the paper's models and numbers.", ""]
    lines += [seeds_note(len(analysis.lineup.seeds)), "", "| claim | | verdict |", "|---|---|---|"]
    lines += [f"| {row.claim} | {row.statement} | **{row.verdict}** |" for row in rows_of(claims)]
    for row in rows_of(claims):
        lines += ["", f"## {row.claim}: {row.verdict}", "", row.statement, "", f"Rule: {row.rule}", ""]
        lines += [f"Found: {row.numbers}.", ""]
        lines += [f"- {line}" for line in str(row.detail).splitlines()]
    return "\n".join(lines).rstrip() + "\n"
