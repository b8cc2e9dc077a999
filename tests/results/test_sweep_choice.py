"""What choosing λ cost: by hand, and how far its interval can be trusted."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtri
from synthetic_sweep import make_sweep

from results.analysis.analysis import analyse_sweep
from results.analysis.choice import cost_of, mean_cost
from results.analysis.curves import NORMALISED

RNG = np.random.default_rng(0)


def test_the_cost_is_the_distance_to_the_best_point() -> None:
    score = np.array([0.2, 0.7, 0.5])
    draws = np.repeat(score[:, None], 100, axis=1)
    cost = cost_of([score], [draws], [2])
    assert (cost.value, cost.low, cost.high) == (pytest.approx(0.2),) * 3
    best = cost_of([score], [draws], [1])
    assert (best.value, best.low, best.high) == (0.0, 0.0, 0.0)


def test_the_cost_of_several_seeds_is_their_mean_and_each_seed_has_its_own_best() -> None:
    scores = [np.array([0.2, 0.6]), np.array([0.5, 0.3])]
    draws = [np.repeat(one[:, None], 2000, axis=1) for one in scores]
    assert cost_of(scores, draws, [0, 0]).value == pytest.approx((0.4 + 0.0) / 2)
    cost = cost_of(scores, draws, [0, 1])
    assert cost.value == pytest.approx((0.4 + 0.2) / 2)
    assert (cost.low, cost.high) == pytest.approx((0.3, 0.3))  # over items, of which there is no doubt here


def test_the_mean_cost_of_two_methods_is_the_mean() -> None:
    score = np.array([0.2, 0.7])
    draws = np.repeat(score[:, None], 100, axis=1)
    costs = [cost_of([score], [draws], [place]) for place in (0, 1)]
    assert mean_cost(costs).value == pytest.approx(0.25)


@pytest.mark.parametrize(("width", "items"), [(None, 60), (None, 300), (0.8, 60), (2.5, 300)])
def test_the_interval_covers_the_true_cost_however_many_points_are_equally_good(
    width: float | None, items: int
) -> None:
    lam = np.linspace(0.2, 2.4, 12)
    truth = np.full(12, 0.5) if width is None else 0.6 * np.exp(-(((lam - 0.8) / width) ** 2)) + 0.02

    def answers() -> np.ndarray:
        latent = 0.8 * RNG.normal(size=(items, 1)) + 0.6 * RNG.normal(size=(items, 12))
        return (latent < ndtri(truth)).astype(float)

    covered = 0
    for _ in range(150):
        chosen, test = int(answers().mean(0).argmax()), answers()
        counts = RNG.multinomial(items, np.full(items, 1 / items), size=400)
        cost = cost_of([test.mean(0)], [(counts @ test).T / items], [chosen])
        covered += cost.low - 1e-9 <= truth.max() - truth[chosen] <= cost.high + 1e-9
    assert covered >= 0.93 * 150


def test_the_choice_is_compared_on_the_test_split_with_the_best_stable_point() -> None:
    sweep = make_sweep(items=80)
    found = analyse_sweep(sweep)
    assert found.objective == NORMALISED
    test = sweep.scores[(sweep.scores["split"] == "test") & (sweep.scores["metric"] != "word_perplexity")]
    own = test[test["label"] == "math"].set_index("task")["value"]["gsm8k"]
    code = test[test["label"] == "code"].set_index("task")["value"]["humaneval"]
    for (_, label), choice in found.choices.items():
        rows = test[(test["label"] == label) & ~test["unstable"]].pivot_table("value", "point", "task")
        score = (rows["gsm8k"] / own + rows["humaneval"] / code) / 2
        point = choice.chosen[0]
        assert choice.score is not None
        assert choice.score.value == pytest.approx(score[point])
        assert choice.raw is not None
        assert choice.raw.value == pytest.approx(rows.loc[point].mean())
        assert choice.best is not None
        assert choice.best.value == pytest.approx(score.max())
        assert score[choice.hindsight[0]] == pytest.approx(score.max())
        assert choice.cost is not None
        assert choice.cost.value == pytest.approx(score.max() - score[point])
