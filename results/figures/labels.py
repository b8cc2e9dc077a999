"""Direct labels that do not cover each other: boxes beside points, chosen greedily and then improved."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from results.statistics.closed_form import FloatArray

_ANGLES = np.deg2rad([0, 180, 90, 270, 45, 135, 315, 225, 20, 160, 340, 200, 70, 110, 250, 290])
_GAPS = (7.0, 16.0, 28.0, 44.0, 62.0, 84.0)


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
