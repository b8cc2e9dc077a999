"""The tables of a comparison: methods at a glance, each merge, ranks, hypervolume, matched distance."""

from __future__ import annotations

import math
from typing import Any

from results.analysis.comparison import Comparison, chosen_point
from results.analysis.matched import MEAN, RANGE, Match, over_range
from results.analysis.outcomes import LOSS, TIE, WIN, record
from results.analysis.pareto import ALL, Volume
from results.statistics.inference import Contrast
from results.study.lineup import Model, short_of
from results.study.run import rows_of
from results.study.wording import difference, heading_of, listed, number, over, p_value, span
from results.tables.learning import ESTIMATE, detectable_note, estimate_cell, section_of
from results.tables.table import CONFIRMED, EXPLORED, UNSTABLE, Cell, Column, Row, Table

GAP = ("difference", "ci_low", "ci_high")
BOTH = (*ESTIMATE, *GAP)
NONE = Cell("–")


def compared_tables(comparison: Comparison) -> list[Table]:
    """Every table that the comparison has material for, the overview first."""
    found = [methods_table(comparison)]
    found += [merge_table(comparison, merge) for merge in comparison.merges]
    if comparison.ranking is not None:
        found.append(ranks_table(comparison))
    if comparison.volumes:
        found.append(volume_table(comparison))
    if comparison.matches:
        found.append(matched_table(comparison))
    return found


def methods_table(comparison: Comparison, brief: bool = False) -> Table:
    """One line a method: mean score, difference from the baseline, wins, rank, hypervolume, matched distance.

    Args:
        comparison: what was computed.
        brief: for a terminal: intervals beside differences alone.
    """
    baseline, chosen = comparison.baseline, comparison.at_chosen()
    top = {m for m, s in comparison.scores.items() if m in comparison.methods}
    best = max(top, key=lambda label: comparison.scores[label].value) if len(top) > 1 else ""
    rows = []
    for label in comparison.labels:
        broken = UNSTABLE if any(label == name for _, name in comparison.broken) else ""
        cells = [
            _mean_cell("gsm8k", comparison.scores.get(label), brief, label == best, broken),
            _gap_cell("gsm8k", comparison.scores, label, baseline),
        ]
        if comparison.matches:
            cells.append(_match_cell(over_range(comparison.matches, label)))
        cells.append(_mean_cell("wikitext", comparison.perplexities.get(label), brief))
        cells += [_rank_cell(comparison, label, brief), _record_cell(chosen, label, baseline)]
        if comparison.volumes:
            cells.append(_volume_cell(_overall(comparison, label), brief=True))
        rows.append(Row(label, section_of(comparison.lineup, label), tuple(cells)))
    score, cell = "mean of merged tasks (%)", "all cells"
    columns = [Column("mean", score, ESTIMATE, "mean"), Column(f"against {baseline}", score, GAP)]
    if comparison.matches:
        columns.append(Column("at equal distance", score, GAP))
    columns.append(Column("mean", "perplexity", ESTIMATE))
    columns += [Column("mean rank", cell, ESTIMATE), Column("w / t / l", cell, (WIN, TIE, LOSS), "record")]
    if comparison.volumes:
        columns.append(Column("hypervolume", "over λ", BOTH))
    title = f"All methods against {baseline}, each at its chosen λ"
    return Table("methods", title, tuple(columns), tuple(rows), _method_notes(comparison))


def _method_notes(comparison: Comparison) -> tuple[str, ...]:
    tasks = [cell for cell in comparison.cells if cell[1] != "wikitext"]
    seeds = len(comparison.seeds) or 1
    count = int((comparison.at_chosen()["outcome"] != "").sum())
    lines = [
        f"mean: over {len(tasks)} merged-task scores; mean rank: over these and perplexity, 1 is best; "
        f"95 % intervals {over(seeds)} in brackets (of ranks over items); {seeds} seed{'s' * (seeds > 1)}. "
        f"{EXPLORED} "
        "interval excludes 0.",
        f"w / t / l: wins, ties and losses against {comparison.baseline} over merges, perplexity and merged tasks; a "
        f"win or a loss has a corrected p < 0.05 {over(seeds)} (Holm over the {count} tests of this comparison).",
        *detectable_note(comparison.at_chosen(), "difference from the baseline"),
    ]
    if comparison.volumes:
        lines.append(
            "hypervolume: share of a box under the Pareto front over λ; perplexity from pre’s to ten times that, "
            "score from 0 to 1."
        )
    if comparison.matches:
        lines.append(
            "at equal distance: difference of the mean score where both moved equally far from pre, average over the "
            "common range of distances."
        )
    if comparison.broken:
        lines.append(
            f"{UNSTABLE} unstable in a merge (not finite, or over 10 × pre's perplexity): a loss, and last in rank, "
            "there; no mean."
        )
    known = comparison.lineup.method_notes("learn")
    return (*lines, *comparison.absent.values(), *comparison.meta.get("notes", []), *known)


