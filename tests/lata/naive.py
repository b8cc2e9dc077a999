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


def top_share(vector: np.ndarray, share: float) -> np.ndarray:
    """What Safety Arithmetic keeps of one vector, by sorting (declare-lab/safety-arithmetic, `topk_values_mask`)."""
    position = len(vector) - int(len(vector) * share)
    limit = sorted(abs(v) for v in vector)[position - 1] if position else F(0)
    return np.array([v if abs(v) >= limit else F(0) for v in vector], dtype=F)


def interpolated(weights: list[float], count: int) -> list[float]:
    """Weights of `count` layers read off those of other layers at equal relative depth."""
    found = []
    for layer in range(count):
        position = (layer / (count - 1) if count > 1 else 1.0) * (len(weights) - 1)
        low = min(int(position), max(len(weights) - 2, 0))
        high = min(low + 1, len(weights) - 1)
        found.append(weights[low] + (position - low) * (weights[high] - weights[low]))
    return found


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


def keep_largest(values: np.ndarray, count: int) -> np.ndarray:
    """Everything zero but the `count` largest magnitudes, of equal ones the first."""
    order = sorted(range(values.size), key=lambda i: (-abs(values[i]), i))
    kept = np.zeros_like(values)
    for i in order[:count]:
        kept[i] = values[i]
    return kept


def agree(vectors: list[np.ndarray], votes: list[np.ndarray], units: list[float] | None) -> np.ndarray:
    """Sum of the values whose vote has the elected sign (an exact zero sum elects +), divided by Σ units of them."""
    merged = []
    for i in range(vectors[0].size):
        total = F(0)
        for vote in votes:
            total = F(total + vote[i])
        chosen, divisor = F(0), F(0)
        for number, (vector, vote) in enumerate(zip(vectors, votes, strict=True)):
            if (vote[i] > 0 and total >= 0) or (vote[i] < 0 and total < 0):
                chosen = F(chosen + vector[i])
                divisor = F(divisor + F(1 if units is None else units[number]))
        merged.append(chosen if divisor == 0 else F(chosen / divisor))
    return np.array(merged, dtype=F)


def ties_by_tensor(tensors: list[np.ndarray], density: float, weights: list[float], variant: str) -> np.ndarray:
    """TIES of one tensor as mergekit 0.1.5 and PEFT 0.21 compute it, but with a stable choice among equal values."""
    least = 1 if variant == "mergekit" else 0
    kept = [keep_largest(v.ravel(), max(least, int(density * v.size)) if density < 1 else v.size) for v in tensors]
    weighted = [v * F(w) for v, w in zip(kept, weights, strict=True)]
    if variant == "mergekit":
        return agree(weighted, weighted, weights).reshape(tensors[0].shape)
    return agree(weighted, kept, None).reshape(tensors[0].shape)
