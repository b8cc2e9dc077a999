"""``lata``: its help on one screen, its lists, its mistakes in one line, its completion; nothing slow in between."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from eval.settings import TASKS
from experiments.commands import completion, listing, pages
from experiments.commands.catalogue import COMMANDS
from experiments.config.evaluate import EvalConfig, EvaluateConfig
from experiments.config.merge import AnalyzeConfig, Export, MergeConfig
from experiments.config.study import Config, Mode, Vocabularies
from experiments.config.sweep import Selection, SweepConfig
from experiments.planning.config import PlanOptions
from experiments.planning.machines import MACHINES
from lata.methods import methods

ROOT = Path(__file__).resolve().parents[2]


def lata(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    call = [sys.executable, "-m", "experiments.commands", *words]
    return subprocess.run(call, capture_output=True, text=True, check=False, timeout=120, cwd=cwd)


def test_the_help_fits_a_screen_and_names_every_subcommand() -> None:
    lines = pages.front().splitlines()
    assert len(lines) < 24
    assert all(len(line) <= 95 for line in lines)
    for name in COMMANDS:
        assert sum(line.startswith(f"  {name} ") for line in lines) == 1
    modules = {file.stem for file in (ROOT / "experiments").glob("*.py")} - {"__init__"}
    assert {name for name, command in COMMANDS.items() if command.main} == modules


def test_nothing_but_the_standard_library_is_imported_before_a_subcommand_is_known() -> None:
    script = (
        "import sys; before = {*sys.modules}; from experiments import commands; "
        "[commands.main(words) for words in (['--help'], ['merge', '--help'], ['--complete', 'merge', ''])]; "
        "names = {name.split('.')[0] for name in {*sys.modules} - before}; "
        "print(sorted(names - {*sys.stdlib_module_names} - {'experiments'}))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


#: Keys of a configuration that are groups, or that a page says in another way.
NO_LINE = {"family", "eval", "logger", "judge", "plan", "search", "schedule", "method", "out", "cache", "language"}


@pytest.mark.parametrize(
    ("name", "schema", "prefix"),
    [
        ("merge", MergeConfig, ""),
        ("analyze", AnalyzeConfig, ""),
        ("evaluate", EvaluateConfig, ""),
        ("evaluate", EvalConfig, "eval."),
        ("reproduce", Config, ""),
        ("sweep", SweepConfig, ""),
        ("plan", PlanOptions, "plan."),
    ],
)
def test_every_key_has_a_line_of_help(name: str, schema: type, prefix: str) -> None:
    said = {key: why for key, _, why in pages.keys_of(name)}
    assert {f"{prefix}{option.name}" for option in fields(schema)} - {prefix + key for key in NO_LINE} <= said.keys()
    assert [key for key, why in said.items() if not why] == []


@pytest.mark.parametrize("name", [name for name, command in COMMANDS.items() if command.hydra])
def test_the_help_of_a_subcommand_shows_examples_options_and_keys(name: str) -> None:
    text = pages.help_of(name)
    assert all(words.removeprefix("… ") in text for words in COMMANDS[name].examples)
    assert all(option in text for option in COMMANDS[name].options)
    assert all(f"{key}=" in text for key, _, _ in pages.keys_of(name))
    assert max(map(len, text.splitlines())) <= 118


def test_both_forms_of_a_command_give_the_same_help() -> None:
    module = [sys.executable, "-m", "experiments.merge", "--help"]
    done = subprocess.run(module, capture_output=True, text=True, check=True)
    assert done.stdout == pages.help_of("merge") + "\n"


def test_the_lists_name_every_method_and_task_in_a_line() -> None:
    for text, names in ((listing.methods(), [*methods()]), (listing.tasks(), [*TASKS])):
        rows = [line.split()[0] for line in text.splitlines() if line.strip()]
        assert [row for row in rows if row in names] == sorted(names, key=rows.index)
        assert {*names} <= {*rows}


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["merg"], "unknown subcommand 'merg'; did you mean merge?"),
        (["xyz"], "unknown subcommand 'xyz'; see lata --help"),
        (["--versio"], "unknown option '--versio'; did you mean --version?"),
        (["--completion", "ksh"], "--completion takes one of bash, zsh, fish"),
        (["methods", "ta"], "lata methods takes nothing more; leave 'ta' out"),
        (["merge", "--bse"], "unknown option --bse; did you mean --base?"),
    ],
)
def test_a_mistake_is_one_line_and_status_two(words: list[str], line: str) -> None:
    done = lata(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {line}")
    assert done.stderr.count("\n") == 1


def test_the_version_is_the_projects() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    number = text.split('version = "')[1].split('"')[0]
    assert pages.version() in (f"lata-bench {number}", "lata-bench (not installed)")


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["me"], ["merge", "methods"]),
        (["merge", "--e"], ["--expert"]),
        (["merge", "method=tie"], ["method=ties"]),
        (["merge", "--method", "lata_li"], ["lata_linear"]),
        (["merge", "--pre", ""], []),
        (["merge", "family.p"], ["family.pre="]),
        (["merge", "mode=f"], ["mode=forget"]),
        (["evaluate", "--tasks", "gsm8k,wiki"], ["gsm8k,wikitext"]),
        (["evaluate", "eval.dtype=b"], ["eval.dtype=bfloat16"]),
        (["reproduce", "family=gemma2_9"], ["family=gemma2_9b"]),
        (["--completion", "z"], ["zsh"]),
        (["nothing", ""], []),
    ],
)
def test_a_word_is_completed(words: list[str], found: list[str]) -> None:
    assert completion.candidates(words) == found


def test_the_words_that_are_completed_are_those_that_the_keys_take() -> None:
    for key, known in (("mode", Mode), ("selection", Selection), ("vocab", Vocabularies), ("export", Export)):
        assert {*completion.values(key)} == {one.value for one in known}
    assert completion.values("plan.gpu") == [*MACHINES]


def bash(line: str, tmp_path: Path) -> list[str]:
    """What bash offers for a line that is typed so far, with the script sourced."""
    program = tmp_path / "bin" / "lata"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m experiments.commands "$@"\n')
    program.chmod(0o755)
    script = (
        f"source <({program} --completion bash); COMP_LINE={shlex.quote(line)}; COMP_POINT=${{#COMP_LINE}}; "
        f"_lata {program}; printf '%s\\n' \"${{COMPREPLY[@]}}\"; complete -p lata >&2"
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert "-F _lata lata" in done.stderr
    return done.stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_subcommands_keys_and_values(tmp_path: Path) -> None:
    assert bash("lata re", tmp_path) == ["reproduce"]
    assert bash("lata merge family.t", tmp_path) == ["family.target="]
    assert bash("lata merge --method lata_lo", tmp_path) == ["lata_log"]
    # What stands before the = is no part of the word that bash replaces.
    assert bash("lata reproduce family=gemma2_2", tmp_path) == ["gemma2_2b"]
    assert bash("lata merge --pre /tm", tmp_path) == []


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_scripts_of_other_shells_ask_for_candidates(shell: str, tmp_path: Path) -> None:
    script = completion.script(shell)
    assert "--complete" in script
    if found := shutil.which(shell):
        file = tmp_path / "script"
        file.write_text(script)
        subprocess.run([found, "-n", str(file)], check=True, timeout=60)