def merge_table(comparison: Comparison, merge: str) -> Table:
    """One merge: λ, score, difference from the baseline and distance of each method."""
    lineup, baseline = comparison.lineup, comparison.baseline
    tasks = [task for task in ("wikitext", *lineup.members(merge)) if task in comparison.chosen.measures]
    chosen = comparison.at_chosen()
    by_key = {(row.task, row.a): row for row in rows_of(chosen[chosen["merge"] == merge])}
    rows = []
    for label in comparison.labels:
        if ("learn", merge, label) not in comparison.sweep.methods:
            continue
        key = Model("learn", merge, label)
        cells = [Cell(chosen_point(comparison, merge, label), raw=(chosen_point(comparison, merge, label),))]
        for task in tasks:
            found = comparison.chosen.estimates.get(task, {}).get(key)
            row = by_key.get((task, label))
            if (merge, label) in comparison.broken:
                cells.append(Cell(number(task, found.value) if found else "–", "", UNSTABLE))
            elif row is None or found is None:
                cells.append(estimate_cell(task, found, brief=True))
            else:
                cells.append(_pair_cell(task, found, row))
        distance = lineup.distance(key)
        cells.append(Cell("–" if math.isnan(distance) else f"{distance:.2f}", raw=(distance,)))
        rows.append(Row(label, section_of(comparison.lineup, label), tuple(cells)))
    columns = [Column("λ", key="lambda")]
    columns += [Column(heading_of(t), "", BOTH, t) for t in tasks]
    columns.append(Column("‖merged − pre‖", key="distance"))
    notes = [
        f"In brackets the difference from {baseline} with its paired 95 % interval "
        f"{over(len(comparison.seeds) or 1)}. "
        f"{CONFIRMED} and {EXPLORED}: a win or a loss after Holm; {CONFIRMED} where the study names this test "
        f"beforehand, {EXPLORED} where it is "
        "exploratory."
    ]
    if any(name == merge for name, _ in comparison.broken):
        notes.append(f"{UNSTABLE} unstable: a loss in every column, whatever the number.")
    title = f"Learning {listed(lineup.experts(merge))}: each method against {baseline}"
    return Table(f"merge_{merge}", title, tuple(columns), tuple(rows), tuple(notes))


def ranks_table(comparison: Comparison) -> Table:
    """Ranks by merge and task, and their means."""
    made = comparison.ranking
    assert made is not None
    rows = []
    for place, label in enumerate(made.labels):
        cells = [_rank_cell(comparison, label, brief=False)]
        cells += [Cell(f"{rank:g}", raw=(float(rank),)) for rank in made.ranks_KN[place]]
        rows.append(Row(label, "", tuple(cells)))
    columns = [Column("mean", "", ESTIMATE, "mean")]
    columns += [Column(short_of(task), merge, key=task) for merge, task in made.cells]
    notes = [
        "1 is best; equal scores share the mean of their places. Intervals are over items, with the cells and "
        "trainings held."
    ]
    if made.friedman is not None:
        found = made.friedman
        notes.append(
            f"Friedman’s test with the correction of Iman and Davenport: F = {found.f:.2f}, {p_value(found.p)}; "
            f"Nemenyi’s critical difference of mean ranks at 0.05: {made.critical:.2f}. Both take the "
            f"{len(made.cells)} cells for independent, which cells that share an expert are not quite."
        )
    else:
        notes.append("One cell alone: no test of ranks.")
    return Table("ranks", "Ranks by merge and task", tuple(columns), tuple(rows), tuple(notes))


def volume_table(comparison: Comparison) -> Table:
    """Hypervolume of each method's front on each merge, with the difference from the baseline."""
    merges = list(dict.fromkeys(volume.merge for volume in comparison.volumes))
    known = {(volume.merge, volume.label): volume for volume in comparison.volumes}
    rows = [
        Row(
            label,
            section_of(comparison.lineup, label),
            tuple(_volume_cell(known.get((merge, label)), False) for merge in merges),
        )
        for label in comparison.labels
        if any((merge, label) in known for merge in merges)
    ]
    columns = [Column("mean of merges" if merge == ALL else merge, "", BOTH, merge) for merge in merges]
    notes = (
        f"In brackets the difference from {comparison.baseline} with its paired 95 % interval"
        f" {over(len(comparison.seeds))} (exploratory, uncorrected). λ = 0 belongs to every front, unstable points "
        "to none. A method with more λ can only cover more.",
    )
    return Table("hypervolume", "Hypervolume of the Pareto fronts over λ", tuple(columns), tuple(rows), notes)


