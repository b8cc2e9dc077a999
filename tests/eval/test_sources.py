"""Benchmark files and the hub give the same rows; whatever is missing or wrong is named."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from eval_documents import PROBLEMS, PROGRAMS, REQUESTS, write_lines

from eval.documents.sources import hub, is_title, local, read_pages
from eval.fingerprint import task_fingerprint
from eval.settings import EvalSettings

FIELDS = ["question", "answer"]
SOLVED = [{"question": f"What is {i} and {i}?", "answer": f"#### {2 * i}"} for i in range(8)]
PAGES = " \n = Tom <unk> = \n \n Tom is a town . \n = = Past = = \n Old . \n = Mia = \n \n Mia = Tom .\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder in the layout of the published files."""
    write_lines(tmp_path / "gsm8k_test.jsonl", PROBLEMS)
    write_lines(tmp_path / "gsm8k_train_head64.jsonl", SOLVED)
    write_lines(tmp_path / "HumanEval.jsonl", PROGRAMS)
    write_lines(tmp_path / "refusal_test.jsonl", REQUESTS)
    (tmp_path / "wikitext2_test.tokens").write_text(PAGES)
    return tmp_path


@pytest.fixture
def fake_hub(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, str | None, str], list[dict[str, Any]]]:
    """What ``datasets.load_dataset`` finds, instead of the network; fill it in."""
    import datasets

    sets: dict[tuple[str, str | None, str], list[dict[str, Any]]] = {}
    monkeypatch.setattr(
        datasets,
        "load_dataset",
        lambda path, name=None, *, split: datasets.Dataset.from_list(sets[path, name, split]),
    )
    return sets


def column(dataset: Any, name: str) -> list[Any]:
    return list(dataset[name])


def test_gsm8k_comes_with_the_first_training_rows_as_shots(folder: Path) -> None:
    data = local(name="gsm8k", fields=FIELDS, data_dir=str(folder))
    assert column(data["test"], "question") == [row["question"] for row in PROBLEMS]
    assert column(data["train"], "question") == [row["question"] for row in SOLVED]


def test_the_development_split_shares_no_row_with_the_shots_or_the_test_split(folder: Path) -> None:
    data = local(name="gsm8k", fields=FIELDS, data_dir=str(folder), split="dev", num_fewshot=3)
    assert column(data["train"], "question") == [row["question"] for row in SOLVED[:3]]
    assert column(data["test"], "question") == [row["question"] for row in SOLVED[3:]]


def test_without_shots_no_training_file_is_needed_with_shots_it_is_named(folder: Path) -> None:
    (folder / "gsm8k_train_head64.jsonl").unlink()
    assert len(local(name="gsm8k", fields=FIELDS, data_dir=str(folder), num_fewshot=0)["test"]) == len(PROBLEMS)
    with pytest.raises(
        ValueError, match=r"gsm8k_train\.jsonl or gsm8k_train_head64\.jsonl \(or \.gz\) .*eval\.num_fewshot=0"
    ):
        local(name="gsm8k", fields=FIELDS, data_dir=str(folder))


@pytest.mark.parametrize(("split", "shots"), [("test", 9), ("dev", 8)])
def test_more_shots_than_rows_are_refused(folder: Path, split: str, shots: int) -> None:
    with pytest.raises(ValueError, match=rf"{shots} shots .*than the 8 training rows .*eval\.num_fewshot"):
        local(name="gsm8k", fields=FIELDS, data_dir=str(folder), split=split, num_fewshot=shots)


def test_the_whole_training_file_and_its_beginning_give_the_same_shots(folder: Path) -> None:
    few = local(name="gsm8k", fields=FIELDS, data_dir=str(folder))["train"].to_list()
    write_lines(folder / "gsm8k_train.jsonl", SOLVED + PROBLEMS)
    assert local(name="gsm8k", fields=FIELDS, data_dir=str(folder))["train"].to_list()[: len(few)] == few


def test_a_compressed_file_gives_the_same_rows_and_the_same_fingerprint(folder: Path) -> None:
    settings = EvalSettings(source="local", data_dir=folder, tasks=("humaneval",))
    before = task_fingerprint(settings)
    plain = local(name="humaneval", fields=["prompt"], data_dir=str(folder))["test"].to_list()
    path = folder / "HumanEval.jsonl"
    (folder / "HumanEval.jsonl.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    assert local(name="humaneval", fields=["prompt"], data_dir=str(folder))["test"].to_list() == plain
    assert task_fingerprint(settings) == before


def test_the_fingerprint_covers_the_shots(folder: Path) -> None:
    settings = EvalSettings(source="local", data_dir=folder, tasks=("gsm8k",))
    none = EvalSettings(source="local", data_dir=folder, tasks=("gsm8k",), num_fewshot=0)
    before, without = task_fingerprint(settings), task_fingerprint(none)
    write_lines(folder / "gsm8k_train_head64.jsonl", SOLVED[::-1])
    assert task_fingerprint(settings) != before != without
    assert task_fingerprint(none) == without


def test_pages_begin_at_their_titles_and_keep_their_text(tmp_path: Path) -> None:
    path = tmp_path / "pages"
    path.write_text(PAGES)
    pages = [row["page"] for row in read_pages(path)]
    assert pages == [
        " = Tom <unk> = \n \n Tom is a town . \n = = Past = = \n Old . ",
        " = Mia = \n \n Mia = Tom .\n",
    ]
    path.write_text("Some text . \n" + PAGES)
    assert [row["page"] for row in read_pages(path)] == ["Some text . \n ", *pages]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (" = Robert Boulter = ", True),
        (" = 2011 – 12 = ", True),
        (" = = Career = = ", False),
        (" = = = 2000 – 2005 = = = ", False),
        (" x = y = z ", False),
        (" = ", False),
        (" = = ", False),
        ("", False),
    ],
)
def test_only_a_line_between_single_equals_signs_is_a_title(line: str, expected: bool) -> None:
    assert is_title(line) is expected


