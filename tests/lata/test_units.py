from __future__ import annotations

import pytest

from lata.planning import units


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (units.size(0), "0 bytes"),
        (units.size(48_400_000), "48 MB"),
        (units.size(2_471_645_608), "2.47 GB"),
        (units.amount(999), "999"),
        (units.amount(1_235_814_400), "1.24 billion"),
        (units.amount(7_500_000), "7.50 million"),
        (units.duration(0.2), "1 s"),
        (units.duration(119.5), "120 s"),
        (units.duration(180), "3 minutes"),
    ],
)
def test_numbers_read_as_people_say_them(made: str, expected: str) -> None:
    assert made == expected
