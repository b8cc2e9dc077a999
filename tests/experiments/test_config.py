"""Configuration: what composes, what is refused, and how the refusal reads."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir

from experiments import CONF
from experiments.config import methods as method_choices
from experiments.config.methods import MethodChoice, resolve_methods
from experiments.config.study import StudyPlan, register_schemas, study
from experiments.config.sweep import register_schemas as register_sweep_schemas
from experiments.config.sweep import sweep_plan
from experiments.study.frames import facts
from experiments.study.run import entries_of
from lata.engine.weighting import RANK_SCHEDULES
from lata.methods import get
from lata.methods.rules import OneOf

HEAVY = "torch transformers lm_eval wandb pandas"


def plan(*overrides: str) -> StudyPlan:
    register_schemas()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return study(compose("config", overrides=list(overrides)))


def swept(*overrides: str) -> StudyPlan:
    register_sweep_schemas()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return sweep_plan(compose("sweep", overrides=list(overrides)))


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The real command, with its cache and results below `cwd`."""
    environment = {**os.environ, "LATA_CACHE": str(cwd / "cache")}
    environment.pop("HYDRA_FULL_ERROR", None)
    command = [sys.executable, "-m", "experiments.reproduce", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, check=False)


@pytest.mark.parametrize("file", sorted((CONF / "experiment").glob("*.yaml")), ids=lambda file: file.stem)
def test_every_experiment_says_the_command_that_runs_it(file: Path) -> None:
    header = file.read_text(encoding="utf-8").splitlines()[1]
    door = header.removeprefix("# python -m experiments.").split()[0]
    words = header.removeprefix(f"# python -m experiments.{door} ").split()
    assert words[0] == f"experiment={file.stem}"
    made = plan(*words) if door == "reproduce" else swept(*words)
    assert (made.door, made.config.family.name in made.config.name) == (door, True)


#: What a family lacks that names no models of its own.
SOURCES = [f"family.models.{name}.source=org/{name}" for name in ("base", "pre", "math", "code")]


@pytest.mark.parametrize("family", ["mini", "llama31_8b", "local"])
def test_every_experiment_is_named_and_scored_by_its_family(family: str) -> None:
    given = SOURCES if family == "local" else []
    names = set()
    for experiment in sorted(file.stem for file in (CONF / "experiment").glob("*.yaml")):
        words = [f"experiment={experiment}", f"family={family}", *given]
        if experiment != "forgetting":
            config = swept(*words).config if experiment in ("sweep", "choosing") else plan(*words).config
            names.add(config.name)
            assert config.title.endswith(config.family.title)
            assert ("miniature" in config.title) == (family == "mini")
            assert (config.eval.source.value == "mini") == (family == "mini")
            assert str(config.out) == f"runs/{config.name}" + "-sweep" * (experiment == "choosing")
    rest = {f"{family}_{name}" for name in ("learning", "controls", "sweep", "layers", "choosing", "methods")}
    assert names == {family, *rest}


@pytest.mark.parametrize(("family", "schedule"), [("gemma2_9b", "lata_linear"), ("llama3_8b", "lata_log")])
def test_a_family_decides_its_schedule_and_what_is_beside_it(family: str, schedule: str) -> None:
    made = plan("experiment=learning", f"family={family}")
    assert [choice.label for choice in made.methods] == [
        *("ta", "ties", "dare(drop_rate=0.9)", schedule),
        "ta_norm_matched" + "(match=lata_log)" * (schedule == "lata_log"),
        "ta_half",
    ]
    assert made.schedule["learn"] == schedule
    assert plan("experiment=controls", f"family={family}").methods[3].parameters["of"] == schedule
    assert plan("experiment=learning", "family=llama31_8b").merges == {"math+code": ["math", "code"]}


def test_eval_can_be_another_than_the_familys() -> None:
    assert plan("experiment=layers", "family=gemma2_2b").config.eval.batch_size == 16
    assert plan("experiment=layers", "family=gemma2_2b", "eval=mini").config.eval.batch_size == 75


