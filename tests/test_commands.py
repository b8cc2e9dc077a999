"""Every command of the README runs to its end, one after the other, as its reader would run them; and more studies.

What is added makes them small: a family that is trained in seconds, and few items. ``make`` is run by CI, the command
for SLURM by `tests/cluster`, those on published checkpoints by `tests/standins`.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from page_commands import ROOT, commands

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
#: Experiments on the miniature family that the README only links to.
QUESTIONS = [
    ("sweep", ["experiment=choosing", "lambdas=[0.5,1]", "search.trials=2"]),
]


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
def test_every_command_of_the_readme_and_its_python_run(tmp_path: Path) -> None:
    write_benchmarks(tmp_path / "data")
    cache = tmp_path / "cache"
    folders = MiniFamily(cache=cache, **RECIPE).folders()  # type: ignore[arg-type]
    given = {
        **{f"{name}=DIR": f"{name}={folders[name]}" for name in ("base", "pre")},
        **{f"{name}: DIR": f"{name}: {folders[name]}" for name in ("math", "code")},
        "output=DIR": "output=merged",
        "NEW_DIR": "again",
        "DIR_OR_ID": "merged",
        "DIR": "merged",
    }
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("WANDB", "HYDRA"))}
    environment = {**clean, "LATA_CACHE": str(cache), "HF_HUB_OFFLINE": "1"}

    def run(*words: str) -> None:
        done = subprocess.run(
            [sys.executable, *words], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, (words, done.stdout[-2_000:], done.stderr[-2_000:])

    found = [(door, words) for door, words in commands("README.md") if "hydra/launcher=slurm" not in words]
    assert {door for door, _ in found} == {"reproduce", "merge", "evaluate", "sweep", "compare", "plan"}
    for door, words in [*found, *QUESTIONS]:
        for said, here in given.items():
            words = [here.join(word.split(said)) for word in words]
        shared = SHARED if "--multirun" in words else []
        run("-m", f"experiments.{door}", *words, *SMALL.get(door, ()), *shared)
    for run_folder in ("mini", "mini-sweep", "mini_forgetting_l2-sweep", "mini_choosing-sweep"):
        assert (tmp_path / "runs" / run_folder / "report.html").is_file()
    weights = [(tmp_path / folder / "model.safetensors").read_bytes() for folder in ("merged", "again")]
    assert weights[0] == weights[1], "the recipe makes the same bytes"

    (code,) = re.findall(r"```python\n(import lata\n.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    places = iter([*(str(folders[name]) for name in ("base", "pre", "math", "code")), "by_python"])
    code = re.sub(r'"DIR"', lambda _: json.dumps(next(places)), code)
    loaded = (
        f"from transformers import AutoModelForCausalLM as M\nmodel = M.from_pretrained({str(folders['pre'])!r})\n"
    )
    run("-c", loaded + code)
    assert (tmp_path / "by_python" / "model.safetensors").read_bytes() == weights[0]
