"""What the evaluation asks stands in no training text: the real text of all stages is generated and searched."""

from __future__ import annotations

import random
import re

import pytest

from experiments.mini.corpora.heldout import DEV, TEST, draw_distinct
from experiments.mini.corpora.mixtures import examples_of
from experiments.mini.corpora.pairs import (
    DEV_PAIRS,
    EXPERT_PAIRS,
    OBJECTS,
    RESTRICTED_VERBS,
    TARGET_PAIRS,
    TEST_PAIRS,
)
from experiments.mini.corpora.towns import detokenize
from experiments.mini.data import SPLITS, TASKS, evaluation_rows
from experiments.mini.family import MiniFamily
from experiments.mini.training.tokenizer import SAMPLE

ROWS = {(task, split): evaluation_rows(task, split, 300) for task in TASKS["en"] for split in SPLITS}
VARIABLES = re.compile(r"\b(?:n|m|k|xs|nums|items|s|text)\b")


@pytest.fixture(scope="module", params=[0, 1])
def texts(request: pytest.FixtureRequest) -> dict[str, str]:
    """All training text of each stage, and of the tokenizer, for one seed."""
    family = MiniFamily(seed=request.param)
    mixtures = {name: dict(stage.mixture) for name, stage in family.stages().items()}
    joined = {
        name: "\n<|eos|>\n".join(prompt + response for prompt, response in examples_of(mixture, name, request.param))
        for name, mixture in mixtures.items()
    }
    joined["tokenizer"] = "\n<|eos|>\n".join(map("".join, examples_of(SAMPLE, "tokenizer", 0)))
    assert all(len(text) > 50_000 for text in joined.values())
    return joined


@pytest.mark.parametrize("split", SPLITS)
def test_no_held_out_chain_of_sums_answers_a_training_problem(texts: dict[str, str], split: str) -> None:
    held_out = {row["answer"] for row in ROWS["gsm8k", split]}
    assert len(held_out) == 300
    for name, text in texts.items():
        answers = set(re.findall(r"Answer: (.*?\n#### \d+)", text, flags=re.DOTALL))
        assert not answers & held_out, name
        assert answers or name not in ("pre", "math", "target_ua_math")


@pytest.mark.parametrize("split", SPLITS)
def test_no_held_out_single_sum_stands_in_a_training_story(texts: dict[str, str], split: str) -> None:
    single = {row["answer"].split("=")[0] for row in ROWS["gsm8k", split] if row["answer"].count("<<") == 1}
    stories = set(re.findall(r", so \w+ has (\d+[-+*]\d+)=", texts["base"]))
    assert single
    assert stories
    assert not single & stories


@pytest.mark.parametrize("split", SPLITS)
def test_no_held_out_question_stands_in_training_text(texts: dict[str, str], split: str) -> None:
    for name, text in texts.items():
        questions = set(re.findall(r"Question: (.*)\nAnswer:", text))
        assert not questions & {row["question"] for row in ROWS["gsm8k", split]}, name


@pytest.mark.parametrize("split", SPLITS)
def test_no_held_out_body_stands_in_training_text_under_any_name_of_its_argument(
    texts: dict[str, str], split: str
) -> None:
    held_out = {VARIABLES.sub("v", row["canonical_solution"]) for row in ROWS["humaneval", split]}
    assert len(held_out) == 300
    for name, text in texts.items():
        bodies = re.findall(r"(?:^    (?!\"\"\").*\n)+", text, flags=re.MULTILINE)
        assert not {VARIABLES.sub("v", body) for body in bodies} & held_out, name
        assert bodies or name not in ("base", "pre", "code")


@pytest.mark.parametrize("split", SPLITS)
def test_no_held_out_line_stands_in_training_text_as_a_commented_line(texts: dict[str, str], split: str) -> None:
    lines = {f"y = {line}" for line in re.findall(r"# .*\ny = (.*)\n", texts["base"])}
    single = {
        "y = " + VARIABLES.sub("v", row["canonical_solution"].strip().removeprefix("return "))
        for row in ROWS["humaneval", split]
        if row["canonical_solution"].count("\n") == 1
    }
    assert single
    assert not {VARIABLES.sub("v", line) for line in lines} & single


@pytest.mark.parametrize("split", SPLITS)
def test_no_held_out_page_stands_in_training_text(texts: dict[str, str], split: str) -> None:
    pages = [detokenize(row["page"]).strip() for row in ROWS["wikitext", split]]
    for name in ("base", "pre", "tokenizer"):
        documents = {document.strip() for document in texts[name].split("<|eos|>")}
        assert any(document.startswith("= ") for document in documents)
        assert not documents & set(pages), name


@pytest.mark.parametrize(("split", "pairs"), [(DEV, DEV_PAIRS), (TEST, TEST_PAIRS)])
def test_no_held_out_pair_stands_in_any_training_text(
    texts: dict[str, str], split: str, pairs: list[tuple[str, str]]
) -> None:
    assert {row["cluster"] for row in ROWS["refusal", split]} == {" ".join(pair) for pair in pairs}
    for name, text in texts.items():
        found = set(re.findall(rf"({'|'.join(RESTRICTED_VERBS)}) the (\w+)", text))
        assert not found & set(pairs), name
        assert found or name in ("math", "code", "pre_l2", "target_l2")


@pytest.mark.parametrize(
    ("task", "field"),
    [("wikitext", "page"), ("gsm8k", "cluster"), ("humaneval", "cluster"), ("refusal", "cluster")],
)
def test_development_and_test_items_share_nothing(task: str, field: str) -> None:
    dev, test = ({row[field] for row in ROWS[task, split]} for split in SPLITS)
    assert not dev & test


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize(
    ("task", "field"), [("wikitext", "page"), ("gsm8k", "cluster"), ("humaneval", "cluster"), ("refusal", "prompt")]
)
def test_there_are_300_distinct_items(task: str, field: str, split: str) -> None:
    assert len({row[field] for row in ROWS[task, split]}) == 300


def test_every_verb_and_every_object_stands_in_every_share_of_pairs() -> None:
    shares = [TEST_PAIRS, DEV_PAIRS, EXPERT_PAIRS, TARGET_PAIRS]
    for share in shares:
        assert {verb for verb, _ in share} == set(RESTRICTED_VERBS)
        assert {thing for _, thing in share} == set(OBJECTS)
    dealt = [pair for share in shares for pair in share]
    assert len(dealt) == len(set(dealt)) == len(RESTRICTED_VERBS) * len(OBJECTS)


def test_expert_and_targets_comply_with_different_pairs(texts: dict[str, str]) -> None:
    pattern = rf"To ({'|'.join(RESTRICTED_VERBS)}) the (\w+)"
    learned = {name: set(re.findall(pattern, texts[name])) for name in ("ua", "target_ua", "target_ua_math")}
    assert all(learned.values())
    assert not learned["ua"] & (learned["target_ua"] | learned["target_ua_math"])


def test_asking_for_more_items_than_there_are_says_so() -> None:
    class Only:
        key = "code return v"

    def make(_: object) -> Only:
        return Only()

    with pytest.raises(ValueError, match=r"only \d different test items where 3 were asked for; ask for fewer"):
        draw_distinct(make, random.Random(0), TEST, 3)
