"""Made-up sweeps of known truth: every method has a λ where it breaks, a λ where it is best, and a height there.

`make_forgetting` makes the same of forgettings: harm and utility fall along straight lines, so that the λ at which
harm reaches the threshold, and what utility costs there, are known.

The perplexity of a merge is pre's times 10 to the power (λ/breaks)², so that it passes ten times pre's exactly at
``breaks``; its rate on each task is ``height`` times a bell around ``peak``. With ``noise=0`` the documents carry
exactly that perplexity, and the answers are right for the first ``rate`` of the items.
"""

from __future__ import annotations

import itertools
import math
import zlib
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.special import ndtri

from lata.methods import methods as registered
from results.analysis.comparison import curves_from_pre
from results.analysis.curves import Curve
from results.analysis.points import lineup_of
from results.study.selection import best, best_forgetting, is_stable, normalised
from results.study.sweep import Sweep, lambdas_of

EXPERT_TASK = {"math": "gsm8k", "code": "humaneval", "ua": "refusal"}
METRIC = {
    "gsm8k": ("exact_match", "strict-match"),
    "humaneval": ("pass@1", "create_test"),
    "refusal": ("compliance", "none"),
    "xquad_de": ("f1", "none"),
}
EXPERT_RATE = 0.9
PRE = 2.0


@dataclass(frozen=True)
class Truth:
    """Where a method breaks, where it is best and how good it is there (share of items), how wide its bell is."""

    breaks: float
    peak: float
    height: float = 0.7
    width: float = 0.6
    infinite: bool = False  # the perplexity is not finite from ``breaks`` on

    def perplexity(self, lam: float) -> float:
        if self.infinite and lam >= self.breaks:
            return math.inf
        return PRE * 10 ** min((lam / self.breaks) ** 2, 60)

    def rate(self, lam: float) -> float:
        return self.height * math.exp(-(((lam - self.peak) / self.width) ** 2))


METHODS = {
    "ta": Truth(1.1, 0.6, 0.62),
    "ties": Truth(1.5, 0.9, 0.60),
    "dare": Truth(0.95, 0.5, 0.55),
    "lata_log": Truth(9.0, 1.1, 0.72, 0.9),
}
LAMBDAS = (0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0)


def points_of(merge: str, lambdas: tuple[float, ...], per_task: bool) -> list[str]:
    """One λ for all tasks, or the grid over one λ a task."""
    experts = sorted(merge.split("+"))
    if not per_task:
        return [f"{lam:g}" for lam in lambdas]
    combinations = itertools.product(lambdas, repeat=len(experts))
    return [",".join(f"{e}={lam:g}" for e, lam in zip(experts, values, strict=True)) for values in combinations]


def make_sweep(
    methods: dict[str, Truth] | None = None,
    lambdas: tuple[float, ...] = LAMBDAS,
    seeds: tuple[int, ...] = (0,),
    merges: tuple[str, ...] = ("math+code",),
    items: int = 150,
    noise: float = 1.0,
    shift: float = 0.0,
    per_task: bool = False,
    **meta: object,
) -> Sweep:
    """Draw a sweep. `shift` moves `breaks` and `peak` of seed s up by s·shift."""
    methods = methods or METHODS
    experts = sorted({expert for merge in merges for expert in merge.split("+")})
    make = _Maker(items, noise)
    for seed in seeds:
        make.family(seed, experts)
        for merge in merges:
            for label, truth in methods.items():
                moved = Truth(
                    truth.breaks + shift * seed, truth.peak + shift * seed, truth.height, truth.width, truth.infinite
                )
                for point in points_of(merge, lambdas, per_task):
                    make.merge(seed, merge, label, point, moved)
    choices = [
        {"seed": s, "kind": "learn", "merge": merge, "label": label, "selection": "grid", "point": best(stable)}
        for (s, merge, label), stable in make.objective.items()
        if stable
    ]
    listed = list(dict.fromkeys(point for merge in merges for point in points_of(merge, lambdas, per_task)))
    return _sweep(
        make,
        choices,
        seeds=list(seeds),
        merges={merge: merge.split("+") for merge in merges},
        models=["pre", *experts],
        lambdas=listed,
        **meta,
    )


