"""The wheel works without a checkout: what it holds is complete, and its commands run from an empty folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parent / "lata"))
from folders import write
from random_models import moved, random_checkpoint

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("lata", "eval", "results", "experiments")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that nothing is left beside the sources."""
    root = tmp_path_factory.mktemp("wheel")
    ignored = shutil.ignore_patterns("__pycache__")
    for name in (*PACKAGES, "conf"):
        shutil.copytree(ROOT / name, root / "source" / name, ignore=ignored)
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, root / "source")
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "-w", str(root / "dist"), str(root / "source")], check=True, timeout=300)
    (file,) = (root / "dist").glob("*.whl")
    return file


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``bin`` of an environment that has the wheel, and sees the dependencies of this one but not this checkout."""
    place = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True)
    python = place / "bin" / "python"
    asked = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    own = Path(subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip())
    # Folders that a .pth file names are not searched for .pth files, where an editable install would stand.
    seen = dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib"))
    (own / "dependencies.pth").write_text("\n".join(seen))
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-deps", "--no-index"]
    subprocess.run([*pip, str(wheel)], check=True, timeout=300)
    return place / "bin"


def call(installed: Path, folder: Path, *words: str) -> str:
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "HYDRA", "WANDB"))}
    environment = {**clean, "LATA_CACHE": str(folder / "cache"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [str(installed / words[0]), *words[1:]],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, (words, done.stdout[-2_000:], done.stderr[-2_000:])
    return done.stdout


def test_the_wheel_holds_every_file_that_a_command_reads_and_no_test(wheel: Path) -> None:
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert {name.split("/")[0] for name in held} == {*PACKAGES}
    assert {f"experiments/conf/{file.relative_to(ROOT / 'conf')}" for file in (ROOT / "conf").rglob("*.yaml")} <= held
    needed = {
        str(file.relative_to(ROOT))
        for package in PACKAGES
        for file in (ROOT / package).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts and file.name not in ("README.md", "pitfalls.md")
    }
    outcomes = {name for name in needed if name.startswith("results/outcomes/")}
    assert needed - outcomes <= held
    assert outcomes & held == {"results/outcomes/paper/numbers.csv"}


def test_the_commands_of_the_wheel_run_from_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    assert "lata SUBCOMMAND" in call(installed, folder, "lata", "--help")
    assert "lata_linear" in call(installed, folder, "lata", "methods")
    assert "gsm8k" in call(installed, folder, "lata", "tasks")
    assert "to download 0 bytes" in call(installed, folder, "lata", "plan")

    base, pre = random_checkpoint(0), moved(random_checkpoint(0), 1, 0.1)
    math = write(tmp_path / "epoch=3, naïve (1)", moved(pre, 2, 0.1))
    places = [write(tmp_path / name, weights) for name, weights in (("base", base), ("pre", pre))]
    options = ["--base", str(places[0]), "--pre", str(places[1]), "--expert", f"math={math}", "--out", "one"]
    call(installed, folder, "lata", "merge", *options, "--method", "lata_linear")
    keys = [f"family.base={places[0]}", f"family.pre={places[1]}", f"family.experts={{math: {math}}}", "output=two"]
    call(installed, folder, "python", "-m", "experiments.merge", *keys, "method=lata_linear")
    files = sorted(file.name for file in (folder / "one").iterdir())
    assert "model.safetensors" in files
    for name in files:
        assert (folder / "one" / name).read_bytes() == (folder / "two" / name).read_bytes(), name


def test_what_is_installed_says_that_it_is_no_checkout(installed: Path, tmp_path: Path) -> None:
    script = "import json; from experiments.study import provenance; print(json.dumps(provenance.git_commit()))"
    told = json.loads(call(installed, tmp_path, "python", "-c", script))
    assert told == {"checkout": False, "installed": told["installed"]}
    assert told["installed"]
