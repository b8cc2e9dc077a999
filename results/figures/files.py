"""The figures of a study as SVG and PNG, with the same bytes for the same numbers."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from results.analysis.snapshot import Analysis
from results.figures.drawing import STYLE, Drawings
from results.figures.layers import layers
from results.figures.scores import forgetting, scores
from results.figures.similarity import similarity
from results.figures.tradeoff import tradeoff

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def all_figures(analysis: Analysis) -> Drawings:
    """Every figure that the study has material for."""
    return drawn(
        {
            "tradeoff": lambda: tradeoff(analysis),
            "scores": lambda: scores(analysis),
            "forgetting": lambda: forgetting(analysis),
            "layers": lambda: layers(analysis),
            "similarity": lambda: similarity(analysis),
        }
    )


def drawn(drawers: Mapping[str, Callable[[], tuple[Figure, str] | None]]) -> Drawings:
    """Draw figures in the common style: name → (caption, SVG, PNG); those without material are left out.

    Args:
        drawers: name → function that returns the figure and its caption, or None.
    """
    import matplotlib

    matplotlib.use("Agg")
    found = {}
    with matplotlib.rc_context(STYLE):
        for name, draw in drawers.items():
            made = draw()
            if made is not None:
                found[name] = (made[1], *_written(made[0]))
    return found


def _written(figure: Figure) -> tuple[bytes, bytes]:
    svg, png = io.BytesIO(), io.BytesIO()
    figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
    figure.savefig(png, format="png", dpi=144, metadata={"Software": None})
    return svg.getvalue(), png.getvalue()
