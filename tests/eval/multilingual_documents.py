"""A few rows for every multilingual task, with the fields that the hub's rows have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from eval_documents import write_lines

PARAGRAPHS = ("Ona ist ein Fluss. Er fließt durch Tom.", "Tom liegt im Norden. Dort wachsen Äpfel.")
COUNT = 6


def squad(number: int, separator: str = "") -> dict[str, Any]:
    return {
        "id": f"q{number}",
        "context": separator + PARAGRAPHS[number % 2],
        "question": f"Was ist Ona {number}?",
        "answers": {"text": ["ein Fluss", "der Fluss"], "answer_start": [8, 8]},
    }


def tmmluplus(number: int) -> dict[str, Any]:
    return {
        "subject": ("accounting", "physics", "ttqav2")[number % 3],
        "question": f" 問題 {number}?",
        **{letter: f"選 {letter}{number}" for letter in "ABCD"},
        "answer": "ABCD"[number % 4],
    }


def jaqket(number: int) -> dict[str, Any]:
    texts = [f"川{number}は流れる。", "町は北にある。"]
    return {"qid": f"{number}", "question": f"川{number}は?", "ctxs": {"text": texts}, "answers": {"text": ["川"]}}


def jcommonsenseqa(number: int) -> dict[str, Any]:
    return {
        "q_id": number,
        "question": f"どれ{number}?",
        **{f"choice{choice}": f"物{choice}" for choice in range(5)},
        "label": number % 5,
    }


def xnli(number: int) -> dict[str, Any]:
    return {"premise": f"Ona {number // 3} fließt.", "hypothesis": f"Sie steht {number}.", "label": number % 3}


def truthfulqa(number: int) -> dict[str, Any]:
    answers = [f"Nichts {number}.", "Man weiß es nicht.", "Ein Wunder geschieht dann immer.", "Ja."][: 2 + number % 3]
    return {
        "question": f"Was geschieht{number}  [title]dann?",
        "mc1_targets_choices": answers,
        "mc1_targets_labels": [1] + [0] * (len(answers) - 1),
        "mc2_targets_choices": answers,
        "mc2_targets_labels": [1, int(number % 2)] + [0] * (len(answers) - 2),
    }


MAKERS = {
    "tmmluplus": tmmluplus,
    "ja_leaderboard_jaqket_v2": jaqket,
    "ja_leaderboard_jsquad": lambda number: squad(number, "題名 [SEP] "),
    "ja_leaderboard_jcommonsenseqa": jcommonsenseqa,
    **{f"xquad_{code}": squad for code in ("de", "ru", "th")},
    **{f"xnli_{code}": xnli for code in ("de", "ru", "th")},
    **{f"truthfulqa_{code}_mc2": truthfulqa for code in ("de", "ru", "zh")},
}


def rows(task: str, part: str = "test") -> list[dict[str, Any]]:
    """Those of ``test``, ``train`` or ``dev``: no two parts share a row."""
    first = {"test": 0, "train": 100, "dev": 200}[part]
    return [MAKERS[task](first + number) for number in range(COUNT)]


def write(folder: Path) -> Path:
    """Write every task and part into `folder`."""
    for task in MAKERS:
        for part in ("test", "train", "dev"):
            write_lines(folder / f"{task}_{part}.jsonl", rows(task, part))
    return folder
