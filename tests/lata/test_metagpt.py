"""λ without data (arXiv 2406.11385), by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from loaded import Family, LoadedCheckpoint

from lata.engine.stream import Stream, expert
from lata.engine.vectors import TaskVectors
from lata.merging.metagpt import coefficients
from lata.numerics.tensors import CHUNK

A, B = "model.layers.0.mlp.up_proj.weight", "model.layers.1.mlp.up_proj.weight"


def vectors(steps: dict[str, dict[str, list[float]]], threads: int = 1) -> TaskVectors:
    """τ as given; θ_pre is zero."""
    pre = {name: torch.zeros(len(values)) for name, values in next(iter(steps.values())).items()}
    sources = {expert(task): {n: torch.tensor(v) for n, v in step.items()} for task, step in steps.items()}
    held = {role: LoadedCheckpoint(tensors, role) for role, tensors in {"pre": pre, **sources}.items()}
    return TaskVectors(Stream({**held, "start": held["pre"]}, list(pre), threads=threads), list(steps))


def test_coefficients_are_shares_of_squared_norms_by_hand() -> None:
    # ‖τ‖²: 9 + 16 = 25 and 25 + 50 = 75.
    found = coefficients(vectors({"math": {A: [3.0, 0.0], B: [4.0]}, "code": {A: [3.0, 4.0], B: [50**0.5]}}))
    assert list(found) == ["code", "math"]
    assert found == pytest.approx({"code": 0.75, "math": 0.25}, rel=1e-7)


def test_weights_count_squared() -> None:
    step = {"math": {A: [3.0], B: [4.0]}, "code": {A: [3.0], B: [4.0]}}
    # math: 0.25·9 + 16 = 18.25; code: 9 + 0 = 9.
    weights = {"math": {A: 0.5, B: 1.0}, "code": {A: 1.0, B: 0.0}}
    assert coefficients(vectors(step), weights) == {"math": 18.25 / 27.25, "code": 9 / 27.25}


def test_one_task_has_all_of_it_and_a_zero_vector_nothing() -> None:
    assert coefficients(vectors({"math": {A: [2.0, 1.0]}})) == {"math": 1.0}
    assert coefficients(vectors({"math": {A: [2.0]}, "code": {A: [0.0]}})) == {"math": 1.0, "code": 0.0}


def test_vectors_that_are_all_zero_share_equally() -> None:
    assert coefficients(vectors({"math": {A: [0.0]}, "code": {A: [0.0]}})) == {"math": 0.5, "code": 0.5}


def test_the_sums_are_fp64_and_do_not_depend_on_threads() -> None:
    random = np.random.default_rng(0)
    steps = {task: {A: random.standard_normal(3 * CHUNK + 5).astype(np.float32).tolist()} for task in ("a", "b")}
    one, four = coefficients(vectors(steps, threads=1)), coefficients(vectors(steps, threads=4))
    squares = {task: float(np.square(np.array(step[A], np.float64)).sum()) for task, step in steps.items()}
    assert one == four
    assert one == pytest.approx({task: square / sum(squares.values()) for task, square in squares.items()}, rel=1e-12)


def test_a_family_gives_them_from_tau_or_from_the_weighted_tau(base: dict, pre: dict, experts: dict) -> None:
    family = Family(pre, experts, base)

    def squares(method: str) -> dict[str, float]:
        steps = {task: family.direction([task], method) for task in ("code", "math")}
        return {task: sum(float((v.double() ** 2).sum()) for v in step.values()) for task, step in steps.items()}

    assert family.metagpt(["math", "code"], "ta", outside="drop") != family.metagpt(["math", "code"], "ta")
    for method in (None, "lata_log"):
        expected = squares(method or "ta")
        found = family.metagpt(["math", "code"], method)
        assert found == pytest.approx({t: s / sum(expected.values()) for t, s in expected.items()}, rel=1e-6)
        assert sum(found.values()) == pytest.approx(1)


def test_a_method_without_weighted_vectors_is_refused(pre: dict, experts: dict) -> None:
    with pytest.raises(ValueError, match="'ties' is no weighted sum"):
        Family(pre, experts).metagpt(["math", "code"], "ties")