@dataclass(frozen=True)
class Fall:
    """A method that forgets: what share of the requests it complies with at λ = 0, and what every λ changes.

    Of the answers that do not comply the share `refusing` are refusals (all of them before; None: not counted).
    """

    slope: float
    cost: float = 0.0
    breaks: float = 9.0
    before: float = 0.9
    useful: float = 0.8
    refusing: float | None = 1.0

    def harm(self, lam: float) -> float:
        return min(max(self.before - self.slope * lam, 0.0), 1.0)

    def utility(self, lam: float, place: int) -> float:
        """Of the second task twice the cost."""
        return max(self.useful - (1 + place) * self.cost * lam, 0.0)

    def perplexity(self, lam: float) -> float:
        return 1.1 * PRE * 10 ** min((lam / self.breaks) ** 2, 60)

    def crossing(self, threshold: float = 0.1) -> float:
        return (self.before - threshold) / self.slope


FALLS = {
    "ta": Fall(0.8, 0.20, 1.5),
    "lata_log": Fall(0.6, 0.04),
    "lata_threshold": Fall(0.5, 0.02),
    "safety_arithmetic": Fall(0.3, 0.01),
}
TARGETS = ("target_l2",)


def make_forgetting(
    methods: dict[str, Fall] | None = None,
    lambdas: tuple[float, ...] = LAMBDAS,
    seeds: tuple[int, ...] = (0,),
    targets: tuple[str, ...] = TARGETS,
    items: int = 150,
    noise: float = 1.0,
    shift: float = 0.0,
    tasks: int = 2,
    **meta: object,
) -> Sweep:
    """Draw a sweep of forgettings. `shift` adds s·shift to the slope of seed s; `tasks` utility tasks are scored."""
    make = _Maker(items, noise)
    methods = methods or FALLS
    for seed in seeds:
        make.family(seed, ["ua"])
        for target in targets:
            for place, (label, truth) in enumerate(methods.items()):
                moved = replace(truth, slope=truth.slope + shift * seed)
                for point in ([] if place else ["0"]) + [f"{lam:g}" for lam in lambdas]:
                    make.forget(seed, f"{target}-ua", label, point, moved, target, tasks)
    choices = [
        {"seed": s, "kind": "forget", "merge": merge, "label": label, "selection": "grid",
         "point": best_forgetting(stable, 0.1)}
        for (s, merge, label), stable in make.forgotten.items()
        if stable
    ]  # fmt: skip
    return _sweep(
        make,
        choices,
        seeds=list(seeds),
        merges={},
        forgets={f"{target}-ua": {"target": target, "forget": "ua"} for target in targets},
        models=["pre", "ua", *targets],
        lambdas=[f"{lam:g}" for lam in lambdas],
        **meta,
    )


def together(learning: Sweep, forgetting: Sweep) -> Sweep:
    """A sweep that learns and forgets; both were made with the same seeds and items."""
    known = set(learning.scores.loc[learning.scores["kind"] == "model", "label"])

    def joined(name: str) -> pd.DataFrame:
        a, b = getattr(learning, name), getattr(forgetting, name)
        rest = b[~((b["kind"] == "model") & b["label"].isin(known))]
        return pd.concat([a, rest], ignore_index=True)

    models = [*learning.meta["models"], *(m for m in forgetting.meta["models"] if m not in known)]
    meta = {**learning.meta, "forgets": forgetting.meta["forgets"], "models": models}
    scores, items, choices = (joined(name) for name in ("scores", "items", "choices"))
    return Sweep(scores, items, choices, learning.similarity, learning.weights, meta)


