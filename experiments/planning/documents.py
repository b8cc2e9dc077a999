"""How many tokens an evaluation reads and writes.

Counted with θ_pre's tokenizer where documents and tokenizer are on this machine; else from what `plan_recorded` knows
of the benchmarks. Answers are as long as the benchmarks' own, in tokens; at most the task's limit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

from eval.documents.files import document_path, json_lines, part_file, read_documents
from eval.documents.multilingual_rows import DEV_ROWS, checked_row
from eval.documents.sources import local_path, read_pages
from eval.multilingual.entries import MULTILINGUAL
from eval.settings import CODE_TASKS, STOCK_SHOTS, documents_of
from experiments.config.family import mini_family
from experiments.config.study import StudyPlan
from experiments.planning.recorded import GUESSED, MINI, RECORDED, Documents

if TYPE_CHECKING:
    from tokenizers import Tokenizer


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
        samples = settings.samples if task in CODE_TASKS else own.samples
        found.append(replace(own, count=count, samples=samples, answer=own.answer * answers))
    return found


def _recorded(study: StudyPlan, task: str) -> Documents:
    settings = study.config.eval
    if settings.source.value == "mini":
        return replace(MINI[task], count=mini_family(study.config.family, study.cache, study.seeds[0]).items)
    known = RECORDED.get(task) or GUESSED[task]
    beside = known.fixed + _shots(study, task) * known.shot
    count = known.count
    if task == "refusal" and settings.limit is not None:
        count = settings.limit
    if settings.split == "dev" and task in MULTILINGUAL:
        count = min(count, DEV_ROWS)
    return Documents(
        task=task,
        count=count,
        prompt=(known.prompt + beside) / known.density,
        longest=(known.longest + beside) / known.density,
        answer=known.answer / known.density,
        limit=known.limit,
        spread=known.spread,
        samples=known.passes,
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
    known = _recorded(study, task)
    before = float(sum(_lengths(tokenizer, [shots])) if shots else 0)
    if (fixed := (GUESSED | RECORDED)[task]).fixed:
        before += fixed.fixed / fixed.density
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
    name = documents_of(task)
    wanted = fields.get(name, ["prompt"])
    shots = ""
    if source == "mini":
        rows = read_documents(document_path(_mini_folder(study), name, split), wanted[:1])
    else:
        if settings.data_dir is None or (source == "hub" and task != "refusal"):
            raise ValueError("not here")
        folder = Path(settings.data_dir).expanduser()
        if task in MULTILINGUAL:
            return _multilingual(study, task, folder)
        part = "train" if (task, split) == ("gsm8k", "dev") else split
        path = local_path(folder, name, part)
        rows = read_pages(path) if task == "wikitext" else read_documents(path, wanted)
        if task == "gsm8k" and (count := _shots(study, task)):
            solved = read_documents(local_path(folder, task, "train"), wanted)
            shots = "\n\n".join(f"{_prompt(row)} {row['answer']}" for row in solved[:count]) + "\n\n"
            rows = rows[count:] if split == "dev" else rows
    prompts = [_prompt(row) * (2 if task == "humaneval_instruct" else 1) for row in rows]
    return shots, prompts, [str(row.get(wanted[-1]) or "") for row in rows if len(wanted) > 1]


def _prompt(row: Mapping[str, str]) -> str:
    return f"Question: {row['question']}\nAnswer:" if "question" in row else row.get("page") or row["prompt"]


def _multilingual(study: StudyPlan, task: str, folder: Path) -> tuple[str, list[str], list[str]]:
    """The texts that a model reads of each row, one choice of several; the answers, where they are generated."""
    entry, split = MULTILINGUAL[task], study.config.eval.split

    def read(part: str) -> tuple[list[str], list[str]]:
        path = part_file(folder, [f"{task}_{part}.jsonl"], part)
        rows = [checked_row(entry, row, where) for where, row in json_lines(path)]
        texts = ["\n".join(_strings({key: row[key] for key in row if key not in _UNREAD})) for row in rows]
        return texts, [row["answers"]["text"][0] for row in rows if "answers" in row]

    count = _shots(study, task)
    solved = zip_longest(*read("train"), fillvalue="") if count else ()
    shots = "\n\n".join(f"{text}\n{answer}" for text, answer in islice(solved, count))
    texts, answers = read(split)
    return shots, texts, answers


#: Fields of the multilingual rows that are not read, or are the answer.
_UNREAD = ("cluster", "answers", "answer", "mc1_targets_choices", "mc2_targets_labels")


def _strings(value: object) -> list[str]:
    """All texts in a row; the first of several choices."""
    if isinstance(value, dict):
        return [text for key, inner in value.items() for text in _strings(inner[:1] if "choices" in key else inner)]
    if isinstance(value, list):
        return [text for inner in value for text in _strings(inner)]
    return [value] if isinstance(value, str) else []


def _shots(study: StudyPlan, task: str) -> int:
    settings = study.config.eval
    if settings.source.value == "mini" or task not in STOCK_SHOTS:
        return 0
    return STOCK_SHOTS[task] if settings.num_fewshot is None else settings.num_fewshot


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
