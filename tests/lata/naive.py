"""Independent, naive implementations of the merge methods, written from the papers for the tests alone.

Everything here is a loop over plain Python or flat numpy values; nothing is shared with `lata`.
"""

from __future__ import annotations

import math

import numpy as np

F = np.float32


def flat(checkpoint: dict, names: list[str]) -> np.ndarray:
    return np.concatenate([np.asarray(checkpoint[name], dtype=F).ravel() for name in names])


def ties(vectors: list[np.ndarray], density: float) -> np.ndarray:
    """TIES as the authors' repository computes it (prateeky2806/ties-merging, merge_utils), element by element."""
    size = len(vectors[0])
    trimmed = []
    for vector in vectors:
        position = size - int(size * density)
        limit = F(0) if position == 0 else sorted(abs(v) for v in vector)[position - 1]
        trimmed.append([v if abs(v) >= limit else F(0) for v in vector])
    signs = []
    for i in range(size):
        total = F(0)
        for vector in trimmed:
            total = F(total + vector[i])
        signs.append(int(np.sign(total)))
    majority = int(np.sign(sum(signs)))
    merged = []
    for i in range(size):
        sign = signs[i] or majority
        agreeing = [v[i] for v in trimmed if (v[i] > 0 if sign > 0 else v[i] < 0)]
        total = F(0)
        for value in agreeing:
            total = F(total + value)
        merged.append(F(total / F(max(len(agreeing), 1))))
    return np.array(merged, dtype=F)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a.astype(np.float64), b.astype(np.float64)
    return float(a @ b / math.sqrt(a @ a) / math.sqrt(b @ b))


def rank_weights(similarities: list[float], kind: str) -> list[float]:
    """Weights of the rank schedules by sorting; ties must not occur."""
    order = sorted(range(len(similarities)), key=lambda layer: -similarities[layer])
    count = len(order)
    weights = [0.0] * count
    for position, layer in enumerate(order):
        weights[layer] = position / (count - 1) if kind == "linear" else math.log(1 + position) / math.log(count)
    return weights


def layer_weighted(task_vectors: dict, weight_of: dict[str, dict[str, float]]) -> dict[str, np.ndarray]:
    """Σ_t w_t τ_t, tasks in sorted order, one fp32 product and one fp32 sum a step."""
    tasks = sorted(task_vectors)
    result = {}
    for name in task_vectors[tasks[0]]:
        total = None
        for task in tasks:
            term = np.asarray(task_vectors[task][name], dtype=F) * F(weight_of[task][name])
            total = term if total is None else total + term
        result[name] = total
    return result
