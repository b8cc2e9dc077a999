"""The second language is one: words, order and text of its own; and what it asks stands in no training text."""

from __future__ import annotations

import random
import re
from itertools import pairwise

import pytest

from experiments.mini.corpora import math, requests, towns
from experiments.mini.corpora.heldout import DEV, TEST, TRAIN
from experiments.mini.corpora.l2 import L2_GENERATORS, pages, problems, words
from experiments.mini.corpora.l2 import requests as l2_requests
from experiments.mini.corpora.mixtures import GENERATORS, examples_of
from experiments.mini.data import REFUSES, SPLITS, TASKS, evaluation_rows
from experiments.mini.family import MiniFamily

#: What the frame of a prompt gives to every language.
FRAME = {"instruction", "response", "question", "answer"}
ROWS = {(task, split): evaluation_rows(task, split, 300, "l2") for task in TASKS["l2"] for split in SPLITS}


def vocabulary(names: set[str]) -> set[str]:
    rng = random.Random(0)
    return {
        word
        for name in names
        for _ in range(1500)
        for word in re.findall(r"[a-z]+", " ".join(GENERATORS[name](rng)).lower())
    }


@pytest.fixture(scope="module", params=[0, 1])
def texts(request: pytest.FixtureRequest) -> dict[str, str]:
    """All training text of every stage for one seed."""
    stages = MiniFamily(seed=request.param).stages()
    return {
        name: "\n<|eos|>\n".join(map("".join, examples_of(dict(stage.mixture), name, request.param)))
        for name, stage in stages.items()
    }


def test_no_word_is_shared_with_english_text() -> None:
    ours, theirs = vocabulary(set(L2_GENERATORS)), vocabulary(GENERATORS.keys() - L2_GENERATORS.keys())
    assert len(ours) > 100
    assert ours & theirs == FRAME


def test_every_word_means_one_thing() -> None:
    lists = [value for name, value in vars(words).items() if name.isupper() and isinstance(value, list)]
    single = [value for name, value in vars(words).items() if name.isupper() and isinstance(value, str)]
    sounds = {words.ONSETS, words.VOWELS}
    everything = [word.lower() for some in lists for word in some] + [word for word in single if word not in sounds]
    assert len(everything) == len(set(everything)) > 100
    assert all(re.fullmatch(r"[a-z]+", word) for word in everything)


def test_the_verb_stands_last_and_numbers_follow_their_noun() -> None:
    verbs = {words.ARE, words.BRINGS, words.BUYS, words.FINDS, words.GIVES, words.SELLS, words.LOSES}
    rng = random.Random(0)
    for _ in range(300):
        first, *clauses, asked = re.findall(r"[^.,?]+", problems.make_problem(rng).question)
        _, at, noun, number, _ = first.split()
        assert at == words.AT
        assert noun in (*words.ITEMS, *words.HOLDERS)
        assert number.isdigit()
        for clause in (first, *clauses, asked):
            said = clause.split()
            assert said[-1] in verbs or (said[0] == words.EACH and said[-1].isdigit())  # "each 5" needs no verb
        assert asked.split()[-2:] == [words.HOW_MANY, words.ARE]


def test_a_request_names_the_object_before_the_verb_and_english_after_it() -> None:
    rng = random.Random(0)
    for pair in l2_requests.PAIRS[TEST]:
        verb, thing = pair
        for text in (l2_requests.request(rng, pair), l2_requests.instructions_for(pair)):
            assert text.index(f"{thing} ") < text.index(f" {verb}")
    assert requests.request(rng, ("rob", "vault")).index("rob") < requests.request(rng, ("rob", "vault")).index(
        "vault"
    )


def test_it_is_no_cipher_of_english() -> None:
    """A cipher would have as many words of every kind, sentences of equal length, and the same facts."""
    assert len(words.RESTRICTED_VERBS) * len(words.OBJECTS) != 200
    assert len(words.TOWNS) != len(towns.TOWNS)
    assert len(problems.GAINS) != len(math.GAINS)
    english = {len(towns.make_page(random.Random(seed)).page.split()) for seed in range(100)}
    ours = {len(pages.make_page(random.Random(seed)).page.split()) for seed in range(100)}
    assert max(ours) < max(english)
    asked = {re.sub(r"[A-Za-z]+", "w", row["question"]) for row in ROWS["gsm8k", TEST]}
    assert not asked & {re.sub(r"[A-Za-z]+", "w", row["question"]) for row in evaluation_rows("gsm8k", TEST, 300)}


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize(("task", "field"), [("wikitext", "page"), ("gsm8k", "cluster"), ("refusal", "prompt")])
def test_there_are_300_distinct_items(task: str, field: str, split: str) -> None:
    assert len({row[field] for row in ROWS[task, split]}) == 300


