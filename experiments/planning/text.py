"""A plan for people: tables of at most 110 columns, then what is assumed, unknown or will not fit."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from experiments.planning.config import Planning
from experiments.planning.estimate import Estimate
from lata.planning import units

WIDTH = 110
_UNKNOWN = "unknown"

Number = TypeVar("Number", int, float)


def describe(planning: Planning, made: Estimate) -> str:
    """The whole text."""
    parts = [_heading(planning, made), _models(made), _stages(made), _tasks(made), _totals(made)]
    lines = [*(f"warning: {line}" for line in made.warnings), *(f"unknown: {line}" for line in made.notes)]
    lines.append(_assumptions(planning, made))
    return "\n\n".join([*parts, "\n".join(_wrapped(line) for line in lines)])


def hours(seconds: float | None) -> str:
    """A time for a table: ``3.2 h``, ``12 min``, ``40 s``."""
    if seconds is None:
        return _UNKNOWN
    if seconds >= 5400:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{max(1, seconds):.0f} s"


def _heading(planning: Planning, made: Estimate) -> str:
    config, machine, options = planning.study.config, planning.machine, planning.options
    seeds = f"{len(planning.study.seeds)} seed" + "s" * (len(planning.study.seeds) > 1)
    if machine.is_cpu:
        device = f"{options.cores} cores of a CPU"
    else:
        device = (
            f"{options.gpus} × {machine.title} ({machine.memory / 1e9:.0f} GB, {machine.bandwidth / 1e12:.2f} TB/s, "
            f"{machine.bf16 / 1e12:.0f} TFLOP/s dense bf16)"
        )
    workers = f"{made.workers} worker" + "s" * (made.workers > 1)
    return f"{config.name}: family {config.family.name}, {seeds}\non {device}, {workers}"


def _models(made: Estimate) -> str:
    rows = [
        (
            model.name,
            textwrap.shorten(model.source, 44, placeholder="…") if " " in model.source else _cut(model.source, 44),
            (model.licence if len(model.licence) <= 16 else f"{model.licence[:15]}…") + ", gated" * model.gated,
            model.place,
            _known(model.parameters, units.amount),
            _known(model.stored, units.size),
        )
        for model in made.models
    ]
    return _table(("model", "source", "licence", "where", "parameters", "bytes"), rows, right=2)


def _stages(made: Estimate) -> str:
    rows = [
        (
            stage.name,
            stage.what,
            _known(stage.cpu, _size),
            _known(stage.gpu, _size),
            hours(stage.seconds),
            hours(stage.most),
        )
        for stage in made.stages
    ]
    rows.append(("total", "", "", "", hours(made.seconds), hours(made.most)))
    return _table(("stage", "what, at most", "memory", "each GPU", "time", "time, longest answers"), rows, right=4)


def _tasks(made: Estimate) -> str:
    rows = [
        (
            task.task if one.what == "test" else f"{task.task} ({one.what})",
            f"{task.count:,}",
            f"{task.prompt_tokens:,.0f}",
            f"{task.answer_tokens():,.0f}" if task.limit else "",
            f"{task.answer_tokens(most=True):,.0f}" if task.limit else "",
            task.how,
        )
        for one in made.rounds
        for task in one.tasks
    ]
    if not rows:
        return "no evaluations: layers alone"
    names = ("one evaluation", "documents", "prompt tokens", "generated tokens", "at most", "tokens are")
    return _table(names, rows, right=4, first=1)


def _totals(made: Estimate) -> str:
    prompts = sum(one.prompt_tokens() for one in made.rounds)
    answers, most = (sum(one.answer_tokens(longest) for one in made.rounds) for longest in (False, True))
    known = all(model.download is not None for model in made.models)
    download = units.size(made.download) + ("" if known else " and what is unknown")
    return "\n".join(
        (
            f"{made.merges} merges and {made.evaluations} evaluations at most: equal weights are scored once, and "
            f"the store holds {made.stored} evaluations",
            f"{prompts / 1e6:,.1f} million prompt tokens, {answers / 1e6:,.1f} million generated, at most "
            f"{most / 1e6:,.1f} million",
            f"to download {download}; in the store about {units.size(round(made.store))}",
        )
    )


def _assumptions(planning: Planning, made: Estimate) -> str:
    options = planning.options
    machine = planning.machine
    said = (
        f"{planning.compute_use:g} of the FLOP/s and {options.memory_use:g} of the bandwidth of {machine.title} "
        f"({machine.source}), {planning.launch * 1e3:g} ms a layer at least, disk {options.read_gb_s:g} GB/s"
    )
    if any(model.download for model in made.models):
        said += f", download {options.download_mb_s:g} MB/s"
    shape = next(model.shape for model in made.models if model.name == "pre")
    eager = shape is not None and shape.eager and planning.study.config.eval.backend == "hf"
    attention = "attention as transformers computes Gemma 2's, not fused" if eager else "attention in fused kernels"
    return f"assumed, not measured on your machine (plan.…=… changes it): {said}; {attention}"


def _table(names: Sequence[str], rows: Iterable[Sequence[str]], right: int, first: int | None = None) -> str:
    """Columns padded to their widest; `right` of them, the last ones or those from `first` on, to the right."""
    listed = [tuple(names), *map(tuple, rows)]
    widths = [max(len(row[column]) for row in listed) for column in range(len(names))]
    start = len(names) - right if first is None else first
    aligned = range(start, start + right)
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column in aligned else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in listed
    )


def _wrapped(line: str) -> str:
    return textwrap.fill(line, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"…{text[-width + 1 :]}"


def _size(value: float) -> str:
    return f"{value / 1e9:.1f} GB" if value else ""


def _known(value: Number | None, words: Callable[[Number], str]) -> str:
    return _UNKNOWN if value is None else words(value)
