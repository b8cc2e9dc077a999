"""What an evaluation is asked to do, checked at once. Nothing heavy is imported."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eval.multilingual.entries import MULTILINGUAL
from eval.schema import PASS_AT

if TYPE_CHECKING:
    from eval.judge.settings import JudgeSettings

#: The paper's tasks, which have miniature twins.
CORE_TASKS = ("wikitext", "gsm8k", "humaneval", "refusal")
#: Tasks with a folder of their own under ``eval/tasks``.
OWN_TASKS = (*CORE_TASKS, "humaneval_instruct")
TASKS = (*OWN_TASKS, *MULTILINGUAL)
#: Tasks that run the programs which models write.
CODE_TASKS = ("humaneval", "humaneval_instruct")
CHOICES: dict[str, tuple[str, ...]] = {
    "source": ("mini", "local", "hub"),
    "split": ("test", "dev"),
    "dtype": ("float32", "bfloat16", "float16"),
    "backend": ("hf", "vllm"),
    "chat_template": ("off", "on", "auto"),
}
DEVICE_MAPS = ("auto", "balanced", "sequential")
TASK_FOLDER = Path(__file__).parent / "tasks"

#: Shots of the stock tasks that have some.
STOCK_SHOTS = {"gsm8k": 5, **{task: entry.shots for task, entry in MULTILINGUAL.items() if entry.shots}}


def refuse(key: str, value: object, valid: tuple[str, ...]) -> ValueError:
    """The error for a value that is not among ``valid``: names the setting, the value and the nearest ones."""
    near = difflib.get_close_matches(str(value), valid, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    return ValueError(f"eval.{key}: unknown value {value!r}; {hint}Choose from: {', '.join(valid)}.")


def documents_of(task: str) -> str:
    """The task that names a task's documents: another protocol on the same problems has no files of its own."""
    return "humaneval" if task in CODE_TASKS else task


def has_development_split(task: str, source: str) -> bool:
    """Whether a task has ``eval.split=dev``; a folder (``local``) may hold a file for any but HumanEval."""
    if task in CODE_TASKS:
        return source == "mini"
    return source != "hub" or task not in MULTILINGUAL or MULTILINGUAL[task].dev is not None