def matched_table(comparison: Comparison) -> Table:
    """Differences from the baseline at equal distance: the mean over the common range, by merge and task."""
    found = {(m.merge, m.task, m.label): m for m in comparison.matches if m.at == RANGE}
    places = list(dict.fromkeys((m.merge, m.task) for m in comparison.matches if m.at == RANGE))
    merges = sorted(dict.fromkeys(merge for merge, _ in places), key=lambda merge: merge != ALL)
    shown = [(m, t) for m in merges for t in ("wikitext", MEAN) if (m, t) in places]
    rows = [
        Row(
            label,
            section_of(comparison.lineup, label),
            tuple(_match_cell(found.get((*place, label))) for place in shown),
        )
        for label in comparison.labels
        if any((*place, label) in found for place in shown)
    ]
    heads = {MEAN: "score", "wikitext": "ppl"}
    columns = [Column(heads[task], "all merges" if merge == ALL else merge, GAP, task) for merge, task in shown]
    notes = (
        f"Method − {comparison.baseline} where both moved equally far from pre, average over the distances that both "
        f"reach; score: mean of the merged tasks, in points. {EXPLORED} the paired 95 % interval"
        f" {over(len(comparison.seeds))} excludes 0 (exploratory, uncorrected). Single tasks, and the distance of "
        "each λ, stand in matched.csv.",
    )
    return Table("matched", "At equal distance from the model before merging", tuple(columns), tuple(rows), notes)


def _mean_cell(task: str, found: Contrast | None, brief: bool, best: bool = False, marks: str = "") -> Cell:
    if found is None:
        return Cell("–", "", marks)
    aside = "" if brief else span(task, found.low, found.high)
    return Cell(number(task, found.value), aside, marks, best, (found.value, found.low, found.high))


def _gap_cell(task: str, known: dict[str, Contrast], label: str, baseline: str) -> Cell:
    if label == baseline or label not in known or baseline not in known:
        return NONE
    gap = known[label].against(known[baseline])
    marks = EXPLORED if gap.clear else ""
    return _signed(task, gap.value, gap.low, gap.high, marks)


def _signed(task: str, value: float, low: float, high: float, marks: str) -> Cell:
    return Cell(difference(task, value), span(task, low, high, True), marks, False, (value, low, high))


def _record_cell(chosen: Any, label: str, baseline: str) -> Cell:
    counts = record(chosen, label)
    if label == baseline or not sum(counts):
        return NONE
    return Cell(" / ".join(map(str, counts)), raw=tuple(map(float, counts)))


def _rank_cell(comparison: Comparison, label: str, brief: bool) -> Cell:
    made = comparison.ranking
    if made is None or label not in made.labels:
        return NONE
    place = made.labels.index(label)
    mean, low, high = float(made.mean_K[place]), float(made.low_K[place]), float(made.high_K[place])
    return Cell(f"{mean:.2f}", "" if brief else f"[{low:.2f}, {high:.2f}]", "", place == 0, (mean, low, high))


def _overall(comparison: Comparison, label: str) -> Volume | None:
    """The mean over merges, or the only merge."""
    merges = {volume.merge for volume in comparison.volumes}
    wanted = ALL if len(merges) > 1 else next(iter(merges))
    return next((v for v in comparison.volumes if (v.merge, v.label) == (wanted, label)), None)


def _volume_cell(found: Volume | None, brief: bool) -> Cell:
    if found is None:
        return NONE
    raw: tuple[float, ...] = (found.value, found.low, found.high)
    if (gap := found.gap) is None:
        return Cell(f"{found.value:.3f}", raw=(*raw, *[math.nan] * 3))
    aside = "" if brief else f"({_plus(gap.value)} [{_plus(gap.low)}, {_plus(gap.high)}])"
    return Cell(f"{found.value:.3f}", aside, raw=(*raw, gap.value, gap.low, gap.high))


def _plus(value: float) -> str:
    text = f"{abs(value):.3f}"
    return text if float(text) == 0 else ("+" if value > 0 else "−") + text


def _match_cell(found: Match | None) -> Cell:
    if found is None:
        return NONE
    task = "wikitext" if found.task == "wikitext" else "gsm8k"
    gap = found.gap
    return _signed(task, gap.value, gap.low, gap.high, EXPLORED if gap.clear else "")


def _pair_cell(task: str, found: Any, row: Any) -> Cell:
    marks = ""
    if row.outcome in (WIN, LOSS):
        marks = CONFIRMED if row.status == "confirmatory" else EXPLORED
    aside = f"({difference(task, row.difference)} {span(task, row.ci_low, row.ci_high, True)})"
    raw = (found.value, found.low, found.high, row.difference, row.ci_low, row.ci_high)
    return Cell(number(task, found.value), aside, marks, False, raw)
