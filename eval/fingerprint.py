"""The fingerprint of an evaluation: a hash of everything but the weights that decides its answers.

Nothing heavy is imported: a run that finds all its scores in the store needs no more than this. The one exception is
``eval.source=hub``, whose documents are read through ``datasets``: only their content says which they are.
"""

from __future__ import annotations

import hashlib
import json
import platform
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from eval.documents.sources import content
from eval.multilingual.entries import MULTILINGUAL
from eval.settings import CODE_TASKS, TASK_FOLDER, EvalSettings, documents_of
from lata.code_version import code_version, meaning, modules_in

#: Settings that say where to run or what is allowed, not what comes out. The data count by content instead.
NOT_DECIDING = ("data_dir", "allow_weaker_sandbox")

#: What decides answers only together with another setting.
SAMPLING_KEYS = ("samples", "temperature", "k", "seed")
VLLM_KEYS = ("tensor_parallel", "gpu_memory")

#: Parts of this package that decide nothing: what is counted here, and when the judge is asked.
_WITHOUT = ("eval.fingerprint", "eval.judge.pace")


def task_fingerprint(settings: EvalSettings) -> str:
    """A hash of everything but the weights that decides the answers and their scores.

    It covers the task folders and the parts of this package that the settings use, both without comments, the
    documents, the settings that matter, the files of lm-eval that a multilingual task is made of, and the versions of
    Python, torch, transformers and lm-eval (whose stock YAML files the other tasks start from).

    Returns:
        sha256, 64 hexadecimal digits.

    Raises:
        ValueError: a data file is missing, or the hub cannot be reached.
    """
    digest = hashlib.sha256()

    def add(name: str, content: bytes) -> None:
        for part in (name.encode(), content):
            digest.update(len(part).to_bytes(8, "big") + part)

    # All modules, imported or not: YAML and the sandbox's process load some by their names.
    without = (*_WITHOUT, *_unused(settings))
    add("code", code_version(*modules_in("eval", without), packages=("eval",), without=without).encode())
    files: set[Path] = set()
    for task in settings.tasks:
        folders = {TASK_FOLDER / task, TASK_FOLDER / documents_of(task)}  # one protocol can build on another
        files |= {path for folder in folders for path in folder.rglob("*") if path.suffix in (".py", ".yaml")}
    for path in sorted(files):
        said = meaning if path.suffix == ".py" else _data
        add(path.relative_to(TASK_FOLDER).as_posix(), said(path.read_text(encoding="utf-8")).encode())
    for task in settings.tasks:
        for name, document in content(task, settings.source, settings.data_dir, settings.split, settings.shots(task)):
            add(name, document)
    add("settings", json.dumps(_deciding(settings), sort_keys=True).encode())
    add("versions", json.dumps(versions(settings.backend), sort_keys=True).encode())
    return digest.hexdigest()


def _unused(settings: EvalSettings) -> tuple[str, ...]:
    """The parts of this package that these settings do not use."""
    multilingual = bool({*MULTILINGUAL} & {*settings.tasks})
    used = {
        "eval.backends.hf": settings.backend == "hf",
        "eval.backends.generate": settings.backend == "hf",
        "eval.backends.logits": settings.backend == "hf",
        "eval.backends.vllm": settings.backend == "vllm",
        "eval.backends.vllm_lm": settings.backend == "vllm",
        "eval.documents.multilingual_rows": multilingual,
        "eval.judge": _is_judged(settings),
        "eval.multilingual": multilingual,
        "eval.sandbox": bool({*CODE_TASKS} & {*settings.tasks}),
    }
    return tuple(part for part, is_used in used.items() if not is_used)


def _is_judged(settings: EvalSettings) -> bool:
    return settings.judge is not None and "refusal" in settings.tasks


def _data(text: str) -> str:
    """What YAML says, without comments and styles."""
    import yaml

    def plain(node: yaml.Node | None) -> Any:
        if isinstance(node, yaml.MappingNode):
            return [node.tag, [[plain(key), plain(value)] for key, value in node.value]]
        assert node is not None
        return [node.tag, [plain(item) for item in node.value] if isinstance(node, yaml.SequenceNode) else node.value]

    return json.dumps(plain(yaml.compose(text, yaml.SafeLoader)))


def _deciding(settings: EvalSettings) -> dict[str, Any]:
    """The settings that decide answers, without those that do nothing beside the others."""
    ignored = {*NOT_DECIDING, "judge"}
    if settings.samples == 1 or not {*CODE_TASKS} & {*settings.tasks}:
        ignored.update(SAMPLING_KEYS)
    if settings.backend != "vllm":
        ignored.update(VLLM_KEYS)
    deciding = {key: value for key, value in asdict(settings).items() if key not in ignored}
    deciding["num_fewshot"] = {task: settings.shots(task) for task in settings.tasks if settings.shots(task)}
    if settings.judge is not None and _is_judged(settings):
        deciding["judge"] = settings.judge.deciding()
    return deciding


def versions(backend: str = "hf") -> dict[str, Any]:
    """Versions of what computes answers, read without importing it."""
    names = ("torch", "transformers", "lm_eval", *(("vllm",) if backend == "vllm" else ()))
    packages = {name: _version(name) for name in names}
    return {**packages, "python": ".".join(platform.python_version_tuple()[:2])}


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "none"