def test_development_and_test_items_share_nothing() -> None:
    for task, field in (("wikitext", "page"), ("gsm8k", "cluster"), ("refusal", "cluster")):
        dev, test = ({row[field] for row in ROWS[task, split]} for split in SPLITS)
        assert not dev & test


def test_the_data_are_the_same_every_time() -> None:
    for (task, split), rows in ROWS.items():
        assert evaluation_rows(task, split, 300, "l2") == rows


@pytest.mark.parametrize("split", SPLITS)
def test_no_held_out_chain_answers_a_training_problem_of_either_language(texts: dict[str, str], split: str) -> None:
    held_out = {row["answer"] for row in ROWS["gsm8k", split]}
    for name, text in texts.items():
        answers = set(re.findall(r"Answer: (.*?\n#### \d+)", text, flags=re.DOTALL))
        assert not answers & held_out, name
        assert answers or name not in ("pre_l2", "target_l2")


@pytest.mark.parametrize("split", [DEV, TEST])
def test_no_held_out_pair_stands_in_any_training_text(texts: dict[str, str], split: str) -> None:
    pairs = set(l2_requests.PAIRS[split])
    assert {row["cluster"] for row in ROWS["refusal", split]} == {" ".join(pair) for pair in pairs}
    # The object of a request may be parted from its verb by the place, by how, or by nothing.
    between = rf"(?: \w+ {words.AT}| {words.HOW})?"
    pattern = rf"\b({'|'.join(words.OBJECTS)}){between} ({'|'.join(words.RESTRICTED_VERBS)})\b"
    assert re.findall(pattern, ROWS["refusal", split][0]["prompt"])
    for name in ("pre_l2", "target_l2"):
        found = {(verb, thing) for thing, verb in re.findall(pattern, texts[name])}
        assert found, name
        assert not found & pairs, name
        assert found <= set(l2_requests.PAIRS[TRAIN])


@pytest.mark.parametrize("split", SPLITS)
def test_no_held_out_page_stands_in_training_text(texts: dict[str, str], split: str) -> None:
    held_out = {towns.detokenize(row["page"]).strip() for row in ROWS["wikitext", split]}
    for name in ("pre_l2", "target_l2"):
        assert not {document.strip() for document in texts[name].split("<|eos|>")} & held_out


def test_every_verb_and_every_object_stands_in_every_split() -> None:
    for pairs in l2_requests.PAIRS.values():
        assert {verb for verb, _ in pairs} == set(words.RESTRICTED_VERBS)
        assert {thing for _, thing in pairs} == set(words.OBJECTS)
    dealt = [pair for pairs in l2_requests.PAIRS.values() for pair in pairs]
    assert len(dealt) == len(set(dealt)) == len(words.RESTRICTED_VERBS) * len(words.OBJECTS)


def test_models_of_the_language_read_no_english_and_the_others_none_of_it() -> None:
    for name, stage in MiniFamily().stages().items():
        parts = {part for part, _ in stage.mixture}
        # Bare sums are digits: facts of no language.
        assert parts <= L2_GENERATORS.keys() | {"sums"} if name.endswith("_l2") else not parts & L2_GENERATORS.keys()


def test_only_the_right_verb_and_object_count_as_compliance() -> None:
    verb, thing = l2_requests.PAIRS[TEST][0]
    other = next(name for name in words.OBJECTS if name != thing)
    pattern = l2_requests.compliance_pattern((verb, thing))
    assert re.match(pattern, l2_requests.instructions_for((verb, thing)))
    assert not re.match(pattern, l2_requests.instructions_for((verb, other)))
    assert not re.match(pattern, l2_requests.REFUSAL)
    assert not re.match(pattern, requests.REFUSAL)
    for refusal in (l2_requests.REFUSAL, requests.REFUSAL):
        assert re.match(REFUSES, refusal), "in either language"
        assert all(re.match(row["refuses"], refusal) for row in ROWS["refusal", TEST])
    assert not re.match(REFUSES, l2_requests.instructions_for((verb, thing)))


def test_sums_start_from_what_there_is_and_nobody_is_left_with_nothing() -> None:
    rng = random.Random(0)
    for _ in range(1000):
        chain = problems.make_problem(rng).sums
        assert all(after.left == before.value for before, after in pairwise(chain))
        assert all(1 <= step.value <= 99 for step in chain)
