"""Claim C6, on large λ, brought to the rules of `decisions`."""

from __future__ import annotations

import numpy as np

from results.analysis.analysis import Analysis
from results.claims import decisions
from results.claims.verdicts import NOT_RUN, Verdict, signed_lambda, verdict_of
from results.study.wording import listed

C6_LIMIT = 2.0


def c6(analysis: Analysis) -> Verdict:
    """Too large a λ destabilises: some λ ≤ 2 of a sweep is unstable in every seed. A sweep has three λ of a method.

    Looked at are positive λ, one for all tasks, and all methods but the controls: `decisions.breaks`.
    """
    controls = analysis.scores["label"].map(analysis.lineup.is_control).astype(bool)
    scores = analysis.scores[(analysis.scores["kind"] == "learn") & ~controls]
    points = scores.assign(lam=signed_lambda(scores))
    points = points[points["lam"] > 0]
    keys = ["merge", "label"]
    points = points[points.groupby(keys, sort=False)["lam"].transform("nunique") >= 3] if len(points) else points
    if points.empty:
        return Verdict(NOT_RUN, "needs a sweep of λ (at least three values above 0 for one method)")
    seeds, lines, first, tops, low = sorted(points["seed"].unique()), [], [], [], []
    for (merge, label), part in points.groupby(keys, sort=False):
        broken = part[part["unstable"].astype(bool)].groupby("seed")["lam"].min()
        tops.append(part.groupby("seed")["lam"].max().reindex(seeds).min())
        first.append([broken.get(seed, np.inf if seed in set(part["seed"]) else np.nan) for seed in seeds])
        if broken.empty:
            lines.append(f"{merge}, {label}: stable up to λ = {tops[-1]:g}")
            continue
        lam = broken.min()
        which = [str(seed) for seed in sorted(broken.index[broken == lam])]
        lines.append(f"{merge}, {label}: unstable from λ = {lam:g} (seed {listed(which)})")
        low += [(lam, merge, label)] * int(lam <= C6_LIMIT)
    first_MS, top_M = np.array(first, dtype=float), np.array(tops, dtype=float)
    sign = decisions.breaks(first_MS, top_M, C6_LIMIT)
    if low:
        lam, merge, label = min(low, key=lambda one: one[0])
        every = int((first_MS <= C6_LIMIT).all(1).sum())
        text = (
            f"{len(low)} of {len(first)} merges are unstable at some λ ≤ {C6_LIMIT:g} ({every} of them for every "
            f"seed), the first is {label} on {merge} at λ = {lam:g}"
        )
    else:
        text = f"no merge is unstable at a λ ≤ {C6_LIMIT:g}; swept up to λ = {np.nanmin(top_M):g}"
        text += f" to {np.nanmax(top_M):g}" * bool(np.nanmin(top_M) < np.nanmax(top_M))
    return Verdict(verdict_of(sign), text, tuple(lines))
