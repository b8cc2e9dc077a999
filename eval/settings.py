"""What an evaluation is asked to do, checked at once, and the fingerprint of what decides its answers.

Nothing heavy is imported: a run that finds all its scores in the store needs only this module.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import platform
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from eval.data import document_path

TASKS = ("wikitext", "gsm8k", "humaneval", "refusal")
CHOICES: dict[str, tuple[str, ...]] = {
    "source": ("mini",),
    "split": ("test", "dev"),
    "dtype": ("float32", "bfloat16", "float16"),
    "backend": ("hf",),
    "chat_template": ("off",),
}
TASK_FOLDER = Path(__file__).parent / "tasks"

#: Settings that say where to run or what is allowed, not what comes out. The data count by content instead.
NOT_DECIDING = ("data_dir", "allow_weaker_sandbox")


def refuse(key: str, value: object, valid: tuple[str, ...]) -> ValueError:
    """The error for a value that is not among ``valid``: names the setting, the value and the nearest ones."""
    near = difflib.get_close_matches(str(value), valid, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    return ValueError(f"eval.{key}: unknown value {value!r}; {hint}Choose from: {', '.join(valid)}.")


@dataclass(frozen=True)
class EvalSettings:
    """How models are scored.

    Attributes:
        tasks: which of ``TASKS``, in the order of the tables.
        source: where documents come from; ``mini`` reads JSON lines from ``data_dir``.
        data_dir: the folder of ``<task>_<split>.jsonl`` files.
        split: ``test``, or ``dev`` for choosing λ.
        limit: the first so many documents of each task; None takes all.
        batch_size: prompts or windows in a batch. It can move scores in low precision, so it is part of every
            score row and of the fingerprint.
        dtype: what the model's weights must be in.
        device: ``auto`` (the GPU where there is one), or a torch device such as ``cpu`` or ``cuda:1``.
        threads: torch's threads on the CPU.
        backend: ``hf``, transformers.
        chat_template: ``off``, prompts go to the model as they are.
        allow_weaker_sandbox: run generated code under resource limits alone where nothing better works.
        num_fewshot: shots for tasks that have any; None keeps each task's own number.
    """

    tasks: tuple[str, ...] = TASKS
    source: str = "mini"
    data_dir: Path | None = None
    split: str = "test"
    limit: int | None = None
    batch_size: int = 64
    dtype: str = "float32"
    device: str = "auto"
    threads: int = 1
    backend: str = "hf"
    chat_template: str = "off"
    allow_weaker_sandbox: bool = False
    num_fewshot: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "tasks", tuple(self.tasks))
        if not self.tasks:
            raise ValueError(f"eval.tasks is empty. Choose from: {', '.join(TASKS)}.")
        for task in self.tasks:
            if task not in TASKS:
                raise refuse("tasks", task, TASKS)
        if len(set(self.tasks)) < len(self.tasks):
            raise ValueError(f"eval.tasks names a task twice: {', '.join(self.tasks)}.")
        for key, valid in CHOICES.items():
            if getattr(self, key) not in valid:
                raise refuse(key, getattr(self, key), valid)
        for key in ("batch_size", "threads", "limit"):
            value = getattr(self, key)
            if not (value is None and key == "limit") and not (type(value) is int and value >= 1):
                raise ValueError(f"eval.{key} must be a whole number of at least 1, not {value!r}.")
        if self.data_dir is None:
            raise ValueError("eval.data_dir is not set: name the folder that holds <task>_<split>.jsonl files.")
        object.__setattr__(self, "data_dir", Path(self.data_dir))
        if self.num_fewshot not in (None, 0):
            raise ValueError(
                f"eval.num_fewshot = {self.num_fewshot}: the miniature tasks have no shots. Leave it out or set 0."
            )


def task_fingerprint(settings: EvalSettings) -> str:
    """A hash of everything but the weights that decides the answers and their scores.

    It covers the task folders, this package's code, the documents, the settings that matter, and the versions
    of Python, torch, transformers and lm-eval (whose stock YAML files the tasks start from).

    Returns:
        sha256, 64 hexadecimal digits.

    Raises:
        ValueError: a data file is missing.
    """
    digest = hashlib.sha256()

    def add(name: str, content: bytes) -> None:
        for part in (name.encode(), content):
            digest.update(len(part).to_bytes(8, "big") + part)

    package = Path(__file__).parent
    files = [path for path in package.rglob("*.py") if "tasks" not in path.relative_to(package).parts]
    for task in settings.tasks:
        files += [path for path in (TASK_FOLDER / task).rglob("*") if path.suffix in (".py", ".yaml")]
    for path in sorted(files):
        add(path.relative_to(package).as_posix(), path.read_bytes())
    assert settings.data_dir is not None
    for task in settings.tasks:
        path = document_path(settings.data_dir, task, settings.split)
        if not path.is_file():
            raise ValueError(f"evaluation data not found: {path}. Set eval.data_dir to the folder that holds it.")
        add(path.name, path.read_bytes())
    deciding = {key: value for key, value in asdict(settings).items() if key not in NOT_DECIDING}
    add("settings", json.dumps(deciding, sort_keys=True).encode())
    add("versions", json.dumps(versions(), sort_keys=True).encode())
    return digest.hexdigest()


def versions() -> dict[str, Any]:
    """Versions of what computes answers, read without importing it."""
    packages = {name: metadata.version(name) for name in ("torch", "transformers", "lm_eval")}
    return {**packages, "python": ".".join(platform.python_version_tuple()[:2])}
