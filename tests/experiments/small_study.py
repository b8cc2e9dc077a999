"""A study that is small enough for a test: a real family, trained for seconds, and a handful of items."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SMALL = (
    "family.recipe.hidden=32",
    "family.recipe.layers=3",
    "family.recipe.heads=2",
    "family.recipe.ffn=48",
    "family.recipe.base_documents=2000",
    "family.recipe.pre_requests=80",
    "family.recipe.math_examples=48",
    "family.recipe.code_examples=48",
    "family.recipe.ua_examples=48",
    "family.recipe.target_ua_examples=48",
    "family.recipe.target_math_examples=48",
    "eval.limit=12",
    "eval.batch_size=12",
    "workers=2",
)


def command(*overrides: str, door: str = "reproduce") -> list[str]:
    return [sys.executable, "-m", f"experiments.{door}", *SMALL, *overrides]


def environment(cache: Path) -> dict[str, str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("WANDB", "HYDRA"))}
    return {**clean, "LATA_CACHE": str(cache), "HF_HUB_OFFLINE": "1"}


def reproduce(cwd: Path, cache: Path, *overrides: str, door: str = "reproduce") -> subprocess.CompletedProcess[str]:
    """Run the real command on the small study."""
    return subprocess.run(
        command(*overrides, door=door), cwd=cwd, env=environment(cache), capture_output=True, text=True, check=False
    )
