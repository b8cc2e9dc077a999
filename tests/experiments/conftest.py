"""Fixtures of the tests that run whole studies."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def small_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that all tests of the session share; the small family in it is trained once."""
    return tmp_path_factory.mktemp("cache")
