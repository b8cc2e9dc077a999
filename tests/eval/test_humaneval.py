"""HumanEval's real solutions pass, altered ones fail, and pass@k is the unbiased estimate."""

from __future__ import annotations

import importlib.util
import itertools
from pathlib import Path

import pytest

from eval.sandbox import Outcome, Program, run_programs
from eval.settings import TASK_FOLDER, EvalSettings


def full_program(problem: dict[str, str], solution: str) -> Program:
    test = f"{problem['test']}\ncheck({problem['entry_point']})"
    return Program(problem["prompt"] + solution, problem["prompt"], test, problem["entry_point"])


#: Wraps the solution so that every answer is off: numbers by one, truth inverted, containers without an end.
MUTATION = """
def _off(x):
    if isinstance(x, bool): return not x
    if isinstance(x, (int, float)): return x + 1
    if isinstance(x, str): return x + "x"
    if isinstance(x, (list, tuple)): return type(x)([*x, None])
    if isinstance(x, dict): return {{**x, "x": 1}}
    return 0 if x is None else None
_right = {name}
def {name}(*arguments):
    return _off(_right(*arguments))
"""


def test_canonical_humaneval_solutions_pass_and_mutated_ones_fail(human_eval: list[dict[str, str]]) -> None:
    assert len(human_eval) == 164
    canonical = [full_program(problem, problem["canonical_solution"]) for problem in human_eval]
    assert [i for i, outcome in enumerate(run_programs(canonical)) if not outcome.passed] == []
    off = [
        full_program(problem, problem["canonical_solution"] + MUTATION.format(name=problem["entry_point"]))
        for problem in human_eval
    ]
    empty = [full_program(problem, "    return None\n") for problem in human_eval]
    assert [i for i, outcome in enumerate(run_programs(off)) if outcome.passed] == []
    assert [i for i, outcome in enumerate(run_programs(empty)) if outcome.passed] == []


@pytest.mark.slow
def test_canonical_solutions_score_one_and_mutated_ones_zero_through_the_task(
    bench_data: Path, human_eval: list[dict[str, str]]
) -> None:
    """All 164, and 164 whose every answer is off, as answers of a model: filter, sandbox and metric."""
    from eval.documents.loading import build_requests, load_tasks

    tasks = load_tasks(EvalSettings(source="local", data_dir=bench_data, tasks=("humaneval",)))
    build_requests(tasks)
    (task,) = tasks.values()
    for wrong in (False, True):
        for instance in task.instances:
            solution = instance.doc["canonical_solution"]
            if wrong:
                solution += MUTATION.format(name=instance.doc["entry_point"])
            instance.resps, instance.filtered_resps = [solution], {}
        task.apply_filters()
        scores = [task.process_results(i.doc, [i.filtered_resps["create_test"]])["pass@1"] for i in task.instances]
        assert scores == [float(not wrong)] * 164


def test_pass_at_k_is_the_unbiased_estimate() -> None:
    spec = importlib.util.spec_from_file_location("humaneval_utils", TASK_FOLDER / "humaneval" / "utils.py")
    assert spec is not None
    assert spec.loader is not None
    utils = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(utils)
    for passed in range(6):
        wins = [i < passed for i in range(5)]
        programs = [utils.Checked("p", Outcome("passed" if win else "failed")) for win in wins]
        scores = utils.pass_at_k(["t"], [programs], [1, 2, 5, 9])
        assert set(scores) == {"pass@1", "pass@2", "pass@5"}
        for k in (1, 2, 5):
            draws = [any(draw) for draw in itertools.combinations(wins, k)]
            assert scores[f"pass@{k}"] == pytest.approx(sum(draws) / len(draws))