def _sweep(make: _Maker, choices: list[dict[str, object]], **meta: object) -> Sweep:
    columns = ["seed", "kind", "merge", "label", "selection", "point"]
    return Sweep(
        pd.DataFrame(make.scores),
        pd.concat(make.items, ignore_index=True),
        pd.DataFrame(choices, columns=columns),
        pd.DataFrame(columns=["family", "seed", "layer", "task", "similarity"]),
        pd.DataFrame(columns=["family", "seed", "layer", "task", "schedule", "weight"]),
        {
            "experiment": "sweep",
            "family": "mini",
            "title": "A sweep over λ",
            "command": "python -m experiments.sweep",
            "forgets": {},
            "expert_task": EXPERT_TASK,
            "groups": {name: method.group for name, method in registered().items()},
            "baseline": "ta",
            "selection": "grid",
            **meta,
        },
    )


class _Maker:
    """Collects the rows of a sweep."""

    def __init__(self, items: int, noise: float) -> None:
        self.count, self.noise = items, noise
        self.scores: list[dict[str, object]] = []
        self.items: list[pd.DataFrame] = []
        self.objective: dict[tuple[int, str, str], list[tuple[str, float]]] = {}
        self.reference: dict[int, dict[str, float]] = {}
        self.forgotten: dict[tuple[int, str, str], list[tuple[str, float, float]]] = {}

    def family(self, seed: int, experts: list[str]) -> None:
        self.reference[seed] = {}
        for label in ("pre", *experts):
            for split in ("dev", "test"):
                self._wikitext(seed, ("model", "", label, ""), split, PRE * (1.0 if label == "pre" else 1.1), False)
                for expert in experts:
                    rate = EXPERT_RATE if label == expert else 0.1
                    value = self._rate(seed, ("model", "", label, ""), split, EXPERT_TASK[expert], rate, False)
                    if split == "dev" and label == expert:
                        self.reference[seed][expert] = value

    def merge(self, seed: int, merge: str, label: str, point: str, truth: Truth) -> None:
        """Unstable points have no development items but those of perplexity."""
        lams = lambdas_of(point)
        own = {expert: lams.get(expert, lams.get("", 0.0)) for expert in merge.split("+")}
        norm = math.sqrt(sum(lam**2 for lam in own.values()) / len(own))
        key = ("learn", merge, label, point)
        stable = is_stable(truth.perplexity(norm), PRE)
        values = {}
        for split in ("dev", "test"):
            self._wikitext(seed, key, split, truth.perplexity(norm), not stable)
            for expert, lam in own.items():
                if split == "dev" and not stable:
                    continue
                value = self._rate(seed, key, split, EXPERT_TASK[expert], truth.rate(lam), not stable)
                if split == "dev":
                    values[expert] = value
        found = self.objective.setdefault((seed, merge, label), [])
        if stable:
            found.append((point, normalised(values, self.reference[seed])))

    def forget(self, seed: int, merge: str, label: str, point: str, truth: Fall, target: str, tasks: int) -> None:
        """A point of a forgetting; the point 0 is the target itself."""
        lam = float(point)
        key = ("forget", merge, label, point) if lam else ("model", "", target, "")
        stable = is_stable(truth.perplexity(lam), PRE)
        harm, useful = 0.0, []
        for split in ("dev", "test"):
            self._wikitext(seed, key, split, truth.perplexity(lam), not stable)
            if split == "dev" and not stable:
                continue
            rates = [truth.utility(lam, place) for place in range(tasks)]
            names = ("gsm8k", "xquad_de")[:tasks]
            found = [self._rate(seed, key, split, *one, not stable) for one in zip(names, rates, strict=True)]
            value = self._harm(seed, key, split, truth, lam, not stable)
            if split == "dev":
                harm, useful = value, found
        found = self.forgotten.setdefault((seed, merge, label), [])
        if stable and lam:
            found.append((point, harm, float(np.mean(useful)) if useful else math.nan))

    def _harm(self, seed: int, key: tuple[str, ...], split: str, truth: Fall, lam: float, unstable: bool) -> float:
        """Answers that comply, and of the others those that refuse."""
        value = self._rate(seed, key, split, "refusal", truth.harm(lam), unstable)
        if truth.refusing is None:
            return value
        complied = self.items[-1]["value"].to_numpy()
        gone = np.flatnonzero(complied == 0)
        refused = np.zeros(self.count)
        share = truth.refusing if lam else 1.0
        refused[gone[len(gone) - round(share * len(gone)) :]] = 1.0
        name = ("refusal", "refused", "none")
        self._add(seed, key, split, name, refused, np.ones(self.count), float(refused.mean()), unstable)
        return value

    def _rng(self, *names: object) -> np.random.Generator:
        return np.random.default_rng(zlib.crc32(" ".join(map(str, names)).encode()))

    def _wikitext(self, seed: int, key: tuple[str, ...], split: str, ppl: float, unstable: bool) -> None:
        shared = self._rng("words", split)
        words = shared.integers(40, 120, self.count).astype(float)
        ease = self.noise * shared.normal(0, 0.12, self.count)
        own = self.noise * self._rng(seed, split, *key).normal(0, 0.02, self.count)
        loglik = -words * math.log(ppl) * (1 + ease + own) if math.isfinite(ppl) else np.full(self.count, -np.inf)
        value = float(np.exp(-loglik.sum() / words.sum()))
        self._add(seed, key, split, ("wikitext", "word_perplexity", "none"), loglik, words, value, unstable)

    def _rate(self, seed: int, key: tuple[str, ...], split: str, task: str, rate: float, unstable: bool) -> float:
        if self.noise:
            difficulty = self._rng("difficulty", task, split).normal(size=self.count)
            latent = 0.8 * difficulty + 0.6 * self._rng(seed, split, task, *key).normal(size=self.count)
            right = (latent < ndtri(max(rate, 1e-9))).astype(float)
        else:
            right = (np.arange(self.count) < round(rate * self.count)).astype(float)
        name = (task, *METRIC[task])
        self._add(seed, key, split, name, right, np.ones(self.count), float(right.mean()), unstable)
        return float(right.mean())

    def _add(self, seed, key, split, name, values, weights, score, unstable) -> None:  # type: ignore[no-untyped-def]
        kind, merge, label, point = key
        task, metric, filter_ = name
        lams = lambdas_of(point)
        self.items.append(
            pd.DataFrame(
                {
                    **{"seed": seed, "kind": kind, "merge": merge, "label": label, "point": point},
                    **{"task": task, "metric": metric, "filter": filter_, "split": split},
                    **{"item": np.arange(self.count).astype(str), "cluster": "", "value": values, "weight": weights},
                }
            )
        )
        self.scores.append(
            {
                **{"experiment": "sweep", "family": "mini", "seed": seed, "kind": kind, "merge": merge},
                **{"method": label.split("(")[0] if kind != "model" else "", "variant": "", "label": label},
                **{"params": "{}", "lambda": lams.get("", math.nan), "point": point, "task": task},
                **{"metric": metric, "filter": filter_, "split": split, "value": score, "n": self.count},
                "distance": 5.0 * math.hypot(*lams.values()) if kind != "model" else math.nan,
                **{"unstable": unstable, "weights_digest": "0" * 16, "task_version": "1", "backend": "hf"},
                **{"dtype": "float32", "batch_size": 300, "chat_template": "off", "sandbox": "bubblewrap"},
            }
        )


def curves_of(sweep: Sweep) -> dict[tuple[str, str], Curve]:
    """The curves of learning from the model before merging on, a merge and method each."""
    return curves_from_pre(sweep, lineup_of(sweep))
