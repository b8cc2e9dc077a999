"""Figures are drawn where a test looks at them: they take four fifths of the time of a summary."""

from __future__ import annotations

import pytest

from results.summaries import comparison, study, sweep


@pytest.fixture(autouse=True)
def undrawn(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that calls for a summary itself gets one without figures, unless it is marked ``draws``.

    Fixtures of a module are made before this one, and have their figures.
    """
    if request.node.get_closest_marker("draws") is None:
        for module in (study, sweep, comparison):
            monkeypatch.setattr(module, "drawn", lambda drawers: {})
