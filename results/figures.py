"""The figures of a study as SVG and PNG, with the same bytes for the same numbers."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING

from results.analysis import Analysis
from results.figure_scores import forgetting, scores
from results.figure_similarity import similarity
from results.figure_style import STYLE
from results.figure_tradeoff import tradeoff

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def all_figures(analysis: Analysis) -> dict[str, tuple[str, bytes, bytes]]:
    """Name → (caption, SVG, PNG) of every figure that the study has material for."""
    import matplotlib

    matplotlib.use("Agg")
    drawers: dict[str, Callable[[Analysis], tuple[Figure, str] | None]] = {
        "tradeoff": tradeoff,
        "scores": scores,
        "forgetting": forgetting,
        "similarity": similarity,
    }
    found = {}
    with matplotlib.rc_context(STYLE):
        for name, draw in drawers.items():
            drawn = draw(analysis)
            if drawn is not None:
                found[name] = (drawn[1], *_written(drawn[0]))
    return found


def _written(figure: Figure) -> tuple[bytes, bytes]:
    svg, png = io.BytesIO(), io.BytesIO()
    figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
    figure.savefig(png, format="png", dpi=144, metadata={"Software": None})
    return svg.getvalue(), png.getvalue()