def test_the_real_wikitext_has_its_62_pages_and_loses_no_character(bench_data: Path) -> None:
    path = bench_data / "wikitext2_test.tokens"
    pages = [row["page"] for row in read_pages(path)]
    assert len(pages) == 62
    assert "\n".join(pages).strip() == path.read_text(encoding="utf-8").strip()


@pytest.mark.parametrize(
    ("name", "split", "message"),
    [
        ("wikitext", "dev", r"not found: wikitext2_validation\.tokens \(or \.gz\) in .* Set eval\.data_dir"),
        ("refusal", "dev", r"not found: refusal_dev\.jsonl"),
        ("humaneval", "dev", r"eval\.split=dev: task 'humaneval' has no such split"),
    ],
)
def test_a_part_that_is_not_there_is_named(folder: Path, name: str, split: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        local(name=name, fields=["prompt"], data_dir=str(folder), split=split)


def test_an_empty_page_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "wikitext2_test.tokens").write_text(" \n\n")
    with pytest.raises(ValueError, match=r"wikitext2_test\.tokens holds no documents"):
        local(name="wikitext", fields=["page"], data_dir=str(tmp_path))


def test_the_hub_gives_the_rows_of_its_splits(folder: Path, fake_hub: Any) -> None:
    fake_hub["openai/gsm8k", "main", "test"] = PROBLEMS
    fake_hub["openai/gsm8k", "main", "train"] = SOLVED
    fake_hub["EleutherAI/wikitext_document_level", "wikitext-2-raw-v1", "validation"] = [{"page": "x"}]
    for split in ("test", "dev"):
        there = hub(name="gsm8k", fields=FIELDS, split=split)
        here = local(name="gsm8k", fields=FIELDS, data_dir=str(folder), split=split)
        assert {key: value.to_list() for key, value in there.items()} == {
            key: value.to_list() for key, value in here.items()
        }
    assert column(hub(name="wikitext", fields=["page"], split="dev")["test"], "page") == ["x"]


def test_the_hubs_fingerprint_follows_the_content(fake_hub: Any) -> None:
    settings = EvalSettings(source="hub", tasks=("humaneval",))
    fake_hub["openai/openai_humaneval", None, "test"] = PROGRAMS
    before = task_fingerprint(settings)
    assert task_fingerprint(settings) == before
    fake_hub["openai/openai_humaneval", None, "test"] = PROGRAMS[1:]
    assert task_fingerprint(settings) != before


def test_a_hub_row_without_a_field_is_named(fake_hub: Any) -> None:
    fake_hub["openai/openai_humaneval", None, "test"] = [{"prompt": "a"}, {"prompt": None}]
    with pytest.raises(ValueError, match=r"openai/openai_humaneval \(test\), row 1: field 'prompt' is missing"):
        hub(name="humaneval", fields=["prompt"])


def test_a_hub_that_cannot_be_reached_says_how_to_do_without(tmp_path: Path) -> None:
    """With ``HF_HUB_OFFLINE`` set, as in all tests, and an empty cache."""
    settings = EvalSettings(source="hub", tasks=("gsm8k",))
    for call in (lambda: hub(name="gsm8k", fields=FIELDS), lambda: task_fingerprint(settings)):
        with pytest.raises(
            ValueError, match=r"openai/gsm8k from the Hugging Face hub .*eval\.source=local"
        ) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_refusal_beside_the_hub_reads_the_folder(folder: Path) -> None:
    data = hub(name="refusal", fields=["prompt"], patterns=["complies"], data_dir=str(folder))
    assert column(data["test"], "prompt") == [row["prompt"] for row in REQUESTS]
    with pytest.raises(ValueError, match="give their folder as data_dir"):
        hub(name="refusal", fields=["prompt"])


def test_a_wrong_line_in_a_benchmark_file_is_named(folder: Path, tokenizer: Any) -> None:
    from eval.harness import Evaluator

    with (folder / "HumanEval.jsonl").open("a") as file:
        file.write(json.dumps({**PROGRAMS[0], "test": None}) + "\n")
    settings = EvalSettings(source="local", data_dir=folder, tasks=("humaneval",))
    with pytest.raises(ValueError, match=r"HumanEval\.jsonl, line 11: field 'test' is missing"):
        Evaluator(settings, tokenizer)


@pytest.mark.parametrize("source", ["local", "hub"])
def test_a_run_scores_all_tasks(
    folder: Path, fake_hub: Any, source: str, tokenizer: Any, tiny_model: Callable[..., Any]
) -> None:
    from eval.harness import Evaluator

    fake_hub["openai/gsm8k", "main", "test"] = PROBLEMS
    fake_hub["openai/gsm8k", "main", "train"] = SOLVED
    fake_hub["EleutherAI/wikitext_document_level", "wikitext-2-raw-v1", "test"] = [{"page": PAGES}]
    settings = EvalSettings(
        source=source, data_dir=folder, tasks=("wikitext", "gsm8k", "refusal"), limit=2, device="cpu"
    )
    result = Evaluator(settings, tokenizer)(tiny_model(0, max_position_embeddings=1024))
    assert {score["task"] for score in result.scores} == set(settings.tasks)
    assert all(f"-{source}." in score["task_version"] for score in result.scores)
    shots = "".join(f"Question: {row['question']}\nAnswer: {row['answer']}\n\n" for row in SOLVED[:5])
    prompts = [answer["prompt"] for answer in result.answers if answer["task"] == "gsm8k"]
    assert prompts == [f"{shots}Question: {row['question']}\nAnswer:" for row in PROBLEMS[:2]]
