"""What a page says of its run in a line at its top: how much was made, and scored on how much."""

from __future__ import annotations

from results.analysis.analysis import Analysis, SweepAnalysis
from results.analysis.comparison import Comparison
from results.analysis.layers import is_about_layers, layer_vectors
from results.study.wording import kind_of, listed


def study_facts(analysis: Analysis) -> tuple[str, ...]:
    """Of a study: merges and methods (or blocks and experts), seeds, items."""
    lineup = analysis.lineup
    items = max((measure.n for measure in analysis.measures.values()), default=0)
    if is_about_layers(analysis):
        vectors = layer_vectors(analysis.study)
        made = f"{_many(vectors['depth'].nunique(), 'block')} × {_many(vectors['task'].nunique(), 'expert')}"
    else:
        kind = "learn" if lineup.merges("learn") or not lineup.merges("forget") else "forget"
        what = "merge" if kind == "learn" else "forgetting"
        made = f"{_many(len(lineup.merges(kind)), what)} × {_many(len(lineup.labels(kind)), 'method')}"
    return (made, _many(len(lineup.seeds), "seed"), *([f"{_many(items, 'item')} a task"] if items else []))


def sweep_facts(found: SweepAnalysis) -> tuple[str, ...]:
    """Of a sweep: merges and methods that learn and that forget, λ, seeds, how λ was chosen."""
    curves = [*found.curves.values(), *(one.curve for one in found.forgettings.values())]
    lams = {float(lam) for curve in curves for lam in curve.lam_P if lam == lam and lam != 0}
    points = max((int((curve.lam_P != 0).sum()) for curve in curves), default=0)
    made = []
    if found.merges or not found.forgettings:
        made.append(f"{_many(len(found.merges), 'merge')} × {_many(len(found.labels()), 'method')}")
    if found.forgettings:
        made.append(f"{_many(len(found.forgets), 'forgetting')} × {_many(len(found.forgetting_labels), 'method')}")
    swept = f"{points} λ" + (f" from {min(lams):g} to {max(lams):g}" if lams else ", one a task")
    return (*made, swept, _many(len(found.seeds), "seed"), f"selection {found.meta.get('selection', '–')}")


def comparison_facts(made: Comparison) -> tuple[str, ...]:
    """Of a comparison: the runs' title, merges, methods, seeds, items, where λ comes from."""
    items = max((measure.n for measure in made.chosen.measures.values()), default=0)
    counts = [
        _many(len(made.merges), "merge"),
        _many(len(made.labels), "method"),
        _many(len(made.lineup.seeds), "seed"),
        f"{_many(items, 'item')} a task",
    ]
    title = str(made.meta.get("title", ""))
    return (*([title] if title else []), *counts, f"λ: {made.meta.get('selection', 'fixed')}")


def confirmatory_tests(analysis: Analysis) -> int:
    """How many tests share the Holm correction."""
    return int((analysis.comparisons["status"] == "confirmatory").sum()) if len(analysis.comparisons) else 0


def noise_text(analysis: Analysis) -> str:
    """What is known of the noise floor, and of which tasks nothing is."""
    floors = analysis.meta.get("noise_floor") or {}
    missing = [task for task in analysis.lineup.tasks if task not in floors]
    moved = ", ".join(
        f"{task} {float(floor):.2g}" + " of its value" * (kind_of(task) == "perplexity")
        for task, floor in floors.items()
    )
    known = (
        f"Repeating an evaluation with another batch size moves scores by {moved}; a difference that is no larger is "
        "not called significant."
    )
    unknown = f"Not known for {listed(missing)}: no evaluation was repeated in other batches."
    return " ".join([known] * bool(floors) + [unknown] * bool(missing))


def _many(count: int, name: str) -> str:
    return f"{count} {name}{'s' * (count != 1)}"
