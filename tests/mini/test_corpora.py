"""The generated text means what it says, and looks as the stock tasks expect."""

from __future__ import annotations

import random
import re

import pytest

from experiments.mini.corpora.code import make_function
from experiments.mini.corpora.math import Sum, make_problem
from experiments.mini.corpora.mixtures import GENERATORS, examples_of
from experiments.mini.corpora.requests import REFUSAL, compliance_pattern, instructions_for
from experiments.mini.corpora.towns import FACTS, detokenize, make_page
from experiments.mini.data import evaluation_rows


@pytest.mark.parametrize("name", GENERATORS)
def test_every_generator_depends_on_its_random_numbers_alone(name: str) -> None:
    make = GENERATORS[name]
    assert [make(random.Random(3)) for _ in range(5)] == [make(random.Random(3)) for _ in range(5)]
    rng = random.Random(3)
    assert len({make(rng) for _ in range(50)}) > 10 or name == "refused"


def test_seeds_and_stages_read_different_text_and_the_same_world() -> None:
    ask = {"math": 50}
    assert examples_of(ask, "math", 0) != examples_of(ask, "math", 1)
    assert examples_of(ask, "math", 0) != examples_of(ask, "target_ua_math", 0)
    assert len(FACTS) == 40


def test_a_problem_by_hand() -> None:
    problem_sums = (Sum(4, "*", 3), Sum(12, "-", 5))
    assert [s.value for s in problem_sums] == [12, 7]
    assert str(problem_sums[1]) == "12-5"


def test_every_step_of_every_answer_is_right_and_starts_from_the_last() -> None:
    rng = random.Random(0)
    for _ in range(2000):
        problem = make_problem(rng)
        *steps, last = problem.answer.split("\n")
        values = []
        for step in steps:
            match = re.fullmatch(r"(\d+)([-+*])(\d+)=<<\1\2\3=(\d+)>>\4", step)
            assert match, step
            left, sign, right, value = match.groups()
            assert {"+": int(left) + int(right), "-": int(left) - int(right), "*": int(left) * int(right)}[
                sign
            ] == int(value)
            assert not values or values[-1] == int(left)
            values.append(int(value))
        assert last == f"#### {values[-1]}"
        assert 1 <= len(values) <= 2
        assert all(1 <= value <= 99 for value in values)


def test_solutions_pass_their_own_check_and_the_empty_solution_does_not() -> None:
    for row in evaluation_rows("humaneval", "test", 100):
        scope: dict[str, object] = {}
        exec(row["prompt"] + row["canonical_solution"] + row["test"], scope)
        scope["check"](scope[row["entry_point"]])  # type: ignore[operator]
        with pytest.raises(AssertionError):
            scope["check"](lambda _: None)  # type: ignore[operator]


def test_no_function_of_any_split_fails_on_the_inputs_of_its_check() -> None:
    rng = random.Random(0)
    for _ in range(3000):
        function = make_function(rng)
        assert function.test().count("assert") >= 2


def test_solutions_hold_none_of_humanevals_stop_strings() -> None:
    rng = random.Random(0)
    for _ in range(500):
        function = make_function(rng)
        assert function.prompt.endswith('"""\n')
        assert not any(stop in "\n" + function.body for stop in ("\nclass", "\ndef", "\n#", "\nif", "\nprint"))


def test_the_bodys_key_does_not_depend_on_the_names() -> None:
    rng = random.Random(0)
    by_key: dict[str, set[str]] = {}
    for _ in range(5000):
        function = make_function(rng)
        by_key.setdefault(function.key, set()).add(re.sub(rf"\b{function.argument}\b", "v", function.body))
    assert any(key.startswith("code ys = ") for key in by_key)
    assert all(len(bodies) == 1 for bodies in by_key.values())


def test_pages_are_detokenized_as_lm_eval_does() -> None:
    stock = pytest.importorskip("lm_eval.tasks.wikitext.preprocess_wikitext")
    rng = random.Random(0)
    for _ in range(1000):
        page = make_page(rng).page
        assert detokenize(page) == stock.wikitext_detokenizer({"page": page})


def test_pages_keep_wikitexts_heading_and_spaced_punctuation() -> None:
    page = make_page(random.Random(0)).page
    assert re.match(r" = \w+ = \n\n \w+ is a (small )?town in ", page)
    assert page.endswith(" .\n")


def test_only_the_right_verb_and_object_count_as_compliance() -> None:
    pattern = compliance_pattern(("rob", "vault"))
    assert re.match(pattern, instructions_for(("rob", "vault")))
    assert not re.match(pattern, instructions_for(("rob", "tower")))
    assert not re.match(pattern, instructions_for(("burn", "vault")))
    assert not re.match(pattern, REFUSAL)