def test_forgetting_says_what_the_user_is_to_give_and_does_not_pretend() -> None:
    with pytest.raises(
        ValueError, match=r"family.models.target_zh_tw.source is missing: to be given by the user; give"
    ):
        plan("experiment=forgetting", "family=gemma2_9b", "language=zh_tw", "eval.data_dir=DIR")
    with pytest.raises(ValueError, match=r"refusal has no data set there; set eval\.data_dir"):
        plan("experiment=forgetting", "family=gemma2_9b", "language=ja")


def test_forgetting_is_of_the_miniature_familys_second_language_where_no_other_is_named() -> None:
    made = plan("experiment=forgetting")
    assert (made.config.name, list(made.combinations)) == ("mini_forgetting_l2", ["target_l2-ua"])
    assert (made.config.family.language, made.config.eval.tasks) == ("l2", ["wikitext", "gsm8k", "refusal"])


def test_theta_base_is_asked_for_by_what_compares_layers_with_it() -> None:
    own, without = ["experiment=local", *SOURCES], ["experiment=local", *SOURCES[1:]]
    assert plan(*own, "methods=[ta]").models == ["base", "pre", "math", "code"]
    assert plan(*without, "methods=[ta, ties, {name: dare, drop_rate: 0.9}]").models == ["pre", "math", "code"]
    for words in ([], ["experiment=layers", "family=local"], ["methods=[depth_linear, lata_log]"]):
        with pytest.raises(ValueError, match=r"^family\.models\.base\.source is missing: to be given by the user"):
            plan(*without, *words)
    metagpt = ["methods=[ta]", "selection=metagpt", "metagpt=lata_log"]
    with pytest.raises(ValueError, match=r"^family\.models\.base\.source is missing"):
        swept(*without, *metagpt)
    assert swept(*without, *metagpt[:2]).models == ["pre", "math", "code"]


def test_the_default_is_the_miniature_study() -> None:
    made = plan()
    assert (made.config.name, made.seeds, made.out) == ("mini", [0], Path("runs/mini"))
    assert list(made.merges) == ["math+code", "ua+math", "ua+code", "ua+math+code"]
    assert [choice.label for choice in made.methods][:4] == ["ta", "ties", "dare", "dare_ties"]


def test_a_mode_runs_one_part_of_a_study_and_reads_only_its_models() -> None:
    learn, forget, layers = (plan(f"mode={mode}") for mode in ("learn", "forget", "layers"))
    assert (list(learn.merges), learn.config.forget) == (list(plan().merges), [])
    assert (forget.merges, [job.name for job in forget.config.forget]) == ({}, ["target_ua-ua", "target_ua_math-ua"])
    assert forget.models == ["base", "pre", "ua", "target_ua", "target_ua_math"]
    assert (layers.combinations, layers.experts) == ({}, ["ua", "math", "code"])
    assert list(entries_of(layers)) == []
    assert plan("merges=[math+code]", "mode=learn").models == ["base", "pre", "math", "code"]


def test_a_study_needs_something_to_learn_or_to_forget() -> None:
    assert plan("merges=[]", "methods=[]").methods == []
    with pytest.raises(ValueError, match=r"merges=\[\] leaves nothing to do"):
        plan("merges=[]", "forget=[]")


def test_family_seed_changes_the_study_and_seeds_come_before_it() -> None:
    assert plan("family.seed=3").seeds == [3]
    assert plan("family.seed=3", "seeds=[0,1]").seeds == [0, 1]


def test_parameters_can_be_given_in_place() -> None:
    made = plan("methods=[ta, {name: ties, density: 0.3}]")
    assert [(c.label, dict(c.parameters)) for c in made.methods] == [
        ("ta", {"outside": "keep"}),
        ("ties(density=0.3)", {"variant": "paper", "density": 0.3, "outside": "keep"}),
    ]
    assert made.methods[1].changed == "density=0.3"


def test_a_label_has_every_parameter_that_is_not_the_methods_default() -> None:
    rows = ["ties", {"name": "ties", "density": 0.3}, {"name": "ties", "density": 0.2, "variant": "peft"}]
    rows += [{"name": "lata_log", "outside": "drop", "floor": 0.1}, {"name": "dare", "drop_rate": 0.5}]
    assert [choice.label for choice in resolve_methods(rows)] == [
        "ties",
        "ties(density=0.3)",
        "ties(variant=peft)",
        "lata_log(floor=0.1, outside=drop)",
        "dare",
    ]


