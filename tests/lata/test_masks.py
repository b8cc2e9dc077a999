from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lata.numerics import masks
from lata.numerics.kernels import philox


@given(st.integers(0, 60), st.integers(0, 60))
def test_any_range_equals_the_same_range_of_the_whole_mask(start: int, count: int) -> None:
    whole = masks.keep(3, "math", "w", 120, 0.5)
    np.testing.assert_array_equal(masks.keep(3, "math", "w", count, 0.5, start), whole[start : start + count])


def test_seed_task_and_name_each_give_another_mask() -> None:
    base = masks.keep(0, "math", "w", 256, 0.5)
    for other in [(1, "math", "w"), (0, "code", "w"), (0, "math", "v")]:
        assert (masks.keep(*other, 256, 0.5) != base).any()


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_the_share_dropped_is_the_rate(rate: float) -> None:
    count = 1_000_000
    dropped = 1 - masks.keep(0, "math", "w", count, rate).mean()
    assert abs(dropped - rate) < 5 * np.sqrt(rate * (1 - rate) / count)
    assert abs(masks.exact_drop_rate(rate) - rate) <= 2**-33


def test_rate_zero_keeps_everything() -> None:
    assert masks.keep(0, "math", "w", 10_000, 0.0).all()
    assert masks.exact_drop_rate(0.0) == 0.0


def test_elements_and_neighbours_are_independent() -> None:
    kept = masks.keep(0, "math", "w", 200_000, 0.5).astype(float)
    for lag in (1, 2, 8):
        assert abs(np.corrcoef(kept[:-lag], kept[lag:])[0, 1]) < 0.012


def test_the_mask_of_a_name_never_changes() -> None:
    assert np.packbits(masks.keep(0, "math", "model.norm.weight", 64, 0.5)).tobytes().hex() == GOLDEN_MASK


GOLDEN_MASK = "bdd3ec521e763a34"


@pytest.mark.parametrize(
    ("counter", "upper", "key", "expected"),
    [
        (0, (0, 0), (0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        (2**64 - 1, (2**32 - 1, 2**32 - 1), (2**32 - 1, 2**32 - 1), "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (
            0x85A308D3243F6A88,
            (0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
)
def test_the_generator_gives_the_known_answers_of_its_authors(
    counter: int, upper: tuple[int, int], key: tuple[int, int], expected: str
) -> None:
    """Random123's `kat_vectors` for philox4x32 with ten rounds."""
    words = np.empty(4, dtype=np.uint32)
    philox(np.uint64(counter), *(np.uint32(v) for v in (*upper, *key)), words)
    assert " ".join(f"{word:08x}" for word in words) == expected
