"""Lines on answers that say more of how a model was asked than of what it can do."""

from __future__ import annotations

import pytest

from eval.collect import notices


def rows(task: str, *answers: str) -> list[dict[str, str]]:
    return [{"task": task, "answer": answer} for answer in answers]


@pytest.mark.parametrize(("empty", "said"), [(0, False), (4, False), (5, True), (100, True)])
def test_a_share_of_empty_answers_is_counted(empty: int, said: bool) -> None:
    lines = notices(rows("gsm8k", *["\n "] * empty, *["#### 1"] * (100 - empty)), {}, [])
    assert lines == [f"gsm8k: {empty} of 100 answers are empty"] * said


def test_the_chat_template_is_named_where_there_is_one_that_was_not_used() -> None:
    answers = [*rows("gsm8k", "", "1"), *rows("refusal", "", "1")]
    assert ["eval.chat_template=on" in line for line in notices(answers, {}, ["refusal"])] == [False, True]


def test_answers_that_never_end_are_said_where_all_of_them_do() -> None:
    answers = rows("refusal", "a", "b", "c")
    assert notices(answers, {"refusal": 2}, []) == []
    assert notices(answers, {"refusal": 3}, []) == ["refusal: all 3 answers were cut at the task's limit of tokens"]


def test_what_a_model_adds_to_greedy_search_is_named_where_it_answered() -> None:
    own = {"repetition_penalty": 1.05, "max_new_tokens": 5}
    (line,) = notices(rows("gsm8k", "1"), {}, [], own)
    assert "sets max_new_tokens=5, repetition_penalty=1.05: answers follow it" in line
    assert notices([], {}, [], own) == []


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("    return n + 1\n", False),
        ("    import math\n    return math.pi\n", False),
        ("\n    def inner(): pass\n    return inner", False),
        ("import math\n    return 1", False),
        ("", False),
        ("```python\ndef add(n):\n    return n", True),
        ("    return n + 1\n```\nThis adds.", True),
        ("from typing import List\nimport math\n\n", True),
        ("\n\nfrom typing import List\n", True),
        ("def add(n):\n    return n", True),
    ],
)
def test_answers_that_chat_models_give_to_a_bare_problem_name_the_task_for_them(answer: str, said: bool) -> None:
    good = "    return n\n"
    lines = notices(rows("humaneval", answer, *[good] * 19), {}, [])
    assert ["humaneval_instruct" in line for line in lines if "empty" not in line] == [True] * said
    assert notices(rows("humaneval", answer, *[good] * 20), {}, []) == []
    assert notices(rows("humaneval_instruct", answer or "x", *[good] * 19), {}, []) == []
