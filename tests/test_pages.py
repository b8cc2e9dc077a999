"""The pages beside the README are true: their commands compose, their recipes give what the tasks read."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir

from eval.data import read_documents
from experiments import config, plan_config, sweep_config
from experiments.config import CONF

ROOT = CONF.parent
#: Door → name of its configuration, what registers its schemas, what checks it.
DOORS: dict[str, tuple[str, Callable[[], None], Callable[[Any], Any]]] = {
    "reproduce": ("config", config.register_schemas, config.study),
    "sweep": ("sweep", sweep_config.register_schemas, sweep_config.sweep_plan),
    "plan": ("plan", plan_config.register_schemas, plan_config.planning),
}


def commands(page: str) -> list[tuple[str, list[str]]]:
    """(door, words) of every command in a page's code blocks."""
    blocks = re.findall(r"```bash\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    found = [re.match(r"\s*python -m experiments\.(\w+) (.*)", line) for line in lines]
    return [(match[1], shlex.split(match[2])) for match in found if match]


@pytest.mark.parametrize(("door", "words"), commands("conf/README.md"))
def test_every_command_of_the_page_on_full_scale_composes(door: str, words: list[str]) -> None:
    name, register, check = DOORS[door]
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        check(compose(name, overrides=words))


def test_a_copy_of_the_local_family_can_name_other_experts(tmp_path: Path) -> None:
    text = (CONF / "family" / "local.yaml").read_text(encoding="utf-8")
    assert "code: humaneval" in text
    (tmp_path / "family").mkdir()
    (tmp_path / "family" / "mine.yaml").write_text(
        text.replace("code: humaneval", "law: xnli_de").replace("code", "law")
    )
    config.register_schemas()
    sources = [f"family.models.{name}.source=org/{name}" for name in ("base", "pre", "math", "law")]
    words = ["family=mine", "eval=paper", *sources, "mode=learn", "merges=[math+law]", "methods=[ta]"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        made = config.study(compose("config", overrides=[f"hydra.searchpath=[file://{tmp_path}]", *words]))
    assert made.models == ["base", "pre", "math", "law"]


def recipes() -> list[list[str]]:
    text = (ROOT / "eval" / "tasks" / "refusal" / "README.md").read_text(encoding="utf-8")
    return [shlex.split(line.strip())[1:] for line in re.findall(r"^    python -c .*$", text, re.MULTILINE)]


def test_the_recipes_for_requests_give_what_the_task_reads(tmp_path: Path) -> None:
    (tmp_path / "MultiJail.csv").write_text('id,source,tags,en,th\n1,openai,"[]",Where?,ที่ไหน\n', encoding="utf-8")
    name = "Crimes_And_Illegal_Activities_ja.csv"
    (tmp_path / name).write_text('" どこ?"\n\n" どこ?"\n"なぜ, なに?"\n', encoding="utf-8-sig")
    found = []
    for words in recipes():
        subprocess.run([sys.executable, *words], cwd=tmp_path, check=True)
        file = tmp_path / "refusal_test.jsonl"
        assert all(json.loads(line) for line in file.read_text(encoding="utf-8").splitlines())
        found.append([(row["prompt"], row["cluster"]) for row in read_documents(file, ["prompt"])])
    assert found == [[("ที่ไหน", "openai")], [(" どこ?", name), ("なぜ, なに?", name)]]
