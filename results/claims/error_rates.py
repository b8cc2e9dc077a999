"""How often each claim's rule is wrong: ``python -m results.claims.error_rates`` writes the table into
results/README.md.

A thousand made-up studies of known truth go through the rules of `decisions` for every claim, truth and number of
seeds. A study is drawn as it is analysed: every method has its value in every seed, from its true value, a spread of
trainings and the error of its test items, half of which is common to all seeds because they share the items. Values
are in *item errors*: one is the standard error over the items of a difference of two methods in one seed, such as 3
points of a rate of 300 items. Trainings differ by two of them, and by none in a study of one seed, which speaks of
its own family.

What is wrong is *supported* where the claim is false, and *not supported* where it is true.

Legend: N studies, S seeds, C cells, R rivals, M methods.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from results.claims import decisions
from results.claims.decisions import Signs
from results.claims.layers import C5_RANGE
from results.claims.stability import C6_LIMIT
from results.statistics.closed_form import FloatArray, holm, spearman
from results.statistics.inference import ALPHA, Inference, over_trainings, sign_of

STUDIES, SEEDS = 1_000, (1, 3, 5, 10)
#: Between trainings, and the share of the items' error that all seeds have in common.
SPREAD, SHARED = 2.0, 0.5
PAGE = Path(__file__).parents[1] / "README.md"
_START, _END = "<!-- error rates -->", "<!-- /error rates -->"


@dataclass(frozen=True)
class Truth:
    """What is true in a made-up study: in words, whether the claim holds then, and how to decide N studies of it."""

    claim: str
    text: str
    holds: bool | None
    decide: Callable[[np.random.Generator, int, int], Signs]


def values(rng: np.random.Generator, shape: tuple[int, ...], seeds: int, true: FloatArray) -> FloatArray:
    """Values (*shape, S) of methods whose differences have an item error of 1 and a spread of trainings of `SPREAD`.

    Args:
        rng: random numbers.
        shape: its leading axes.
        seeds: S.
        true: true values, broadcastable to `shape`.
    """
    size, own = (*shape, seeds), SPREAD * (seeds > 1) * rng.normal(size=(*shape, seeds))
    items = np.sqrt(SHARED) * rng.normal(size=(*shape, 1)) + np.sqrt(1 - SHARED) * rng.normal(size=size)
    return np.broadcast_to(true[..., None], size) + (own + items) / np.sqrt(2)


def inferred(parts: list[tuple[float, FloatArray]], units: int = 300) -> Inference:
    """Σ weight · values, inferred as `results.statistics.comparisons` does, the error of items known."""
    value = sum((weight * part for weight, part in parts), np.zeros(()))
    seeds = np.shape(value)[-1]
    error = sum(weight**2 for weight, _ in parts) / 2
    cov = error * (SHARED + (1 - SHARED) * np.eye(seeds))
    return over_trainings(np.asarray(value), np.broadcast_to(cov, (*np.shape(value), seeds)), units)


def lowest(effect: float, odd: float | None = None) -> Callable[[np.random.Generator, int, int], Signs]:
    """C1: LATA better by `effect` than four rivals in four merges, but for one rival of one merge (`odd`)."""

    def decide(rng: np.random.Generator, studies: int, seeds: int) -> Signs:
        true = np.zeros((4, 5, 1))
        true[:, 0] = effect
        true[0, 1] = effect - odd if odd is not None else 0.0
        own = values(rng, (4, 5, studies), seeds, np.broadcast_to(true, (4, 5, studies)))
        found = inferred([(1.0, own[:, :1]), (-1.0, own[:, 1:])])
        low, high = found.interval()
        flat = (16, studies)
        return decisions.ahead_of_all(sign_of(low, high).reshape(flat), found.p.reshape(flat))

    return decide


def in_most(effect: float, cells: int) -> Callable[[np.random.Generator, int, int], Signs]:
    """C2: LATA better by `effect` than three rivals in the first `cells` of nine cells, equal in the others."""

    def decide(rng: np.random.Generator, studies: int, seeds: int) -> Signs:
        true = np.zeros((9, 4, studies))
        true[:cells, 0] = effect
        own = values(rng, (9, 4, studies), seeds, true)
        found = inferred([(1.0, own[:, :1]), (-1.0, own[:, 1:])])
        corrected = holm(found.p.reshape(27, studies)).reshape(9, 3, studies)
        return decisions.ahead_in_most(np.where(corrected < ALPHA, np.sign(found.value).astype(np.int64), 0))

    return decide


def forgotten(harm: float, change: float) -> Callable[[np.random.Generator, int, int], Signs]:
    """C3: harm `harm` item errors over the threshold, two utilities changed by `change`; the margin is one error."""

    def decide(rng: np.random.Generator, studies: int, seeds: int) -> Signs:
        own = values(rng, (5, studies), seeds, np.array([harm, change, change, 0, 0])[:, None])
        after = inferred([(np.sqrt(2), own[0])])
        conditions = [decisions.under(*after.interval(), 0.0)]
        for place in (1, 2):
            gap = inferred([(1.0, own[place]), (-1.0, own[place + 2])])
            conditions.append(decisions.kept(gap.p_above(-1.0), gap.interval()[1], 1.0))
        return decisions.all_hold(np.stack(conditions))

    return decide


def late(slope: float) -> Callable[[np.random.Generator, int, int], Signs]:
    """C4: similarity of three experts in twelve layers falls by `slope` spreads of a layer from first to last."""

    def decide(rng: np.random.Generator, studies: int, seeds: int) -> Signs:
        depth = np.linspace(0, 1, 12)
        found = np.empty((3, 3, studies))
        for task in range(3):
            for study in range(studies):
                own = rng.normal(size=12) + rng.normal(size=12) / np.sqrt(seeds) - slope * depth
                found[:, task, study] = spearman(depth, own)[1:]
        return decisions.all_below(*found)

    return decide


def tenth(share: float) -> Callable[[np.random.Generator, int, int], Signs]:
    """C5: each of 78 layer vectors of a seed lies under the threshold with probability `share`."""

    def decide(rng: np.random.Generator, studies: int, seeds: int) -> Signs:
        own = rng.binomial(78, share, size=(studies, seeds)) / 78
        if seeds == 1:
            return decisions.within(own[:, 0], own[:, 0], *C5_RANGE)
        low, high = over_trainings(own, np.zeros((studies, seeds, seeds)), 78).interval()
        return decisions.within(np.clip(low, 0, 1), np.clip(high, 0, 1), *C5_RANGE)

    return decide


def broken(at: float) -> Callable[[np.random.Generator, int, int], Signs]:
    """C6: four methods break at λ = `at`, trainings and methods differing by 0.2; swept to 4 in steps of 0.2."""

    def decide(rng: np.random.Generator, studies: int, seeds: int) -> Signs:
        first = np.ceil(rng.normal(at, 0.2, size=(4, seeds, studies)) / 0.2) * 0.2
        return decisions.breaks(np.round(first, 9), np.full((4, studies), 4.0), C6_LIMIT)

    return decide


def explained(gain: float, share: float) -> Callable[[np.random.Generator, int, int], Signs]:
    """C7: LATA better than ta by `gain` in thirteen cells, one control having the share `share` of it, two none."""

    def decide(rng: np.random.Generator, studies: int, seeds: int) -> Signs:
        true = np.zeros((13, 5, studies))
        true[:, 1], true[:, 2] = gain, share * gain
        own = values(rng, (13, 5, studies), seeds, true)
        ta, lata, controls = own[:, :1], own[:, 1:2], own[:, 2:]
        over_ta = inferred([(1.0, lata[:, 0]), (-1.0, ta[:, 0])])
        gained = (holm(over_ta.p) < ALPHA) & (over_ta.value > 0)
        reach = sign_of(*inferred([(1.0, controls), (-0.5, lata), (-0.5, ta)]).interval())
        return decisions.unexplained(reach, gained, np.ones_like(gained))

    return decide


TRUTHS = (
    Truth("C1", "all methods equal", False, lowest(0)),
    *(Truth("C1", f"lowest by {size}", True, lowest(size)) for size in (5, 20)),
    Truth("C1", "lowest by 20, but one rival lower by 5", False, lowest(20, odd=-5)),
    Truth("C1", "lowest by 20, but one rival lower by 20", False, lowest(20, odd=-20)),
    Truth("C2", "all methods equal", False, in_most(0, 9)),
    *(Truth("C2", f"better by {size} in all cells", True, in_most(size, 9)) for size in (5, 20)),
    Truth("C2", "better by 20 in 4 of 9 cells", False, in_most(20, 4)),
    Truth("C2", "worse by 20 in all cells", False, in_most(-20, 9)),
    Truth("C3", "harm 5 under, utility the same", True, forgotten(-5, 0)),
    Truth("C3", "harm 20 under, utility up by 20", True, forgotten(-20, 20)),
    Truth("C3", "harm at the threshold", False, forgotten(0, 20)),
    Truth("C3", "harm 20 under, utility lower by 1", False, forgotten(-20, -1)),
    Truth("C3", "harm 20 over", False, forgotten(20, 0)),
    Truth("C4", "no trend", False, late(0)),
    Truth("C4", "falls by 3", True, late(3)),
    Truth("C4", "falls by 10", True, late(10)),
    Truth("C4", "rises by 10", False, late(-10)),
    Truth("C5", "10 %", True, tenth(0.10)),
    Truth("C5", "3 %", False, tenth(0.03)),
    Truth("C5", "40 %", False, tenth(0.40)),
    Truth("C6", "break at λ = 1.5", True, broken(1.5)),
    Truth("C6", "break at λ = 3", False, broken(3.0)),
    Truth("C7", "no gain", None, explained(0, 0)),
    *(Truth("C7", f"gain {size}, no control has any of it", True, explained(size, 0.0)) for size in (5, 20)),
    Truth("C7", "gain 20, a control has half", False, explained(20, 0.5)),
    *(Truth("C7", f"gain {size}, a control has all of it", False, explained(size, 1.0)) for size in (5, 20)),
)


def rates(studies: int = STUDIES) -> Iterator[tuple[Truth, int, float, float]]:
    """(truth, seeds, share supported, share not supported) for every truth and number of seeds."""
    for place, truth in enumerate(TRUTHS):
        for seeds in SEEDS:
            signs = truth.decide(np.random.default_rng([20_260_101, place, seeds]), studies, seeds)
            yield truth, seeds, float((signs == 1).mean()), float((signs == -1).mean())


def table(studies: int = STUDIES) -> str:
    """The table of results/README.md."""
    head = "| claim | true is | so it | " + " | ".join(f"{s} seed{'s' * (s > 1)}" for s in SEEDS) + " |"
    lines = [head, "|---|---|---|" + "---:|" * len(SEEDS)]
    cells: dict[Truth, list[str]] = {}
    for truth, _, yes, no in rates(studies):
        cells.setdefault(truth, []).append(f"{100 * yes:.1f} / {100 * no:.1f} / {100 * (1 - yes - no):.1f}")
    holds = {True: "holds", False: "does not hold", None: "cannot be asked"}
    lines += [
        f"| {truth.claim} | {truth.text} | {holds[truth.holds]} | {' | '.join(row)} |" for truth, row in cells.items()
    ]
    return "\n".join(lines)


def main() -> None:
    """The command."""
    text = PAGE.read_text(encoding="utf-8")
    before, after = text.split(_START)[0], text.split(_END)[1]
    PAGE.write_text(f"{before}{_START}\n\n{table()}\n\n{_END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
