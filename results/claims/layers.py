"""Claims C4 and C5, on layers, brought to the rules of `decisions`."""

from __future__ import annotations

import numpy as np
import pandas as pd

from results.analysis.analysis import Analysis
from results.analysis.layers import THRESHOLD, layer_vectors, shares_under
from results.claims import decisions
from results.claims.verdicts import NOT_RUN, Verdict, verdict_of
from results.statistics.closed_form import spearman
from results.statistics.inference import over_trainings
from results.study.wording import p_value

C5_RANGE = (0.05, 0.20)


def c4(analysis: Analysis) -> Verdict:
    """Low-similarity layers are late: Spearman's ρ of depth and similarity below 0 for each task, over its layers."""
    frame = analysis.study.similarity
    lines, found = [], []
    depth = pd.to_numeric(frame["layer"], errors="coerce")
    for task, part in frame[depth.notna()].assign(layer=depth).groupby("task", sort=True):
        mean = part.groupby("layer")["similarity"].mean()
        rho, low, high, p = spearman(mean.index.to_numpy(float), mean.to_numpy(float))
        if np.isnan(rho):
            continue
        found.append((low, high, p))
        shown = f"ρ = {rho:.2f} [{low:.2f}, {high:.2f}]".replace("-", "−")
        lines.append(f"{task}: {shown}, {p_value(p)}, {len(mean)} layers")
    if not found:
        return Verdict(NOT_RUN, "needs similarities of at least three layers")
    low_T, high_T, p_T = np.array(found).T
    text = f"similarity falls with depth, interval below 0, for {int((high_T < 0).sum())} of {len(found)} tasks"
    return Verdict(verdict_of(decisions.all_below(low_T, high_T, p_T)), f"{text} ({'; '.join(lines)})", tuple(lines))


def c5(analysis: Analysis) -> Verdict:
    """About 10 % of the layer vectors lie below 0.95: 5 to 20 %, whatever threshold the study merges with.

    Decided by blocks where the study has them, so that all runs of a family look at the same; other granularities
    are listed. The share of each seed is known exactly: one seed is decided by it, several by its interval over
    trainings.
    """
    vectors = layer_vectors(analysis.study)
    if vectors.empty:
        return Verdict(NOT_RUN, "needs layer similarities")
    counted = shares_under(vectors, THRESHOLD)
    lines = [f"{name}: {100 * few / count:.1f} % ({few} of {count})" for name, (few, count) in counted.items()]
    name = "block" if "block" in counted else next(iter(counted))
    own = vectors[vectors["granularity"] == name]
    below = (own["similarity"].astype(float) < THRESHOLD).astype(float)
    share_S = np.array(below.groupby(own["seed"]).mean(), dtype=np.float64)
    seeds = len(share_S)
    exact = np.zeros((seeds, seeds))  # no test item has a part in it
    sides = over_trainings(share_S, exact, len(own)).interval() if seeds > 1 else (share_S[0], share_S[0])
    low, high = (np.clip(side, 0.0, 1.0) for side in sides)
    few, count = counted[name]
    text = f"{100 * few / count:.1f} % of the layer vectors ({few} of {count}) have a similarity below 0.95"
    text += f", over {seeds} trainings [{100 * low:.1f}, {100 * high:.1f}] %" * (seeds > 1)
    verdict = verdict_of(decisions.within(low, high, *C5_RANGE))
    return Verdict(verdict, text + "; expected 5 to 20 %", tuple(lines) if len(lines) > 1 else ())
