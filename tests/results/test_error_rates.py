"""The rules of the claims on made-up studies: how often they are wrong, and that the committed table says it."""

from __future__ import annotations

import numpy as np
import pytest

from results.claims import decisions
from results.claims.error_rates import PAGE, TRUTHS, inferred, table, values


def test_a_made_up_study_has_the_errors_that_it_is_said_to_have() -> None:
    rng = np.random.default_rng(0)
    a, b = values(rng, (2, 40_000), 1, np.zeros((2, 40_000)))
    assert (a - b).std() == pytest.approx(1, rel=0.02)
    a, b = values(rng, (2, 40_000), 5, np.array([[3.0], [0.0]]))
    assert (a - b).mean() == pytest.approx(3, abs=0.05)
    assert (a - b).std(1, ddof=1).__pow__(2).mean() == pytest.approx(4 + 0.5, rel=0.03)
    assert (a - b).mean(1).var() == pytest.approx((4 + 0.5) / 5 + 0.5, rel=0.03)
    assert np.mean(inferred([(1.0, a), (-1.0, b)]).p_below(3.0) < 0.05) == pytest.approx(0.05, abs=0.02)


def test_every_claim_is_tried_where_it_holds_and_where_it_does_not() -> None:
    for claim in ("C1", "C2", "C3", "C4", "C5", "C6", "C7"):
        assert {True, False} <= {truth.holds for truth in TRUTHS if truth.claim == claim}


@pytest.mark.parametrize("truth", [t for t in TRUTHS if t.claim != "C4"], ids=lambda t: f"{t.claim} {t.text}")
@pytest.mark.parametrize("seeds", [3, 10])
def test_verdicts_are_seldom_wrong(truth: object, seeds: int) -> None:
    signs = truth.decide(np.random.default_rng([1, seeds]), 300, seeds)
    wrong = {True: -1, False: 1}.get(truth.holds)
    assert np.mean(signs == wrong if wrong else signs != 0) < 0.07


def test_a_single_condition_that_fails_makes_all_fail_and_one_that_is_open_leaves_them_open() -> None:
    assert decisions.all_hold(np.array([[1, 1, 1], [1, 0, -1]])).tolist() == [1, 0, -1]
    assert decisions.within(np.array([0.06, 0.0, 0.04]), np.array([0.1, 0.04, 0.1]), 0.05, 0.2).tolist() == [1, -1, 0]


@pytest.mark.slow
def test_the_committed_table_is_what_the_command_makes() -> None:
    assert table() in PAGE.read_text(encoding="utf-8")
