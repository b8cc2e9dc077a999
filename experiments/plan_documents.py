"""How many tokens an evaluation reads and writes.

Counted with θ_pre's tokenizer where documents and tokenizer are on this machine; else from what is recorded here of
the benchmarks, at 4 characters a token. Answers are as long as the benchmarks' own, in tokens; at most the task's
limit. In a batch that is scored together the longest of B answers counts, 1 + spread·ln B lengths of a mean one,
which the reference answers of GSM8K and HumanEval follow within 3 % for B from 1 to 64.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from eval.data import document_path, read_documents
from eval.sources import local_path, read_pages
from experiments.config import StudyPlan
from experiments.family_config import mini_family

if TYPE_CHECKING:
    from tokenizers import Tokenizer

CHARACTERS_A_TOKEN = 4.0


@dataclass(frozen=True)
class Documents:
    """One task's documents, in tokens.

    Attributes:
        task: its name.
        count: documents.
        prompt: mean tokens of a prompt, shots included, or of a page.
        longest: most tokens of one.
        answer: mean tokens of an answer; 0 where nothing is generated.
        limit: most tokens of an answer.
        spread: see the module's text.
        samples: answers to each prompt.
        how: ``counted``, ``estimated``, or ``unknown`` (then there are none).
    """

    task: str
    count: int
    prompt: float
    longest: float
    answer: float = 0.0
    limit: int = 0
    spread: float = 0.33
    samples: int = 1
    how: str = "estimated"

    @property
    def prompt_tokens(self) -> float:
        """Of one evaluation."""
        return self.count * self.samples * self.prompt

    def answer_tokens(self, most: bool = False) -> float:
        """Generated in one evaluation; where every answer runs to its limit with `most`."""
        return self.count * self.samples * (self.limit if most else min(self.answer, self.limit))

    def steps(self, rows: int, most: bool = False) -> float:
        """Decoding steps of a batch of `rows`: the length of its longest answer."""
        return self.limit if most else min(self.limit, self.answer * (1 + self.spread * math.log(max(1, rows))))


@dataclass(frozen=True)
class Recorded:
    """A benchmark in characters: documents, mean and longest prompt, one shot, mean answer; its limit in tokens."""

    count: int
    prompt: float
    longest: float
    answer: float
    limit: int
    shot: float = 0.0
    spread: float = 0.33


#: Test splits as published, measured on their files: WikiText-2 raw (https://arxiv.org/abs/1609.07843), GSM8K
#: (https://github.com/openai/grade-school-math; a shot is a fifth of the first five training problems) and HumanEval
#: (https://github.com/openai/human-eval). Requests for ``refusal`` are the user's own: their length is a guess, and
#: answers of chat models run to the limit.
RECORDED = {
    "wikitext": Recorded(62, 20_241, 73_042, 0, 0),
    "gsm8k": Recorded(1_319, 257.9, 866, 292.9, 256, shot=372),
    "humaneval": Recorded(164, 450.6, 1_360, 180.9, 1_024, spread=0.54),
    "refusal": Recorded(0, 120, 400, 1_024, 256),
}

#: The miniature tasks in tokens of the miniature tokenizer: measured on the test split of 300 items, and answers on
#: 11,000 of merged and other models.
MINI = {
    "wikitext": Documents("wikitext", 300, 54.1, 81),
    "gsm8k": Documents("gsm8k", 300, 35.2, 41, 26.7, 64),
    "humaneval": Documents("humaneval", 300, 30.1, 43, 18.7, 64, 0.54),
    "refusal": Documents("refusal", 300, 15.5, 18, 11.2, 64),
}


def documents(study: StudyPlan, tokenizer: Path | None, answers: float) -> list[Documents]:
    """The documents of each task of a study.

    Args:
        study: which tasks, source, split, limit and shots.
        tokenizer: ``tokenizer.json`` of θ_pre; None estimates.
        answers: length of the answers, in lengths of the benchmark's own.
    """
    settings = study.config.eval
    found = []
    for task in settings.tasks:
        own = _counted(study, task, tokenizer) or _recorded(study, task)
        count = own.count if settings.limit is None else min(own.count, settings.limit)
        samples = settings.samples if task == "humaneval" else 1
        found.append(replace(own, count=count, samples=samples, answer=own.answer * answers))
    return found


def _recorded(study: StudyPlan, task: str) -> Documents:
    settings = study.config.eval
    if settings.source.value == "mini":
        return replace(MINI[task], count=mini_family(study.config.family, study.cache, study.seeds[0]).items)
    known = RECORDED[task]
    shots = _shots(study) * known.shot
    count = known.count
    if task == "refusal" and settings.limit is not None:
        count = settings.limit
    return Documents(
        task=task,
        count=count,
        prompt=(known.prompt + shots) / CHARACTERS_A_TOKEN,
        longest=(known.longest + shots) / CHARACTERS_A_TOKEN,
        answer=known.answer / CHARACTERS_A_TOKEN,
        limit=known.limit,
        spread=known.spread,
        how="estimated" if count else "unknown",
    )


def _counted(study: StudyPlan, task: str, file: Path | None) -> Documents | None:
    """Counted on the documents themselves; None where they or the tokenizer are not here."""
    if file is None:
        return None
    try:
        shots, prompts, answers = _texts(study, task)
    except ValueError:
        return None
    from tokenizers import Tokenizer

    tokenizer: Tokenizer = Tokenizer.from_file(str(file))
    limit = study.config.eval.limit
    lengths = _lengths(tokenizer, prompts[:limit])
    before = sum(_lengths(tokenizer, [shots])) if shots else 0
    known = _recorded(study, task)
    own = _lengths(tokenizer, [text for text in answers[:limit] if text])
    # The miniature answers were measured, and a benchmark that has none keeps what is recorded.
    measured = study.config.eval.source.value == "mini" or not own
    return replace(
        known,
        count=len(prompts),
        prompt=sum(lengths) / len(lengths) + before,
        longest=max(lengths) + before,
        answer=known.answer if measured else sum(own) / len(own),
        how="counted",
    )


def _texts(study: StudyPlan, task: str) -> tuple[str, list[str], list[str]]:
    """Shots, prompts and reference answers; ValueError where the files are not here."""
    settings = study.config.eval
    source, split = settings.source.value, settings.split
    fields = {"wikitext": ["page"], "gsm8k": ["question", "answer"], "humaneval": ["prompt", "canonical_solution"]}
    wanted = fields.get(task, ["prompt"])
    shots = ""
    if source == "mini":
        rows = read_documents(document_path(_mini_folder(study), task, split), wanted[:1])
    else:
        if settings.data_dir is None or (source == "hub" and task != "refusal"):
            raise ValueError("not here")
        folder = Path(settings.data_dir).expanduser()
        part = "train" if (task, split) == ("gsm8k", "dev") else split
        path = local_path(folder, task, part)
        rows = read_pages(path) if task == "wikitext" else read_documents(path, wanted)
        if task == "gsm8k" and (count := _shots(study)):
            solved = read_documents(local_path(folder, task, "train"), wanted)
            shots = "\n\n".join(f"{_prompt(row)} {row['answer']}" for row in solved[:count]) + "\n\n"
            rows = rows[count:] if split == "dev" else rows
    return shots, [_prompt(row) for row in rows], [str(row.get(wanted[-1]) or "") for row in rows if len(wanted) > 1]


def _prompt(row: Mapping[str, str]) -> str:
    return f"Question: {row['question']}\nAnswer:" if "question" in row else row.get("page") or row["prompt"]


def _shots(study: StudyPlan) -> int:
    settings = study.config.eval
    if settings.source.value == "mini":
        return 0
    return 5 if settings.num_fewshot is None else settings.num_fewshot


def _mini_folder(study: StudyPlan) -> Path:
    """The newest evaluation data of the miniature family in the cache, which it writes when it is first used."""
    if study.config.eval.data_dir is not None:
        return Path(study.config.eval.data_dir).expanduser()
    family = mini_family(study.config.family, study.cache, study.seeds[0])
    made = sorted(family.root.glob(f"data-{study.config.family.language}-*"), key=lambda path: path.stat().st_mtime)
    if not made:
        raise ValueError("not made yet")
    return made[-1]


def _lengths(tokenizer: Tokenizer, texts: Sequence[str]) -> list[int]:
    return [len(encoded.ids) for encoded in tokenizer.encode_batch(list(texts))]
