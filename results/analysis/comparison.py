"""Everything that a comparison of runs computes, once: tables, figures and the page read it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from results.analysis.analysis import Analysis, analyse
from results.analysis.curves import FEWEST, PPL, Curve, from_pre, learning_curves
from results.analysis.matched import Match, matches
from results.analysis.outcomes import CHOSEN, against_baseline, at_every_lambda, corrected
from results.analysis.pareto import Volume, volumes
from results.analysis.points import Points
from results.statistics.contrasts import mean_scores
from results.statistics.inference import Contrast
from results.statistics.ranks import Cell, Ranking, ranking
from results.study.lineup import Lineup
from results.study.run import Study
from results.study.sweep import DEV, TEST, Sweep


@dataclass(frozen=True)
class Comparison:
    """One or several runs, compared with a baseline.

    Attributes:
        sweep: the runs as one.
        baseline: the method that the others are compared with.
        chosen: all methods at the λ chosen for each.
        broken: (merge, label) of learning merges that are unstable at every λ, or at the chosen one, for some seed.
        labels: methods and controls, in the order of tables.
        methods: what is ranked: the methods without controls, and the baseline.
        cells: (merge, task) that all ranked methods have, perplexity first in each merge.
        seeds: the seeds that all ranked methods have; ranks and means are over these.
        rows: `outcomes.COLUMNS`.
        ranking: None where nothing can be ranked.
        scores: label → mean over all merged-task scores of `cells`; stable methods only.
        perplexities: label → mean word perplexity over the merges of `cells`.
        curves: (merge, label) → the curve from the model before merging on; none where no method has enough λ.
        volumes: hypervolumes.
        matches: comparisons at equal distance.
        absent: what is missing → why.
    """

    sweep: Sweep
    baseline: str
    chosen: Analysis
    broken: frozenset[tuple[str, str]]
    labels: tuple[str, ...]
    methods: tuple[str, ...]
    cells: tuple[Cell, ...]
    seeds: tuple[int, ...]
    rows: pd.DataFrame
    ranking: Ranking | None
    scores: dict[str, Contrast]
    perplexities: dict[str, Contrast]
    curves: dict[tuple[str, str], Curve]
    volumes: list[Volume]
    matches: list[Match]
    absent: dict[str, str]

    @property
    def meta(self) -> dict[str, Any]:
        return self.chosen.meta

    @property
    def lineup(self) -> Lineup:
        return self.chosen.lineup

    @property
    def merges(self) -> list[str]:
        """The learning merges that are compared."""
        return list(dict.fromkeys(merge for kind, merge, _ in self.sweep.methods if kind == "learn"))

    def at_chosen(self) -> pd.DataFrame:
        """The rows at the chosen λ."""
        return self.rows[self.rows["at"] == CHOSEN]


def check_runs(runs: Mapping[str, Sweep], baseline: str) -> None:
    """ValueError where the baseline is unknown, or a run adds nothing that can be compared with it."""
    made = [
        (name, merge, label) for name, run in runs.items() for kind, merge, label in run.methods if kind == "learn"
    ]
    labels = list(dict.fromkeys(label for _, _, label in made))
    if not labels:
        raise ValueError(f"{', '.join(runs)}: no merges that learn; nothing to compare")
    if baseline not in labels:
        near = difflib.get_close_matches(baseline, labels, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ValueError(f"baseline {baseline!r} is not one of {', '.join(labels)}{hint}")
    have = {merge for _, merge, label in made if label == baseline}
    for name in runs:
        own = {merge for run, merge, _ in made if run == name}
        if not own & have:
            merges = ", ".join(sorted(own)) or "no merges that learn"
            raise ValueError(
                f"{name} has no {baseline}, and no other run has it on the same merges ({merges}); "
                f"add a run with {baseline}, or choose another baseline"
            )
    if {label for _, merge, label in made if merge in have} == {baseline}:
        raise ValueError(f"{', '.join(runs)}: {baseline} is the only method; give a run with another one")


def compared(sweep: Sweep, baseline: str, every_lambda: bool = False) -> Comparison:
    """Compute a comparison.

    Args:
        sweep: one run, or several united (`union.pool`).
        baseline: the method that the others are compared with.
        every_lambda: also compare at each λ that the baseline shares with another method.

    Raises:
        ValueError: unknown baseline, nothing to compare, or tables that do not belong together.
    """
    check_runs({"the run": sweep}, baseline)
    sweep, notes = _with_baseline(sweep, baseline)
    chosen = analyse(sweep.at())
    absent: dict[str, str] = dict(notes)
    lineup = Lineup(Study(sweep.scores, sweep.items, meta=sweep.meta))
    order = lineup.labels("learn")
    methods = tuple(label for label in order if not lineup.is_control(label) or label == baseline)
    broken = _broken(sweep, chosen.lineup)
    made = [(merge, label) for kind, merge, label in sweep.methods if kind == "learn"]
    rows = corrected([against_baseline(chosen, baseline, CHOSEN, made, broken)])
    if every_lambda:
        tables = [
            against_baseline(analyse(sweep.at(points)), baseline, point, (), ())
            for point, points in at_every_lambda(sweep, baseline)
        ]
        rows = pd.concat([rows, corrected(tables)], ignore_index=True) if tables else rows
    cells = _cells(sweep, chosen, methods)
    seeds = _shared_seeds(sweep, methods, cells)
    shared = chosen
    if not cells:
        absent["ranks"] = "no merge was made with every method, so there are no common cells to rank over."
    elif not seeds:
        absent["ranks"] = "the methods share no seed of the family."
    elif list(seeds) != chosen.lineup.seeds:
        absent["seeds"] = f"ranks and means are over seed {', '.join(map(str, seeds))}, which all methods have."
        shared = analyse(_of_seeds(chosen.study, seeds))
    if by_hand := _by_hand(sweep):
        absent["lambda"] = by_hand
    usable = cells if seeds else ()
    tasks = [cell for cell in usable if cell[1] != "wikitext"]
    curves = _curves(sweep, lineup, baseline, absent)
    return Comparison(
        sweep=sweep,
        baseline=baseline,
        chosen=chosen,
        broken=broken,
        labels=tuple(order),
        methods=methods,
        cells=tuple(usable),
        seeds=seeds,
        rows=rows,
        ranking=ranking(shared.lineup, shared.measures, methods, usable),
        scores=mean_scores(shared.lineup, shared.measures, tasks),
        perplexities=mean_scores(shared.lineup, shared.measures, [cell for cell in usable if cell[1] == "wikitext"]),
        curves=curves,
        volumes=volumes(curves, baseline),
        matches=_matches(curves, baseline, absent) if curves else [],
        absent=absent,
    )


def _with_baseline(sweep: Sweep, baseline: str) -> tuple[Sweep, dict[str, str]]:
    """The sweep without merges that lack the baseline, and with `baseline` as what tables mark against."""
    have = {merge for kind, merge, label in sweep.methods if kind == "learn" and label == baseline}
    without = sorted({merge for kind, merge, _ in sweep.methods if kind == "learn"} - have)
    meta = {**sweep.meta, "baseline": baseline}
    if not without:
        return replace(sweep, meta=meta), {}

    def kept(frame: pd.DataFrame) -> pd.DataFrame:
        return frame[~((frame["kind"] == "learn") & frame["merge"].isin(without))].reset_index(drop=True)

    smaller = replace(
        sweep,
        **{name: kept(getattr(sweep, name)) for name in ("scores", "items", "choices", "others")},
        meta=meta,
    )
    return smaller, {"merges": f"{', '.join(without)}: left out, for no run has {baseline} there."}


def _broken(sweep: Sweep, lineup: Lineup) -> frozenset[tuple[str, str]]:
    made = {key[:4] for key in sweep.rows("scores", "test") if key[1] == "learn"}
    found = {(merge, label) for seed, kind, merge, label in made if sweep.choice(seed, kind, merge, label) is None}
    found |= {(key.merge, key.label) for key in lineup.models if key.kind == "learn" and lineup.unstable_seeds(key)}
    return frozenset(found)


def _by_hand(sweep: Sweep) -> str:
    """A warning where the methods of a merge stand at different λ that were fixed by hand."""
    learned = sweep.choices[sweep.choices["kind"] == "learn"]
    fixed = learned[learned["selection"] == "fixed"]
    if len(fixed) < len(learned) or fixed.groupby("merge")["point"].nunique().max() <= 1:
        return ""
    points = ", ".join(sweep.ordered(set(fixed["point"])))
    return f"Methods stand at different λ, fixed by hand ({points}): what differs is method and λ together."


def _cells(sweep: Sweep, chosen: Analysis, methods: Sequence[str]) -> tuple[Cell, ...]:
    merges = list(dict.fromkeys(merge for kind, merge, _ in sweep.methods if kind == "learn"))
    have = set(sweep.methods)
    shared = [merge for merge in merges if all(("learn", merge, label) in have for label in methods)]
    return tuple(
        (merge, task)
        for merge in shared
        for task in ("wikitext", *chosen.lineup.members(merge))
        if task in chosen.measures
    )


def _shared_seeds(sweep: Sweep, methods: Sequence[str], cells: Sequence[Cell]) -> tuple[int, ...]:
    merges = {merge for merge, _ in cells}
    made = {(key[0], key[2], key[3]) for key in sweep.rows("scores", "test") if key[1] == "learn"}
    seeds = sorted({seed for seed, _, _ in made})
    return tuple(s for s in seeds if all((s, merge, label) in made for merge in merges for label in methods))


def _of_seeds(study: Study, seeds: Sequence[int]) -> Study:
    scores, items = (frame[frame["seed"].isin(seeds)].reset_index(drop=True) for frame in (study.scores, study.items))
    return replace(study, scores=scores, items=items)


def _curves(sweep: Sweep, lineup: Lineup, baseline: str, absent: dict[str, str]) -> dict[tuple[str, str], Curve]:
    several = [key for key in sweep.methods if key[0] == "learn" and len(sweep.points(*key)) >= FEWEST]
    if not several:
        absent["curves"] = (
            f"Pareto fronts, hypervolume and matched distance need at least {FEWEST} λ of a method; these runs have "
            "fewer. python -m experiments.sweep makes more."
        )
        return {}
    if not any(label == baseline for _, _, label in several):
        absent["curves"] = f"{baseline} was made at fewer than {FEWEST} λ: fronts have nothing to stand against."
    return curves_from_pre(sweep, lineup)


def curves_from_pre(sweep: Sweep, lineup: Lineup) -> dict[tuple[str, str], Curve]:
    """(merge, label) → the curve of a method from the model before merging on, in the order of tables.

    Raises:
        ValueError: the model before merging was not scored.
    """
    curves: dict[tuple[str, str], Curve] = {}
    for merge in lineup.merges("learn"):
        dev = Points(sweep, merge, DEV).lineup if sweep.rows("scores", DEV) else None
        of_merge = {curve.label: curve for curve in learning_curves(Points(sweep, merge, TEST, dev))}
        labels = [label for label in lineup.labels("learn", merge) if of_merge[label].tasks]
        curves |= {(merge, label): from_pre(of_merge[label]) for label in labels if PPL in of_merge[label].scored}
    return curves


def _matches(curves: dict[tuple[str, str], Curve], baseline: str, absent: dict[str, str]) -> list[Match]:
    found = matches(curves, baseline)
    if not found:
        absent["matched"] = (
            f"No method beside {baseline} has {FEWEST} stable points of one λ as it has: there is nothing to compare "
            "at matched distance."
        )
    return found


def chosen_point(comparison: Comparison, merge: str, label: str) -> str:
    """The λ chosen for a method, `–` where none was, several where seeds have their own."""
    scores = comparison.chosen.study.scores
    rows = scores[(scores["kind"] == "learn") & (scores["merge"] == merge) & (scores["label"] == label)]
    return " or ".join(dict.fromkeys(rows["point"])) or "–"
