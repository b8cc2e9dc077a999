"""Where a result came from: configuration, code, versions, seeds, weights, machine, and time spent."""

from __future__ import annotations

import contextlib
import hashlib
import platform
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from experiments import ROOT
from experiments.config.secrets import looks_secret
from experiments.steps.devices import cores
from lata.output.documents.facts import public_source

PACKAGES = (
    "torch",
    "transformers",
    "tokenizers",
    "lm_eval",
    "datasets",
    "hydra-core",
    "numpy",
    "pandas",
    "scipy",
    "wandb",
)

#: One value in Hydra's grammar, a URL with its colon.
_WORD = re.compile(r"(?:[^\s,{}\[\]'\":]|:(?=//))+")


class Stopwatch:
    """Seconds spent in each stage of a run."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time spent inside to stage `name`."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = round(self.seconds.get(name, 0.0) + time.perf_counter() - began, 3)


def command(door: str) -> str:
    """The command line of this run, without what decides only where and how fast it runs."""
    skipped = ("out=", "cache=", "logger", "workers=", "process=", "eval.data_dir=")
    return shlex.join(["python", "-m", f"experiments.{door}", *public_words(skipped)])


def public_words(skipped: tuple[str, ...]) -> list[str]:
    """The words of the command line but those that begin so, as others may read them."""
    return [_public(word) for word in sys.argv[1:] if not word.startswith(skipped)]


def _public(word: str) -> str:
    """An override with the models in it as others may read them; they can stand in lists and mappings."""
    key, equals, value = word.partition("=")
    if not equals:
        return word
    if looks_secret(key):
        return f"{key}=***"
    if not set(value) & set("{[,'\""):
        return f"{key}={public_source(value)}"
    return f"{key}={_WORD.sub(lambda found: public_source(found[0]), value)}"


def environment(door: str = "reproduce") -> dict[str, Any]:
    """Code, versions and machine."""
    return {
        "command": command(door),
        "git": git_commit(),
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in PACKAGES},
        "machine": {
            "system": platform.system(),
            "architecture": platform.machine(),
            "processor": _processor(),
            "cores": cores(),
        },
    }


def git_commit() -> dict[str, Any]:
    """Commit of the checkout and whether it has uncommitted changes; what runs instead where there is no checkout."""
    # A wheel can be installed below somebody else's repository, whose commit says nothing of this code.
    if not (ROOT / ".git").exists():
        return {"checkout": False, "installed": _version("lata-bench")}

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=10, check=True)
        return done.stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", ":!results/outcomes/mini")
        return {"commit": git("rev-parse", "HEAD"), "changed": bool(changed)}
    except (OSError, subprocess.SubprocessError):
        return {"checkout": True, "unreadable": "git cannot be asked"}


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def file_digests(root: Path, files: list[Path]) -> dict[str, str]:
    """Relative path → sha256."""
    return {
        file.relative_to(root).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(files)
    }


def _processor() -> str:
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return platform.processor() or "unknown"
