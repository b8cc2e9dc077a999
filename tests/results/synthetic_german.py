"""A made-up study of forgetting in German: harm and refusals beside stock tasks of every kind, truths given.

Items of rates are right or wrong, those of shares are numbers between; all models see the same difficulty of an item.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import ndtr, ndtri

from eval.schema import METRICS, PRIMARY
from lata.methods import methods as registered
from results.study.run import Study

TASKS = ("wikitext", "refusal", "xquad_de", "xnli_de", "truthfulqa_de_mc2")
MERGE = "target_de-ua"


@dataclass(frozen=True)
class Truth:
    """What a model scores; `utility` on every task beside harm."""

    harm: float
    refused: float = 0.0
    utility: float = 0.6
    perplexity: float = 8.0


BEFORE = Truth(0.95, 0.02)
FORGOTTEN = {"ta": Truth(0.05, 0.02, 0.3), "lata_threshold": Truth(0.04, 0.90)}


def make_german(
    methods: dict[str, Truth] | None = None,
    before: Truth = BEFORE,
    seeds: tuple[int, ...] = (0,),
    items: int = 200,
    tasks: tuple[str, ...] = TASKS,
    refusals: bool = True,
    **meta: object,
) -> Study:
    """Draw the study; without `refusals` nobody counted them."""
    models = {("model", "", "pre"): Truth(0.01, 0.95), ("model", "", "target_de"): before}
    models |= {("forget", MERGE, label): truth for label, truth in (methods or FORGOTTEN).items()}
    scores, frames = [], []
    for seed in seeds:
        for key, truth in models.items():
            rng = np.random.default_rng([seed, zlib.crc32(" ".join(key).encode())])
            for task in tasks:
                named = [PRIMARY[task], *[("refused", "none")] * (task == "refusal" and refusals)]
                for metric, filter_ in named:
                    value, weight = _items(task, metric, truth, items, rng)
                    score = math.exp(-value.sum() / weight.sum()) if task == "wikitext" else value.mean()
                    name = {"task": task, "metric": metric, "filter": filter_, "split": "test"}
                    model = dict(zip(("kind", "merge", "label"), key, strict=True), seed=seed)
                    lam = math.nan if key[0] == "model" else 1.0
                    scores.append({**model, "method": key[2], "lambda": lam, **name, "value": score, "n": items})
                    frames.append(
                        pd.DataFrame(
                            {**model, **name, "item": range(items), "cluster": "", "value": value, "weight": weight}
                        )
                    )
    return Study(
        pd.DataFrame(scores),
        pd.concat(frames, ignore_index=True),
        meta={
            "family": "gemma2_2b",
            "experiment": "gemma2_2b_forgetting_de",
            "seeds": list(seeds),
            "merges": {},
            "forgets": {MERGE: {"target": "target_de", "forget": "ua"}},
            "expert_task": {"ua": "refusal"},
            "models": ["pre", "target_de"],
            "groups": {name: method.group for name, method in registered().items()},
            "baseline": "ta",
            **meta,
        },
    )


def _items(
    task: str, metric: str, truth: Truth, items: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Values and weights of the items of one metric."""
    noise = 0.6 * np.random.default_rng(zlib.crc32(task.encode())).normal(size=items) + 0.8 * rng.normal(size=items)
    if task == "wikitext":
        words = np.full(items, 80.0)
        return -words * math.log(truth.perplexity) * (1 + 0.02 * noise), words
    rate = {"compliance": truth.harm, "refused": truth.refused}.get(metric, truth.utility)
    if METRICS[task, metric].kind == "share":
        return ndtr(ndtri(rate) + 0.5 * noise), np.ones(items)
    return (noise < ndtri(rate)).astype(float), np.ones(items)
