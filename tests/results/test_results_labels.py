"""Labels stay apart."""

from __future__ import annotations

import numpy as np
import pytest

from results.figures.drawing import place, spread


def overlaps(corners: np.ndarray, sizes: np.ndarray) -> int:
    count = 0
    for i in range(len(corners)):
        for j in range(i):
            apart = (corners[i] + sizes[i] <= corners[j]) | (corners[j] + sizes[j] <= corners[i])
            count += not apart.any()
    return count


@pytest.mark.parametrize("seed", range(8))
def test_a_dozen_labels_in_a_panel_neither_overlap_nor_leave_it(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = np.array([400, 250]) + rng.normal(size=(12, 2)) * [110, 60]
    sizes = np.stack([rng.uniform(20, 95, 12), np.full(12, 12.0)], axis=1)
    corners = place(points, sizes, (0, 0, 800, 500))
    assert overlaps(corners, sizes) == 0
    assert (corners >= 0).all()
    assert (corners + sizes <= [800, 500]).all()
    assert (place(points, sizes, (0, 0, 800, 500)) == corners).all()


def test_spread_moves_only_what_is_too_close() -> None:
    found = spread(np.array([1.0, 1.1, 5.0]), 1.0)
    assert found.tolist() == pytest.approx([0.55, 1.55, 5.0])
    assert np.diff(np.sort(spread(np.array([3.0, 3.0, 3.0, 3.4]), 0.5))).min() >= 0.5 - 1e-9
