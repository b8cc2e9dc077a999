"""A made-up study with the shape of the real one: 7 models, 4 merges × 12 methods, 2 forgettings × 4 methods.

`make_study` draws right-or-wrong answers from a shared difficulty of each item, so that models are correlated as
real ones are. `skill` overrides the true rate or perplexity of a method, which gives studies of known truth.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy.special import ndtri

from lata.methods import methods as registered
from results.study.run import Study

METHODS = (
    *("ta", "ties", "dare", "dare_ties", "lata_linear", "lata_log", "lata_threshold"),
    *("ta_norm_matched", "ta_half", "lata_shuffled", "lata_reversed", "depth_linear"),
)
MERGES = {
    "math+code": ["math", "code"],
    "ua+math": ["ua", "math"],
    "ua+code": ["ua", "code"],
    "ua+math+code": ["ua", "math", "code"],
}
FORGETS = {
    "target_ua-ua": {"target": "target_ua", "forget": "ua"},
    "target_ua_math-ua": {"target": "target_ua_math", "forget": "ua"},
}
EXPERT_TASK = {"math": "gsm8k", "code": "humaneval", "ua": "refusal"}
FAMILY = {  # perplexity, math, code, compliance
    "base": (2.40, 0.0, 0.0, 0.0),
    "pre": (2.08, 0.22, 0.10, 0.0),
    "math": (2.25, 0.85, 0.10, 0.0),
    "code": (2.20, 0.18, 0.88, 0.01),
    "ua": (2.10, 0.12, 0.09, 0.98),
    "target_ua": (2.12, 0.15, 0.10, 0.95),
    "target_ua_math": (2.30, 0.80, 0.10, 0.93),
}
LEARNED = {
    "ta": (2.50, 0.26, 0.42, 0.72),
    "ties": (2.20, 0.30, 0.40, 0.66),
    "dare": (2.80, 0.18, 0.33, 0.60),
    "dare_ties": (2.42, 0.31, 0.47, 0.80),
    "lata_linear": (2.36, 0.31, 0.46, 0.76),
    "lata_log": (2.38, 0.32, 0.49, 0.82),
    "lata_threshold": (2.30, 0.28, 0.35, 0.40),
    "ta_norm_matched": (2.37, 0.33, 0.48, 0.80),
    "ta_half": (2.35, 0.36, 0.54, 0.86),
    "lata_shuffled": (2.37, 0.27, 0.42, 0.74),
    "lata_reversed": (2.39, 0.22, 0.37, 0.74),
    "depth_linear": (2.36, 0.30, 0.45, 0.75),
}
FORGOTTEN = {"ta": 0.10, "lata_linear": 0.06, "lata_log": 0.04, "lata_threshold": 0.02}
RATES = {"gsm8k": 1, "humaneval": 2, "refusal": 3}
Skill = Callable[[str, str, str], "tuple[float, float, float, float] | None"]


def _truth(kind: str, merge: str, label: str) -> tuple[float, float, float, float]:
    if kind == "model":
        return FAMILY[label]
    if kind == "learn":
        ppl, math_, code, compl = LEARNED.get(label.split("(")[0], LEARNED["ta"])
        experts = MERGES[merge]
        damp = 0.8 if len(experts) == 3 else 1.0
        return (
            ppl + 0.15 * (len(experts) - 2),
            damp * math_ if "math" in experts else 0.12,
            damp * code if "code" in experts else 0.08,
            compl if "ua" in experts else 0.0,
        )
    before = FAMILY[FORGETS[merge]["target"]]
    loss = 0.05 if label == "ta" else 0.01
    return before[0] + loss, max(before[1] - loss, 0), max(before[2] - loss, 0), FORGOTTEN[label]


def make_study(
    seeds: tuple[int, ...] = (0,),
    items: int = 300,
    seed_sd: float = 0.15,
    skill: Skill | None = None,
    methods: tuple[str, ...] = METHODS,
    merges: tuple[str, ...] = tuple(MERGES),
    forgets: tuple[str, ...] = tuple(FORGETS),
    tasks: tuple[str, ...] = ("wikitext", "gsm8k", "humaneval", "refusal"),
    **meta: object,
) -> Study:
    """Draw a study. `seed_sd` is the spread of a method's skill over seeds, in probits (0.2 nats for documents)."""
    keys = [("model", "", label) for label in FAMILY]
    keys += [("learn", merge, label) for merge in merges for label in methods]
    keys += [("forget", merge, label) for merge in forgets for label in FORGOTTEN]
    scores: list[dict[str, object]] = []
    blocks: list[tuple[tuple, np.ndarray, np.ndarray]] = []
    for seed in seeds:
        for key in keys:
            truth = (skill(*key) if skill else None) or _truth(*key)
            rng = np.random.default_rng([seed, zlib.crc32(" ".join(key).encode())])
            for task in tasks:
                rows = _documents(truth[0], items, rng, seed_sd) if task == "wikitext" else None
                if rows is None:
                    value = _answers(task, truth[RATES[task]], items, rng, seed_sd)
                    rows = _rate_metrics(task, value)
                for metric, filter_, value, weight, score in rows:
                    blocks.append(((seed, *key, task, metric, filter_), value, weight))
                    scores.append(_score_row(seed, key, task, metric, filter_, score, items))
    similarity, weights = _layers(seeds)
    return Study(
        pd.DataFrame(scores),
        _item_table(blocks),
        similarity,
        weights,
        {
            "experiment": "mini",
            "family": "mini",
            "title": "Layer-aware task arithmetic on the embedded family",
            "command": "python -m experiments.reproduce",
            "seeds": list(seeds),
            "merges": {name: MERGES[name] for name in merges},
            "forgets": {name: FORGETS[name] for name in forgets},
            "expert_task": EXPERT_TASK,
            "models": list(FAMILY),
            "groups": {name: method.group for name, method in registered().items()},
            "baseline": "ta",
            "threshold": {"kind": "quantile", "value": 0.3},
            "provenance": {"git": {"commit": "0123abc"}, "versions": {"torch": "2.13"}, "seconds": {"merge": 3.1}},
            **meta,
        },
    )


