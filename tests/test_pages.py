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

import huggingface_hub
import pytest
from huggingface_hub import errors
from hydra import compose, initialize_config_dir
from page_commands import ROOT, commands

from eval.documents.files import read_documents
from experiments.config import study as config
from experiments.config import sweep as sweep_config
from experiments.config.study import CONF
from experiments.planning import config as plan_config
from experiments.planning.estimate import Estimate, estimate

#: Door → name of its configuration, what registers its schemas, what checks it.
DOORS: dict[str, tuple[str, Callable[[], None], Callable[[Any], Any]]] = {
    "reproduce": ("config", config.register_schemas, config.study),
    "sweep": ("sweep", sweep_config.register_schemas, sweep_config.sweep_plan),
    "plan": ("plan", plan_config.register_schemas, plan_config.planning),
}


@pytest.mark.parametrize(("door", "words"), commands("conf/README.md"))
def test_every_command_of_the_page_on_full_scale_composes(door: str, words: list[str]) -> None:
    name, register, check = DOORS[door]
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        check(compose(name, overrides=words))


PAGES = [
    "README.md",
    *sorted(f"{path}/README.md" for path in ("conf", "lata/methods", "results", "results/outcomes/paper")),
]
PAGES += sorted(str(path.relative_to(ROOT)) for path in (ROOT / "eval").rglob("README.md"))


@pytest.mark.parametrize("page", PAGES)
def test_pictures_and_links_into_the_tree_exist(page: str) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / page).read_text(encoding="utf-8")):
        assert ((ROOT / page).parent / target).exists(), target


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub that cannot be asked, and a cache of it that is empty."""

    def refuse(*_: Any, **__: Any) -> None:
        raise errors.OfflineModeIsEnabled("offline")

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", refuse)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)


def estimated(*words: str) -> Estimate:
    """What a plan says."""
    plan_config.register_schemas()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return estimate(plan_config.planning(compose("plan", overrides=list(words))))


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("family", [file.stem for file in sorted((CONF / "family").glob("*[0-9]b.yaml"))])
def test_a_family_says_what_its_learning_table_takes(family: str) -> None:
    text = (CONF / "family" / f"{family}.yaml").read_text(encoding="utf-8")
    said = re.search(r"takes (\d+) GB of disk, (\d+) GB of memory and (\d+) GB of one GPU", text)
    assert said is not None
    assert f"experiments.plan experiment=learning family={family} plan.gpu=h100" in text
    planned = estimated("experiment=learning", f"family={family}")
    memory, gpu = (max(getattr(stage, part) or 0 for stage in planned.stages) for part in ("cpu", "gpu"))
    assert [int(number) for number in said.groups()] == [
        round(bytes_ / 1e9) for bytes_ in (planned.download + planned.store, memory, gpu)
    ]


@pytest.mark.usefixtures("offline")
def test_the_page_says_what_the_plan_says_of_the_table_on_one_card() -> None:
    page = (ROOT / "conf" / "README.md").read_text(encoding="utf-8")
    said = re.search(r"(\d+) GB to download and ([\d.]+) hours, ([\d.]+) if .*?; ([\d.]+) with vLLM", page, re.DOTALL)
    assert said is not None
    words = ["experiment=learning", "family=gemma2_2b", "plan.gpu=rtx4090", "plan.ram_gb=64"]
    planned = estimated(*words)
    assert [line for line in planned.warnings if not line.startswith("gated")] == []
    served = estimated(*words, "eval.backend=vllm")
    hours = [f"{(seconds or 0) / 3600:.1f}" for seconds in (planned.seconds, planned.most, served.seconds)]
    assert list(said.groups()) == [f"{planned.download / 1e9:.0f}", *hours]


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