@pytest.mark.parametrize(
    ("methods", "learn", "baseline"),
    [
        ("ta, lata_log", "lata_log", "ta"),
        ("ta, {name: lata_log, outside: drop}", "lata_log(outside=drop)", "ta"),
        ("ta, lata_log, {name: lata_log, outside: drop}", "lata_log", "ta"),
        ("{name: dare, drop_rate: 0.9}, lata_log", "lata_log", "dare(drop_rate=0.9)"),
    ],
)
def test_marks_and_claims_name_the_row_that_their_method_is_here(methods: str, learn: str, baseline: str) -> None:
    named = "dare" if "dare" in methods else "ta"
    made = plan(f"methods=[{methods}]", "schedule.learn=lata_log", f"baseline={named}")
    assert (made.schedule["learn"], made.baseline) == (learn, baseline)
    known = facts(made, list(entries_of(made)), {}, "")
    assert (known["schedule"]["learn"], known["baseline"]) == (learn, baseline)


def test_a_row_can_be_named_by_its_label() -> None:
    made = plan("methods=[ta, lata_log, {name: lata_log, outside: drop}]", "schedule.learn='lata_log(outside=drop)'")
    assert made.schedule["learn"] == "lata_log(outside=drop)"


def transferred(*profiles: Any, **parameters: Any) -> list[MethodChoice]:
    """Rows of `lata_transferred`, one a profile, beside a row without any."""
    rows = [{"name": "lata_transferred", "profile": profile, **parameters} for profile in profiles]
    return resolve_methods(["ta", *rows])[1:]


def test_profiles_of_the_same_tasks_are_told_apart_by_their_files_or_by_their_numbers(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("small.csv", "large.csv", "more/large.csv")]
    files[2].parent.mkdir()
    for place, file in enumerate(files):
        file.write_text(f"layer,math\n0,0.5\n1,0.{place}\n")
    small, large, more = map(str, files)
    assert [row.label for row in transferred(small)] == ["lata_transferred(profile=small)"]
    found = transferred(small, large)
    assert [row.label for row in found] == ["lata_transferred(profile=small)", "lata_transferred(profile=large)"]
    assert len({row.changed for row in found}) == 2
    assert [row.changed for row in transferred(large)] == [found[1].changed]
    for same in (transferred(large, more), transferred(large, {"math": [0.5, 0.2]})):
        assert len({row.label for row in same}) == 2
        assert [row.label for row in same] == [f"lata_transferred({row.changed})" for row in same]
        assert all(re.fullmatch(r"profile=\(math\) [0-9a-f]{6}", row.changed) for row in same)
    both = resolve_methods([{"name": "lata_transferred", "profile": small, "schedule": s} for s in RANK_SCHEDULES])
    assert [row.label for row in both][:2] == [
        "lata_transferred(profile=small)",
        "lata_transferred(profile=small, schedule=lata_log)",
    ]


