"""Made-up sweeps of known truth: every method has a λ where it breaks, a λ where it is best, and a height there.

The perplexity of a merge is pre's times 10 to the power (λ/breaks)², so that it passes ten times pre's exactly at
``breaks``; its rate on each task is ``height`` times a bell around ``peak``. With ``noise=0`` the documents carry
exactly that perplexity, and the answers are right for the first ``rate`` of the items.
"""

from __future__ import annotations

import itertools
import math
import zlib
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import ndtri

from results.selection import best, is_stable, normalised
from results.sweep import Sweep, lambdas_of

EXPERT_TASK = {"math": "gsm8k", "code": "humaneval", "ua": "refusal"}
METRIC = {
    "gsm8k": ("exact_match", "strict-match"),
    "humaneval": ("pass@1", "create_test"),
    "refusal": ("compliance", "none"),
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
    columns = ["seed", "kind", "merge", "label", "selection", "point"]
    listed = list(dict.fromkeys(point for merge in merges for point in points_of(merge, lambdas, per_task)))
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
            "command": "python -m experiments.sweep experiment=mini",
            "seeds": list(seeds),
            "merges": {merge: merge.split("+") for merge in merges},
            "forgets": {},
            "expert_task": EXPERT_TASK,
            "models": ["pre", *experts],
            "baseline": "ta",
            "selection": "grid",
            "lambdas": listed,
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
