"""The command `experiments.compare`: both ways to call it, its folder, its mistakes in one line, its quick start."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st

sys.path.append(str(Path(__file__).resolve().parent.parent / "results"))
from synthetic_sweep import Truth, make_sweep

from experiments.compare import default_folder
from experiments.config.compare import CompareConfig, ComparePlan, overrides
from results.study import store as stored

METHODS = {"ta": Truth(6.0, 0.8, 0.5), "ties": Truth(5.0, 0.8, 0.4), "lata_log": Truth(9.0, 0.8, 0.85)}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs that add λ, one of another family, and one folder that is no run."""
    root = tmp_path_factory.mktemp("runs")
    made = {"a": make_sweep(METHODS, (0.4, 0.8), items=40), "b": make_sweep(METHODS, (1.2,), items=40)}
    made["other"] = make_sweep(METHODS, (0.4,), items=40, family="other")
    for name, sweep in made.items():
        (root / name).mkdir()
        for file, content in stored.files(sweep).items():
            (root / name / file).write_bytes(content)
        sweep.scores.to_parquet(root / name / stored.SCORES)
    (root / "empty").mkdir()
    return root


def command(where: Path, *words: str) -> subprocess.CompletedProcess[str]:
    call = [sys.executable, "-m", "experiments.compare", *words]
    return subprocess.run(call, cwd=where, capture_output=True, text=True, check=False, timeout=120)


def parsed(words: list[str]) -> dict[str, object]:
    return {o.key_or_group: o.value() for o in OverridesParser.create().parse_overrides(overrides(words))}


def test_folders_and_options_become_overrides() -> None:
    assert parsed(["runs/a", "runs/b", "--baseline", "ta", "--out=x y", "every_lambda=true"]) == {
        "runs": ["runs/a", "runs/b"],
        "baseline": "ta",
        "out": "x y",
        "every_lambda": True,
    }
    assert overrides(["runs=[a]", "baseline=ta"]) == ["runs=[a]", "baseline=ta"]
    assert overrides(["--cfg", "job", "runs/a"]) == ["runs=['runs/a']", "--cfg", "job"]
    assert overrides(["--help"]) == ["--help"]


def test_a_folder_with_an_equals_sign_in_its_name_is_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("lam=0.5").mkdir()
    assert parsed(["lam=0.5"]) == {"runs": ["lam=0.5"]}
    assert overrides(["out=0.5"]) == ["out=0.5"]


@given(st.text("ab '\\\"=,[]{}:λ/", min_size=1).filter(lambda text: text.strip() and "=" not in text))
def test_any_name_of_a_folder_survives_hydras_grammar(name: str) -> None:
    assert parsed([name]) == {"runs": [name]}
    assert parsed(["--out", name]) == {"out": name}


@pytest.mark.parametrize("words", [["--baseline"], ["a", "--out"], ["--baseline", "--out", "x"], ["--out="]])
def test_an_option_without_its_value_is_refused(words: list[str]) -> None:
    with pytest.raises(ValueError, match="needs a value, such as"):
        overrides(words)


def test_folders_given_in_both_ways_are_refused() -> None:
    with pytest.raises(ValueError, match="given twice"):
        overrides(["a", "runs=[b]"])


def test_both_forms_print_the_answers_first_and_write_the_same_bytes(runs: Path) -> None:
    plain = command(runs, "a", "b", "--baseline", "ta", "--out", "one")
    hydra = command(runs, "runs=[a,b]", "baseline=ta", "out=two")
    assert plain.returncode == hydra.returncode == 0, plain.stderr + hydra.stderr
    assert plain.stdout.startswith("Which method is best? lata_log")
    assert plain.stdout.rstrip().endswith("one/report.html")
    files = sorted(path.relative_to(runs / "one") for path in (runs / "one").rglob("*") if path.is_file())
    assert files
    for file in files:
        assert (runs / "one" / file).read_bytes() == (runs / "two" / file).read_bytes(), file


def test_the_default_folder_is_named_by_the_runs_and_what_decides_the_comparison(runs: Path) -> None:
    def named(*names: str, **options: object) -> str:
        plan = ComparePlan(CompareConfig(list(names), **options), {name: runs / name for name in names})  # type: ignore[arg-type]
        return default_folder(plan, plan.config.baseline or "ta").as_posix()

    assert re.fullmatch("runs/compare/a-[0-9a-f]{8}", named("a"))
    assert re.fullmatch(r"runs/compare/a\+b-[0-9a-f]{8}", named("a", "b"))
    assert named("a") == named("a", baseline="ta")
    assert len({named("a"), named("b"), named("a", baseline="ties"), named("a", every_lambda=True)}) == 4


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "no run to compare; give the folders of finished runs"),
        (["nowhere"], "nowhere is not a folder; give the folders of finished runs"),
        (["empty"], "empty holds no run (scores.parquet is missing)"),
        (["a", "--baseline", "tis"], "baseline 'tis' is not one of ta, ties, lata_log; did you mean ties?"),
        (["a", "other"], "a and other cannot be compared: their families are mini and other"),
        (["a", "./a"], "./a stands twice; give every run once"),
        (["a", "--baseline"], "--baseline needs a value, such as --baseline ta"),
        (["a", "baselin=ta"], "unknown key 'baselin'; did you mean baseline?"),
    ],
)
def test_a_mistake_is_one_line_and_status_two(words: list[str], line: str, runs: Path) -> None:
    done = command(runs, *words)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"error: {line}"), done.stderr
    assert done.stderr.count("\n") == 1


def test_help_and_cfg_answer_without_reading_a_run(tmp_path: Path) -> None:
    helped = command(tmp_path, "--help")
    assert helped.returncode == 0
    assert "python -m experiments.compare RUN [RUN …]" in helped.stdout
    shown = command(tmp_path, "missing", "--baseline", "ties", "--cfg", "job")
    assert shown.returncode == 0
    assert "- missing" in shown.stdout
    assert "baseline: ties" in shown.stdout


def test_a_comparison_imports_nothing_of_torch(runs: Path) -> None:
    script = (
        "import sys; from experiments import compare; sys.argv = ['compare', 'a', '--out', 'quick']; compare.main(); "
        "print(sorted({'torch', 'transformers', 'lm_eval', 'datasets', 'wandb'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=runs, capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("[]")
