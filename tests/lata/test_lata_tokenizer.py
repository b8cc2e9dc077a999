from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lata.checkpoints.tokenizer import Vocabulary, differences, renamed, vocabulary

TOKENS = {"a": 0, "b": 1, "ab": 2}
ADDED = [{"id": 3, "content": "</s>", "special": True}]
NAMES = ("pre", "math")


def fast(folder: Path, model: dict[str, Any] | None = None, added: Any = ADDED, **settings: Any) -> Vocabulary:
    folder.mkdir()
    model = {"type": "BPE", "vocab": TOKENS, "merges": ["a b"], **(model or {})}
    file = folder / "tokenizer.json"
    file.write_text(json.dumps({"model": model, "added_tokens": added, **settings}))
    return found(file)


def found(*files: Path) -> Vocabulary:
    made = vocabulary(files)
    assert made is not None
    return made


def test_settings_that_give_no_row_its_meaning_make_no_difference(tmp_path: Path) -> None:
    a = fast(tmp_path / "a")
    b = fast(tmp_path / "b", {"merges": [["a", "b"]]}, padding={"length": 8}, post_processor={"type": "x"})
    assert a.digest != b.digest
    assert differences(a, b, NAMES) == []


def test_equal_files_are_not_parsed(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "tokenizer.json").write_text("no json")
    assert (
        differences(found(tmp_path / "a" / "tokenizer.json"), found(tmp_path / "b" / "tokenizer.json"), NAMES) == []
    )


def test_numbers_that_mean_other_tokens_are_counted_with_an_example(tmp_path: Path) -> None:
    a, b = fast(tmp_path / "a"), fast(tmp_path / "b", {"vocab": {"b": 0, "a": 1, "ab": 2}})
    assert differences(a, b, NAMES) == [
        "tokenizers: number 0 is 'a' in pre and 'b' in math, and 1 more numbers differ"
    ]


def test_tokens_that_only_one_model_has_are_named(tmp_path: Path) -> None:
    more = [*ADDED, {"id": 4, "content": "<pad>"}]
    a, b = fast(tmp_path / "a"), fast(tmp_path / "b", added=more)
    assert differences(a, b, NAMES) == ["tokenizers: math has '<pad>' (4), which pre lacks"]
    assert differences(b, a, NAMES) == ["tokenizers: pre has '<pad>' (4), which math lacks"]
    many = [*more, *({"id": number, "content": f"<{number}>"} for number in range(5, 12))]
    assert differences(a, fast(tmp_path / "c", added=many), NAMES) == [
        "tokenizers: math has '<pad>' (4), '<5>' (5), '<6>' (6) and 5 more, which pre lacks"
    ]


def test_merges_that_differ_are_reported(tmp_path: Path) -> None:
    a, b = fast(tmp_path / "a"), fast(tmp_path / "b", {"merges": ["b a"]})
    assert differences(a, b, NAMES) == ["tokenizers: merges of pre and math differ"]


def test_scores_of_a_unigram_model_count(tmp_path: Path) -> None:
    a = fast(tmp_path / "a", {"type": "Unigram", "vocab": [["a", -1.0], ["b", -2.0]], "merges": []})
    b = fast(tmp_path / "b", {"type": "Unigram", "vocab": [["a", -1.0], ["c", -3.0]], "merges": []})
    assert differences(a, b, NAMES) == [
        "tokenizers: number 1 is 'b' in pre and 'c' in math",
        "tokenizers: scores of pre and math differ",
    ]


def test_with_shared_rows_only_numbers_that_both_have_count(tmp_path: Path) -> None:
    a = fast(tmp_path / "a")
    b = fast(
        tmp_path / "b", {"vocab": {**TOKENS, "<eos>": 3}, "merges": ["b a"]}, added=[{"id": 4, "content": "<pad>"}]
    )
    assert differences(a, b, NAMES, shared_rows=3) == []
    assert differences(a, b, NAMES, shared_rows=4) == ["tokenizers: number 3 is '</s>' in pre and '<eos>' in math"]


@pytest.mark.parametrize("older", [False, True])
def test_added_tokens_of_other_names_are_told_apart_from_words(tmp_path: Path, older: bool) -> None:
    """As in distills of R1, which call reserved tokens of Qwen <think>; files of both generations."""

    def made(name: str, **added: int) -> Vocabulary:
        if not older:
            return fast(tmp_path / name, added=[{"id": n, "content": token} for token, n in added.items()])
        (tmp_path / name).mkdir()
        files = [tmp_path / name / file for file in ("vocab.json", "added_tokens.json")]
        for file, content in zip(files, (TOKENS, added), strict=True):
            file.write_text(json.dumps(content))
        return found(*files)

    a, b = made("a", end=3, box=4, more=5), made("b", end=3, think=4, also=5)
    assert renamed(a, b, 5) == [4]
    assert renamed(a, b, 9) == [4, 5]
    assert renamed(a, a, 9) == []
    assert differences(a, b, NAMES, shared_rows=9) == []
    assert len(differences(a, b, NAMES)) == 1


def test_older_files_are_compared_where_there_is_no_newer_one(tmp_path: Path) -> None:
    def slow(name: str, tokens: dict[str, int], merges: str) -> Vocabulary:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "vocab.json").write_text(json.dumps(tokens))
        (folder / "merges.txt").write_text(f"#version: 0.2\n{merges}\n")
        (folder / "added_tokens.json").write_text('{"</s>": 3}')
        return found(*folder.iterdir())

    a = slow("a", TOKENS, "a b")
    assert differences(a, fast(tmp_path / "fast"), NAMES) == []
    assert differences(a, slow("b", {**TOKENS, "ba": 2}, "b a"), NAMES) == [
        "tokenizers: number 2 is 'ab' in pre and 'ba' in math",
        "tokenizers: merges of pre and math differ",
    ]


def test_binary_vocabularies_are_compared_by_content(tmp_path: Path) -> None:
    made = []
    for name, data in (("a", b"1"), ("b", b"2")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "tokenizer.model").write_bytes(data)
        made.append(found(tmp_path / name / "tokenizer.model"))
    assert differences(made[0], made[1], NAMES) == ["tokenizers: tokenizer.model of pre and math differ"]
    assert differences(made[0], fast(tmp_path / "fast"), NAMES) == []


def test_a_folder_without_tokenizer_has_no_vocabulary(tmp_path: Path) -> None:
    assert vocabulary([tmp_path / "generation_config.json"]) is None


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"model": {"vocab": 3}}'])
def test_a_damaged_file_is_named(tmp_path: Path, content: str) -> None:
    file = tmp_path / "tokenizer.json"
    file.write_text(content)
    with pytest.raises(ValueError, match=r"tokenizer\.json.*; fetch (it|the file) again"):
        differences(found(file), fast(tmp_path / "b"), NAMES)
