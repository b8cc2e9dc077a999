"""What all figures share: colours, fonts, dots with intervals, labels that do not cover each other, files.

Colours are Okabe and Ito's: blue for baselines, vermilion for LATA, hollow grey for controls.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from results.analysis.analysis import Analysis
from results.statistics.closed_form import FloatArray
from results.study.lineup import Model
from results.study.selection import UNSTABLE_RATIO
from results.study.wording import in_percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, RULE, PAPER, SHADE = "#1f2328", "#636c76", "#d4d9df", "#ffffff", "#f4f5f7"
COLOURS = {"baseline": "#0072b2", "lata": "#d55e00", "control": "#7a8390"}
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
#: Name → (caption, SVG, PNG).
Drawings = dict[str, tuple[str, bytes, bytes]]
STYLE: Any = {
    "svg.hashsalt": "lata",
    # A dollar sign in a name is a dollar sign.
    "text.parse_math": False,
    "svg.fonttype": "none",
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlesize": 9.5,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": INK,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8.5,
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
}

# Directions, and distances in pixels, at which a label is tried.
_ANGLES = np.deg2rad([0, 180, 90, 270, 45, 135, 315, 225, 20, 160, 340, 200, 70, 110, 250, 290])
_GAPS = (7.0, 16.0, 28.0, 44.0, 62.0, 84.0)


def new_figure(width: float, height: float, rows: int, columns: int, **kwargs: Any) -> tuple[Figure, np.ndarray]:
    """A figure of this size in inches and its panels (rows, columns), drawn without a display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False, **kwargs)


def draw_dots(
    axes: Axes, x: list[float], y: list[float], groups: list[str], spans: list[tuple[float, float]]
) -> None:
    """One dot a method in the colour of its group (`Lineup.group_of`), with its interval where `spans` has one.

    Controls are hollow.
    """
    for group, colour in COLOURS.items():
        own = [i for i, other in enumerate(groups) if other == group]
        if not own:
            continue
        bars = [i for i in own if spans and all(map(math.isfinite, spans[i]))]
        if bars:
            low, high = zip(*(spans[i] for i in bars), strict=True)
            axes.hlines([y[i] for i in bars], low, high, color=colour, linewidth=1.6, zorder=2)
        face = PAPER if group == "control" else colour
        axes.plot(
            *([side[i] for i in own] for side in (x, y)),
            "o",
            markersize=5.5,
            markerfacecolor=face,
            markeredgecolor=colour,
            markeredgewidth=1.3,
            zorder=3,
        )


def stable_limit(analysis: Analysis, task: str) -> float:
    """Above this a perplexity is not drawn: it would flatten every other difference."""
    pre = analysis.estimates.get(task, {}).get(Model("model", "", "pre"))
    return UNSTABLE_RATIO * pre.value if pre and not in_percent(task) else math.inf


def usable(value: float, limit: float) -> bool:
    """Whether a value can be drawn."""
    return math.isfinite(value) and value <= limit


def drawn(drawers: Mapping[str, Callable[[], tuple[Figure, str] | None]]) -> Drawings:
    """Draw figures in the common style: the same bytes for the same numbers; those without material are left out.

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


def place(points_P2: FloatArray, sizes_P2: FloatArray, frame: tuple[float, float, float, float]) -> FloatArray:
    """Lower-left corners of label boxes, one beside each point.

    Tries sixteen directions at growing distances; the cost of a place is the area it shares with other labels, with
    points and with what lies outside the frame, and a little for distance. Three rounds let early labels move
    out of the way of later ones. Deterministic.

    Args:
        points_P2: positions in pixels; the points themselves are kept free.
        sizes_P2: width and height of each label in pixels.
        frame: left, bottom, right, top that labels should stay within.

    Returns:
        Shape (P, 2), in pixels.
    """
    count = len(points_P2)
    corners = np.zeros((count, 2))
    placed = np.zeros(count, dtype=bool)
    dots = np.concatenate([points_P2 - 9, points_P2 + 9], axis=1)
    crowded = np.argsort(
        [np.sort(np.hypot(*(points_P2 - point).T))[: min(4, count)].sum() for point in points_P2], kind="stable"
    )
    for _ in range(3):
        for index in crowded:
            options = _options(points_P2[index], sizes_P2[index])
            boxes = np.concatenate([options, options + sizes_P2[index]], axis=1)
            others = placed.copy()
            others[index] = False
            taken = np.concatenate([corners[others], corners[others] + sizes_P2[others]], axis=1)
            cost = 3 * _shared(boxes, taken) + 2 * _shared(boxes, np.delete(dots, index, axis=0))
            area = float(np.prod(sizes_P2[index]))
            inside = _shared(boxes, np.array([frame]))
            cost += 4 * (area - inside) + np.repeat(np.arange(len(_GAPS)), len(_ANGLES)) * 0.06 * area
            corners[index] = options[int(np.argmin(cost))]
            placed[index] = True
    return corners


def _options(point: FloatArray, size: FloatArray) -> FloatArray:
    """Corners of all boxes whose nearest edge lies a gap away from the point, by distance and direction."""
    out = []
    for gap in _GAPS:
        for angle in _ANGLES:
            c, s = np.cos(angle), np.sin(angle)
            centre = point + np.array([c * (gap + size[0] / 2), s * (gap + size[1] / 2)])
            out.append(centre - size / 2)
    return np.array(out)


def _shared(boxes: NDArray[np.float64], taken: NDArray[np.float64]) -> FloatArray:
    """Area that each box shares with all taken boxes."""
    if not len(taken):
        return np.zeros(len(boxes))
    wide = np.minimum(boxes[:, None, 2], taken[None, :, 2]) - np.maximum(boxes[:, None, 0], taken[None, :, 0])
    high = np.minimum(boxes[:, None, 3], taken[None, :, 3]) - np.maximum(boxes[:, None, 1], taken[None, :, 1])
    return np.asarray((np.clip(wide, 0, None) * np.clip(high, 0, None)).sum(1))


def spread(values: FloatArray, gap: float) -> FloatArray:
    """Move values apart along one axis until neighbours are `gap` apart, each as little as possible."""
    order = np.argsort(values, kind="stable")
    blocks: list[tuple[float, list[int]]] = []  # centre, members
    for index in order:
        blocks.append((float(values[index]), [int(index)]))
        while len(blocks) > 1:
            (c1, m1), (c2, m2) = blocks[-2:]
            if c2 - c1 >= gap * (len(m1) + len(m2)) / 2 - 1e-9:
                break
            members = m1 + m2
            shifts = [values[m] - gap * (i - (len(members) - 1) / 2) for i, m in enumerate(members)]
            blocks[-2:] = [(float(np.mean(shifts)), members)]
    out = np.empty(len(values))
    for centre, members in blocks:
        for i, m in enumerate(members):
            out[m] = centre + gap * (i - (len(members) - 1) / 2)
    return out
