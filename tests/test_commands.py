"""Every command of the README and of the pages beside it runs to its end, one after the other, as a reader would.

What is added makes them small: a family that is trained in seconds, and few items. ``make`` is run by CI, the command
for SLURM by `tests/cluster`, those on published checkpoints by `tests/standins`.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from page_commands import commands, text_of

from experiments.mini.family import MiniFamily

RECIPE = {
    "hidden": 32,
    "layers": 3,
    "heads": 2,
    "ffn": 48,
    "context": 1280,  # HumanEval's answers may have 1,024 tokens
    "base_documents": 300,
    "pre_requests": 80,
    **{f"{name}_examples": 48 for name in ("math", "code", "ua", "target_ua", "target_math", "pre_l2", "target_l2")},
}
FAMILY = [f"family.recipe.{name}={value}" for name, value in RECIPE.items()]
SMALL = {
    "reproduce": [*FAMILY, "eval.limit=6"],
    "sweep": [*FAMILY, "eval.limit=6"],
    "evaluate": ["eval.source=local", "eval.data_dir=data", "eval.limit=2", "eval.num_fewshot=0", "eval.device=cpu"],
}
#: The default sweep is large; two processes share a part of it.
SHARED = ["merges=[math+code]", "methods=[ta]", "lambdas=[0.5,1]"]
PAGES = ["README.md", *(f"{folder}/README.md" for folder in ("lata", "eval", "experiments"))]
#: An experiment on the miniature family that no page has a command block for.
QUESTION = ("sweep", ["experiment=choosing", "lambdas=[0.5,1]", "search.trials=2"])


def runs_here(command: str, words: list[str]) -> bool:
    """Whether a command needs neither a cluster nor published checkpoints."""
    published = any(re.match(r"(--family$|family=|family\.models)", word) for word in words)
    return "hydra/launcher=slurm" not in words and (command == "plan" or not published)


def with_folders(words: list[str], folders: dict[str, Path]) -> list[str]:
    """A command's words with folders in the place of ``DIR``."""
    line = re.sub(
        r"\b(base|pre|math|code)( |=|: )DIR\b",
        lambda match: f"{match[1]}{match[2]}{folders[match[1]]}",
        shlex.join(words),
    )
    line = line.replace("NEW_DIR", "again").replace("DIR_OR_ID", "merged")
    return shlex.split(re.sub(r"\bDIR\b", "merged", line))


def write_benchmarks(folder: Path) -> None:
    """One document a benchmark."""
    folder.mkdir()
    (folder / "wikitext2_test.tokens").write_text(" = Town = \n\n The town lies on a river . \n", encoding="utf-8")
    rows = {
        "gsm8k_test": {"question": "How many are 2 and 3?", "answer": "2+3=<<2+3=5>>5\n#### 5"},
        "HumanEval": {
            "task_id": "one/0",
            "prompt": 'def add(n):\n    """Return n plus one."""\n',
            "canonical_solution": "    return n + 1\n",
            "test": "def check(candidate):\n    assert candidate(1) == 2\n",
            "entry_point": "add",
        },
    }
    for name, row in rows.items():
        (folder / f"{name}.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")


@pytest.mark.slow
def test_every_command_of_the_pages_and_the_python_of_the_readme_run(tmp_path: Path) -> None:
    write_benchmarks(tmp_path / "data")
    cache = tmp_path / "cache"
    folders = MiniFamily(cache=cache, **RECIPE).folders()  # type: ignore[arg-type]
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("WANDB", "HYDRA"))}
    environment = {**clean, "LATA_CACHE": str(cache), "HF_HUB_OFFLINE": "1"}

    def run(*words: str) -> None:
        done = subprocess.run(
            [sys.executable, *words], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, (words, done.stdout[-2_000:], done.stderr[-2_000:])

    # Each command once, in the order of the pages.
    found = {(command, *words): None for page in PAGES for command, words in commands(page)}
    for command, *words in [*found, (QUESTION[0], *QUESTION[1])]:
        if runs_here(command, words):
            shared = SHARED if "--multirun" in words else []
            run(
                "-m", "experiments.commands", command, *with_folders(words, folders), *SMALL.get(command, ()), *shared
            )
    assert {command for command, *_ in found} >= {*SMALL, "merge", "compare", "plan"}
    for run_folder in ("mini", "mini-sweep", "mini_forgetting_l2-sweep", "mini_choosing-sweep"):
        assert (tmp_path / "runs" / run_folder / "report.html").is_file()
    weights = [(tmp_path / folder / "model.safetensors").read_bytes() for folder in ("merged", "again")]
    assert weights[0] == weights[1], "the recipe makes the same bytes"

    (code,) = re.findall(r"```python\n(import lata\n.*?)```", text_of("README.md"), re.DOTALL)
    places = iter([*(str(folders[name]) for name in ("base", "pre", "math", "code")), "by_python"])
    code = re.sub(r'"DIR"', lambda _: json.dumps(next(places)), code)
    loaded = (
        f"from transformers import AutoModelForCausalLM as M\nmodel = M.from_pretrained({str(folders['pre'])!r})\n"
    )
    run("-c", loaded + code)
    assert (tmp_path / "by_python" / "model.safetensors").read_bytes() == weights[0]