@dataclass(frozen=True)
class EvalSettings:
    """How models are scored.

    Attributes:
        tasks: which of ``TASKS``, in the order of the tables.
        source: where documents come from: ``mini`` and ``local`` read files of ``data_dir``, ``hub`` loads the
            benchmarks from the Hugging Face hub (or its cache).
        data_dir: ``mini``: the folder of ``<task>_<split>.jsonl`` files; ``local``: the folder of benchmark files
            (``eval.documents.sources.LOCAL_FILES``); ``hub``: only for ``refusal``, which no hub has.
        split: ``test``, or ``dev`` for choosing λ.
        limit: the first so many documents of each task; None takes all.
        batch_size: prompts or windows in a batch. It can move scores in low precision, so it is part of every
            score row and of the fingerprint.
        dtype: what the model's weights must be in.
        device: ``auto`` (the GPU where there is one), or a torch device such as ``cpu`` or ``cuda:1``.
        threads: torch's threads on the CPU.
        backend: ``hf``, transformers, or ``vllm``.
        chat_template: ``off``, prompts go to the model as they are; ``on``, through the tokenizer's template, shots
            as turns of their own; ``auto``, on where the tokenizer has a template.
        allow_weaker_sandbox: run generated code under resource limits alone where nothing better works.
        num_fewshot: shots of the tasks that have some (``STOCK_SHOTS``); None keeps each task's own number.
        samples: programs for each HumanEval problem: 1 is greedy, more are sampled.
        temperature: of the sampled programs; not used for greedy ones.
        k: the k of ``pass@k``, each at most ``samples``.
        seed: of the sampled programs.
        judge: scores refusal's answers from 1 to 5 beside the rule; None leaves it to the rule.
        tensor_parallel: GPUs that vLLM spreads a model over.
        gpu_memory: share of each GPU's memory that vLLM takes, over 0 and at most 1.
        device_map: how transformers spreads a model that one GPU cannot hold over all that it sees: ``auto``,
            ``balanced`` or ``sequential``; None puts it on `device` whole.
    """

    tasks: tuple[str, ...] = CORE_TASKS
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
    samples: int = 1
    temperature: float = 0.8
    k: tuple[int, ...] = (1,)
    seed: int = 0
    judge: JudgeSettings | None = None
    tensor_parallel: int = 1
    gpu_memory: float = 0.9
    device_map: str | None = None

    def __post_init__(self) -> None:
        for key in ("tasks", "k"):
            object.__setattr__(self, key, tuple(getattr(self, key)))
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
        for key in ("batch_size", "threads", "limit", "samples", "tensor_parallel"):
            value = getattr(self, key)
            if not (value is None and key == "limit") and not (type(value) is int and value >= 1):
                raise ValueError(f"eval.{key} must be a whole number of at least 1, not {value!r}.")
        if self.device_map not in (None, *DEVICE_MAPS):
            raise refuse("device_map", self.device_map, DEVICE_MAPS)
        self._check_data()
        self._check_shots()
        self._check_sampling()
        if not _number(self.gpu_memory) or not 0 < self.gpu_memory <= 1:
            raise ValueError(f"eval.gpu_memory must be over 0 and at most 1, not {self.gpu_memory!r}.")

    def _check_data(self) -> None:
        if self.data_dir is not None:
            object.__setattr__(self, "data_dir", Path(self.data_dir))
        elif self.source == "mini":
            raise ValueError("eval.data_dir is not set: name the folder that holds <task>_<split>.jsonl files.")
        elif self.source == "local":
            raise ValueError("eval.data_dir is not set: eval.source=local needs the folder of benchmark files.")
        elif "refusal" in self.tasks:
            raise ValueError(
                "eval.source=hub: refusal has no data set there; set eval.data_dir to a folder with "
                f'refusal_{self.split}.jsonl (one {{"prompt": …}} a line), or leave refusal out of eval.tasks.'
            )
        self._check_multilingual()
        for task in CODE_TASKS:
            if self.split == "dev" and task in self.tasks and not has_development_split(task, self.source):
                raise ValueError(
                    f"eval.split=dev: HumanEval has a test split only; leave {task} out of eval.tasks, or set "
                    "eval.split=test."
                )

    def _check_multilingual(self) -> None:
        for task in self.tasks:
            if task not in MULTILINGUAL:
                continue
            if self.source == "mini":
                raise ValueError(
                    f"eval.source=mini: {task} is a task of lm-eval and has no miniature twin. Set eval.source=hub, "
                    f"or eval.source=local with {task}_{self.split}.jsonl in eval.data_dir, or leave it out of "
                    "eval.tasks."
                )
            if self.split == "dev" and not has_development_split(task, self.source):
                raise ValueError(
                    f"eval.split=dev: {task} has one split only on the hub. Leave it out of eval.tasks, or set "
                    f"eval.source=local with {task}_dev.jsonl of your own in eval.data_dir."
                )

    def _check_shots(self) -> None:
        shots = self.num_fewshot
        if shots is None:
            return
        if type(shots) is not int or shots < 0:
            raise ValueError(f"eval.num_fewshot must be a whole number of at least 0, or null, not {shots!r}.")
        if self.source == "mini" and shots:
            raise ValueError(f"eval.num_fewshot = {shots}: the miniature tasks have no shots. Leave it out or set 0.")

    def _check_sampling(self) -> None:
        if not _number(self.temperature) or not 0 < self.temperature < math.inf:
            raise ValueError(
                f"eval.temperature must be a number over 0, not {self.temperature!r}; eval.samples=1 is greedy."
            )
        if type(self.seed) is not int or self.seed < 0:
            raise ValueError(f"eval.seed must be a whole number of at least 0, not {self.seed!r}.")
        if not self.k:
            raise ValueError(f"eval.k is empty. Choose from: {', '.join(map(str, PASS_AT))}.")
        for size in self.k:
            if type(size) is not int or size not in PASS_AT:
                raise refuse("k", size, tuple(map(str, PASS_AT)))
            if size > self.samples:
                raise ValueError(
                    f"eval.k: pass@{size} needs eval.samples of at least {size}, not {self.samples}. "
                    "Raise eval.samples or lower eval.k."
                )
        if len(set(self.k)) < len(self.k):
            raise ValueError(f"eval.k names a number twice: {', '.join(map(str, self.k))}.")

    def shots(self, task: str) -> int:
        """How many solved problems stand before each question of a task."""
        if self.source == "mini" or task not in STOCK_SHOTS:
            return 0
        return STOCK_SHOTS[task] if self.num_fewshot is None else self.num_fewshot

    def metadata(self) -> dict[str, Any]:
        """What the tasks are told: the ``--metadata`` of lm-eval's own command that gives the same answers."""
        told: dict[str, Any] = {"split": self.split, "allow_weaker_sandbox": self.allow_weaker_sandbox}
        if self.data_dir is not None:
            told["data_dir"] = str(self.data_dir)
        if self.source != "mini" and self.num_fewshot is not None:
            told["num_fewshot"] = self.num_fewshot
        if self.samples > 1:
            told |= {"samples": self.samples, "temperature": self.temperature, "k": list(self.k)}
        return told


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