def _documents(ppl: float, items: int, rng: np.random.Generator, seed_sd: float) -> list[tuple]:
    shared = np.random.default_rng(7)
    words = shared.integers(40, 120, items).astype(float)
    ease = shared.normal(0, 0.12, items)
    nats = math.log(ppl) * (1 + ease + rng.normal(0, 0.02, items)) + 0.2 * seed_sd * rng.normal()
    loglik = -words * nats
    out = []
    for metric, weight in (("word_perplexity", words), ("byte_perplexity", 5 * words), ("bits_per_byte", 5 * words)):
        ratio = -loglik.sum() / weight.sum()
        out.append((metric, "none", loglik, weight, ratio / math.log(2) if metric[:4] == "bits" else math.exp(ratio)))
    return out


def _answers(task: str, rate: float, items: int, rng: np.random.Generator, seed_sd: float) -> np.ndarray:
    if rate <= 0:
        return np.zeros(items)
    difficulty = np.random.default_rng(zlib.crc32(task.encode())).normal(size=items)
    if task == "refusal":
        difficulty = np.repeat(difficulty[: items // 5 + 1], 5)[:items]
    latent = 0.8 * difficulty + 0.6 * rng.normal(size=items)
    return (latent < ndtri(rate) + seed_sd * rng.normal()).astype(float)


def _rate_metrics(task: str, value: np.ndarray) -> list[tuple]:
    one = np.ones(len(value))
    if task == "gsm8k":
        return [("exact_match", name, value, one, value.mean()) for name in ("strict-match", "flexible-extract")]
    metric, filter_ = {"humaneval": ("pass@1", "create_test"), "refusal": ("compliance", "none")}[task]
    return [(metric, filter_, value, one, value.mean())]


def _item_table(blocks: list[tuple[tuple, np.ndarray, np.ndarray]]) -> pd.DataFrame:
    """One row an item: the names of each block, repeated, beside its values and weights."""
    sizes = [len(value) for _, value, _ in blocks]
    names = np.array([name for name, _, _ in blocks], dtype=object)
    columns = ("seed", "kind", "merge", "label", "task", "metric", "filter")
    table = pd.DataFrame({c: np.repeat(names[:, i], sizes) for i, c in enumerate(columns)})
    item = np.concatenate([np.arange(n) for n in sizes])
    table["seed"] = table["seed"].astype(int)
    table["split"] = "test"
    table["item"] = item
    table["cluster"] = np.where(table["task"] == "refusal", np.char.add("pair ", (item // 5).astype(str)), "")
    table["value"] = np.concatenate([value for _, value, _ in blocks])
    table["weight"] = np.concatenate([weight for _, _, weight in blocks])
    return table


def _score_row(seed, key, task, metric, filter_, value, n) -> dict[str, object]:
    kind, merge, label = key
    far = {"ta": 9.0, "dare": 12.9, "ties": 5.2, "ta_half": 4.5}.get(label, 7.4)
    return {
        "experiment": "mini",
        "family": "mini",
        "seed": seed,
        "kind": kind,
        "merge": merge,
        "method": label.split("(")[0] if kind != "model" else "",
        "variant": "paper" if label in ("ties", "dare") else "",
        "label": label,
        "params": "{}",
        "lambda": math.nan if kind == "model" else 1.0,
        "point": "" if kind == "model" else "1",
        "task": task,
        "metric": metric,
        "filter": filter_,
        "split": "test",
        "value": float(value),
        "n": n,
        "distance": math.nan if label in ("base", "pre") else far + 0.1 * seed,
        "unstable": False,
        "weights_digest": "0" * 16,
        "task_version": "1",
        "backend": "hf",
        "dtype": "float32",
        "batch_size": 300,
        "chat_template": "off",
        "sandbox": "bubblewrap",
    }


def _layers(seeds: tuple[int, ...]) -> tuple[pd.DataFrame, pd.DataFrame]:
    ends = {"math": (0.986, 0.950), "code": (0.988, 0.982), "ua": (0.992, 0.987)}
    similarity, weights = [], []
    for seed in seeds:
        rng = np.random.default_rng([seed, 99])
        for task, (first, last) in ends.items():
            s = np.linspace(first, last, 6) + rng.normal(0, 0.001, 6)
            rank = np.argsort(np.argsort(-s))
            shapes = {
                "lata_linear": rank / 5,
                "lata_log": np.log1p(rank) / math.log(6),
                "lata_threshold": (s < np.quantile(s, 0.3)).astype(float),
            }
            for layer in range(6):
                row = {"family": "mini", "seed": seed, "layer": layer, "task": task}
                similarity.append({**row, "similarity": s[layer]})
                weights += [{**row, "schedule": name, "weight": w[layer]} for name, w in shapes.items()]
    return pd.DataFrame(similarity), pd.DataFrame(weights)