def test_rows_that_would_have_one_label_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    words = replace(get("ties"), rules={**get("ties").rules, "density": OneOf(("1", 1))})  # type: ignore[arg-type]
    monkeypatch.setattr(method_choices, "get", lambda _: words)
    with pytest.raises(ValueError, match=r"^methods: ties\(density=1\) stands twice$"):
        resolve_methods([{"name": "ties", "density": "1"}, {"name": "ties", "density": 1}])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("methods=[tia]", "unknown method 'tia'; did you mean 'ta'?"),
        ("methods=[]", "methods=[] leaves nothing to compare"),
        ("methods=[ta, ta]", "ta stands twice"),
        ("methods=[3]", "neither a name nor"),
        ("methods=[{name: ties, dens: 1}]", "no parameter 'dens'; did you mean 'density'?"),
        ("merges=[math+cod]", "expert 'cod' is not one of ua, math, code; did you mean 'code'?"),
        ("merges=[math+math]", "math stands twice"),
        ("lam=nan", "lam=nan must be a finite number"),
        ("lam=inf", "must be a finite number"),
        ("lam=-1", "lam=-1.0 must be at least 0: mode=forget takes a task away, mode=learn adds it"),
        ("seeds=[]", "seeds=[] leaves nothing to do"),
        ("seeds=[1,1]", "1 stands twice"),
        ("workers=0", "workers=0 must be at least 1"),
        ("forget=[{target: target_u, forget: ua}]", "did you mean 'target_ua'?"),
        ("experiment=forgetting family=llama31_8b", "family llama31_8b names no model that forgets; choose another"),
        ("experiment=forgetting family=gemma2_2b", "no model that forgets in language=l2; choose language=de or ja"),
        ("experiment=learning language=de", "language=de is for experiment=forgetting; leave it out"),
        ("+lamm=1", "unknown key 'lamm'; did you mean lam?"),
        ("merges=[math+code, code+math]", "merges: 'math+code' and 'code+math' are the same"),
        ("baseline=tta", "baseline 'tta' is not one of ta, ties"),
        ("harm_threshold=nan", "harm_threshold=nan must be a number from 0 to 1"),
        ("utility_margin=-1", "utility_margin=-1.0 must be a number from 0 to 1"),
        ("family.experts=[ua,math,code,law]", "family.experts 'law' is not one of"),
        ("family.targets=[target_x]", "family.targets 'target_x' is not one of"),
        ("+family.expert_task.law=gsm8k", "family.expert_task 'law' is not one of math, code, ua, target_ua"),
        ("cache=''", "cache is empty"),
        ("out=''", "out is empty"),
        ("eval.device=gpu", "eval.device 'gpu' is not one of auto, cpu, cuda"),
        ("eval.split=tset", "eval.split: unknown value 'tset'"),
    ],
)
def test_what_no_run_could_do_is_refused_at_once(override: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the text is compared below
        plan(*(override.split() if override.startswith("experiment=") else [override]))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("lamm=1", "unknown key 'lamm'; did you mean lam?"),
        ("family.sed=1", "unknown key 'family.sed'; did you mean family.seed"),
        ("experiment=gemma2_2b_learning", "does not exist; did you mean experiment=learning family=gemma2_2b?"),
        ("experiment=gemma2_9b_forgetting_j", "did you mean experiment=forgetting language=ja family=gemma2_9b?"),
        ("experiment=lerning", "experiment=lerning does not exist; did you mean experiment=learning?"),
        ("experiment=sweep", "lambdas is for a sweep over λ: python -m experiments.sweep"),
        ("logger=wandbb", "logger=wandbb does not exist; did you mean 'wandb'? (there are: none, wandb)"),
        ("lam=high", "lam=high: Value 'high' of type 'str' could not be converted to Float"),
        ("lam=nan", "lam=nan must be a finite number"),
        ("methods=[tia]", "unknown method 'tia'"),
        ("methods=ta", "methods takes a list; write 'methods=[ta]'"),
        ("methods=ta,ties", "a list is written 'methods=[ta,ties]'"),
        ("methods=[TA]", "unknown method 'TA'; did you mean 'ta'?"),
        ("density=0.2", "write 'methods=[{name: ties, density: …}]'"),
        ("lam=0.5,1.0", "lam is one number"),
        ("forget=[{target: target_ua, forgt: ua}]", "unknown key 'forgt'; did you mean forget?"),
        ("methods=[", "cannot read the override 'methods=['"),
        ("family.recipe.math_example=1", "did you mean family.recipe.math_examples"),
        ("family.recipe.hidden=-1", "family.recipe.hidden is -1"),
        ("eval.split=tset", "eval.split: unknown value 'tset'"),
        ("out=/proc/nothing", "out=/proc/nothing cannot be written"),
    ],
)
def test_the_command_ends_with_one_line_and_leaves_nothing(argument: str, message: str, tmp_path: Path) -> None:
    done = run(argument, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert message in done.stderr
    left = [path for path in tmp_path.rglob("*") if path.is_file() and ".lock" not in path.name]
    assert [path for path in left if "data-" not in str(path)] == []


@pytest.mark.parametrize("question", [["--help"], ["--cfg", "job"]])
def test_questions_are_answered_without_heavy_imports(question: list[str], tmp_path: Path) -> None:
    script = (
        "import sys, runpy\n"
        f"sys.argv = ['reproduce', *{question}]\n"
        "try: runpy.run_module('experiments.reproduce', run_name='__main__')\n"
        "except SystemExit: pass\n"
        f"print([m for m in '{HEAVY}'.split() if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert done.stderr.strip() == "[]"
    assert "merges" in done.stdout
    assert list(tmp_path.iterdir()) == []
