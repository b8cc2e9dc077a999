"""The page on adding a method is true: its example is copied out of it and run."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
GUIDE = (ROOT / "lata" / "methods" / "README.md").read_text(encoding="utf-8")

#: Prints what the results of a study are told of its methods.
GROUPS = """
from hydra import compose, initialize_config_dir
from experiments import CONF
from experiments.config.study import register_schemas, study
from experiments.study.frames import facts

register_schemas()
with initialize_config_dir(str(CONF), version_base="1.3"):
    plan = study(compose("config", overrides=["methods=[ta, lata_linear, lata_squared, ta_half]"]))
told = facts(plan, [], {}, "")
print(*told["controls"], *(name for name, group in told["groups"].items() if group == "lata"))
"""


@pytest.mark.slow
def test_the_example_of_the_guide_is_a_method_like_any_other(tmp_path: Path) -> None:
    for folder in ("conf", "eval", "experiments", "lata", "results", "tests/lata"):
        ignored = shutil.ignore_patterns("__pycache__", "mini*")
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=ignored if folder == "results" else None)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    files = re.findall(r"```\w+ (\S+)\n(.*?)```", GUIDE, re.DOTALL)
    names = (
        "lata/methods/schedules/lata_squared.py",
        "conf/method/lata_squared.yaml",
        "tests/lata/test_lata_squared.py",
    )
    assert tuple(name for name, _ in files) == names
    for name, text in files:
        assert not (ROOT / name).exists()
        (tmp_path / name).write_text(text, encoding="utf-8")
    run = [sys.executable, "-m", "pytest", "-q", "tests/lata/test_lata_squared.py"]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "1 passed" in done.stdout, done.stdout
    run = [sys.executable, "-m", "experiments.plan", "methods=[ta, lata_squared]", "merges=[math+code]", "forget=[]"]
    run.append(f"cache={tmp_path / 'cache'}")
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "2 merges" in done.stdout, done.stderr
    done = subprocess.run([sys.executable, "-c", GROUPS], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["ta_half", "lata_linear", "lata_log", "lata_threshold", "lata_squared"], (
        done.stderr
    )
