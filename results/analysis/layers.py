"""Layer statistics: how many layer vectors a threshold keeps, and where in depth they lie.

The paper says that at threshold 0.95 about a tenth of the layer vectors is kept, and that they are late ones (claims
C5 and C4); what a layer vector is, its summaries leave open. So the same is counted for blocks, modules and single
tensors. Only what lies inside a block counts, for the rest is not ranked by default.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lata.quantities import MEASURED
from results.analysis.analysis import Analysis
from results.statistics.closed_form import FloatArray, spearman
from results.study.run import GRANULAR, Study
from results.study.wording import listed

#: The paper's threshold.
THRESHOLD = 0.95
#: A task vector with a larger share of its ‖τ‖² outside the blocks needs rows that show what that does.
MUCH = 0.01
GRANULARITIES = ("block", "module", "tensor")
_VECTOR = ["layer", "depth"]


@dataclass(frozen=True)
class LayerStatistics:
    """The layer vectors of one task at one granularity. Arrays have an entry a seed.

    Attributes:
        granularity: block, module or tensor.
        task: the expert.
        count: layer vectors with a cosine (the most of any seed).
        kept_S: how many lie under the threshold.
        share_S: the same as a share.
        depth_S: mean relative depth of those, from 0 for the first block to 1 for the last; NaN where there is none.
        late_S: share of those in the last third of the blocks; NaN where there is none.
        rho: Spearman's ρ of depth and similarity, similarities averaged over seeds first.
        lowest_S: least similarity.
        median_S: median similarity.
        cosine_S: median cos(τ, τ_instr); NaN where it was not measured, as the next.
        highest_S: highest cos(τ, τ_instr).
    """

    granularity: str
    task: str
    count: int
    kept_S: FloatArray
    share_S: FloatArray
    depth_S: FloatArray
    late_S: FloatArray
    rho: float
    lowest_S: FloatArray
    median_S: FloatArray
    cosine_S: FloatArray
    highest_S: FloatArray


def threshold_of(study: Study) -> float:
    """The study's threshold where it is a value, else the paper's."""
    given = study.meta.get("threshold") or {}
    return float(given.get("value", THRESHOLD)) if given.get("kind", "value") == "value" else THRESHOLD


def layer_vectors(study: Study) -> pd.DataFrame:
    """Every layer vector inside a block that has a cosine; columns `GRANULAR` and `MEASURED`, NaN where not measured.

    A study without `Study.granular` has those of its similarities, as blocks.
    """
    frame = study.granular
    if frame.empty and len(study.similarity):
        depth = pd.to_numeric(study.similarity["layer"], errors="coerce").fillna(-1).astype(int)
        frame = study.similarity.assign(granularity="block", depth=depth)
    columns = list(dict.fromkeys([*GRANULAR, *MEASURED]))
    if frame.empty:
        return frame.reindex(columns=columns)
    wanted = (frame["depth"].astype(int) >= 0) & frame["similarity"].astype(float).notna()
    return frame[wanted].reindex(columns=columns).reset_index(drop=True)


def is_about_layers(analysis: Analysis) -> bool:
    """Whether a study has similarities and neither merges nor forgettings: then they are what it is about."""
    lineup = analysis.lineup
    return not (lineup.merges("learn") or lineup.merges("forget") or layer_vectors(analysis.study).empty)


def has_layers(analysis: Analysis) -> bool:
    """Whether a study looks at layers beyond the similarities that every study shows."""
    return is_about_layers(analysis) or len(granularities(layer_vectors(analysis.study))) > 1


def granularities(vectors: pd.DataFrame) -> list[str]:
    """Those of the study, the coarse ones first."""
    have = list(dict.fromkeys(vectors["granularity"]))
    return [name for name in GRANULARITIES if name in have] + [name for name in have if name not in GRANULARITIES]


def shares_under(vectors: pd.DataFrame, threshold: float) -> dict[str, tuple[int, int]]:
    """Granularity → how many layer vectors lie under the threshold, of how many; all tasks and seeds together."""
    under = vectors["similarity"].astype(float) < threshold
    found = {name: under[vectors["granularity"] == name] for name in granularities(vectors)}
    return {name: (int(own.sum()), len(own)) for name, own in found.items()}


def layer_statistics(vectors: pd.DataFrame, threshold: float) -> Iterator[LayerStatistics]:
    """The statistics of every granularity and task.

    Args:
        vectors: see `layer_vectors`.
        threshold: similarities below it are kept.
    """
    for name in granularities(vectors):
        own = vectors[vectors["granularity"] == name]
        blocks = int(own["depth"].max()) + 1
        for task in sorted(own["task"].unique()):
            part = own[own["task"] == task]
            seeds = [_seed(one, threshold, blocks) for _, one in part.groupby("seed", sort=True)]
            mean = part.groupby(_VECTOR, sort=True)["similarity"].mean().reset_index()
            rho = spearman(mean["depth"].to_numpy(float), mean["similarity"].to_numpy(float))[0]
            count, kept, depth, late, *rest = np.array(seeds).T
            yield LayerStatistics(name, task, int(count.max()), kept, kept / count, depth, late, rho, *rest)


def _seed(part: pd.DataFrame, threshold: float, blocks: int) -> tuple[float, ...]:
    """Layer vectors, how many are kept, their mean relative depth and share in the last third; least and median of
    similarity, median and most of cos(τ, τ_instr)."""
    similarity, depth = part["similarity"].to_numpy(float), part["depth"].to_numpy(float)
    kept = depth[similarity < threshold]
    where = (math.nan, math.nan)
    if len(kept):
        where = (float(kept.mean()) / max(blocks - 1, 1), float((3 * kept >= 2 * blocks).mean()))
    cosine = part.get("cosine", pd.Series(dtype=float)).dropna().to_numpy(float)
    own = (float(np.median(cosine)), float(cosine.max())) if len(cosine) else (math.nan, math.nan)
    return len(similarity), len(kept), *where, float(similarity.min()), float(np.median(similarity)), *own


def outside(study: Study) -> dict[str, FloatArray]:
    """Task → the share of its ‖τ‖² outside the blocks, an entry a seed; none where it was not measured."""
    frame = study.similarity
    if "outside" not in frame:
        return {}
    found = frame.assign(outside=frame["outside"].astype(float)).groupby(["task", "seed"])["outside"].first()
    return {str(task): part.to_numpy(float) for task, part in found.groupby("task")}


def outside_note(analysis: Analysis, kind: str) -> list[str]:
    """A line where much of τ lies outside the blocks and no row of a merge shows what that does."""
    lineup, beyond = analysis.lineup, outside(analysis.study)
    forgets = lineup.meta.get("forgets", {})
    experts = {
        expert
        for merge in lineup.merges(kind)
        for expert in (lineup.experts(merge) if kind == "learn" else [str(forgets.get(merge, {}).get("forget"))])
    }
    much = {task: float(beyond[task].mean()) for task in sorted(experts & beyond.keys())}
    shares = [f"{100 * share:.0f} % ({task})" for task, share in much.items() if share > MUCH]
    rows = lineup.without_other_outside(kind)
    if not shares or not rows:
        return []
    return [
        f"Outside the blocks lies {listed(shares)} of ‖τ‖², where outside=keep has weight 1 and outside=drop 0; no "
        f"control row has the other one for {listed(rows)}."
    ]
