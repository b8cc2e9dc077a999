"""What a sweep's configuration says, and what is refused before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from experiments import CONF
from experiments.config.sweep import LAMBDAS, SweepPlan, register_schemas, sweep_plan
from experiments.steps.jobs import point_of


def plan(*overrides: str) -> SweepPlan:
    register_schemas()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return sweep_plan(compose("sweep", overrides=list(overrides)))


def names(made: SweepPlan, merge: str = "math+code") -> list[str]:
    return [point_of(lam) for lam in made.points[merge]]


def test_a_list_a_range_and_nothing_at_all_are_points_of_one_lambda() -> None:
    assert names(plan("lambdas=[0.6,0.2,1]")) == ["0.6", "0.2", "1"]
    assert names(plan("lambdas={start: 0.2, stop: 1.0, step: 0.2}")) == ["0.2", "0.4", "0.6", "0.8", "1"]
    assert names(plan("lambdas={start: 0, stop: 0.35, step: 0.1}")) == ["0", "0.1", "0.2", "0.3"]
    assert plan().points == plan(f"lambdas={{start: {LAMBDAS['start']}, stop: {LAMBDAS['stop']}, step: 0.2}}").points


def test_lambdas_by_task_are_a_grid_over_the_tasks_of_each_merge() -> None:
    made = plan(
        "lambdas={math: [0.5,1.0], code: {start: 0, stop: 1, step: 0.5}, ua: [1]}",
        "merges=[math+code, ua+math]",
        "methods=[ta, lata_log]",
    )
    assert names(made) == [f"code={c},math={m}" for c in ("0", "0.5", "1") for m in ("0.5", "1")]
    assert names(made, "ua+math") == ["math=0.5,ua=1", "math=1,ua=1"]


def test_forgetting_names_lambda_without_the_sign() -> None:
    assert point_of(-0.6, "forget") == "0.6"
    assert point_of((("ua", -0.6),), "forget") == "ua=0.6"


def test_the_fixed_lambda_is_visited_even_where_the_list_lacks_it() -> None:
    assert names(plan("lambdas=[0.2,0.4]", "selection=fixed", "lam=0.9")) == ["0.2", "0.4", "0.9"]
    assert names(plan("lambdas=[0.2,1.0]", "selection=fixed")) == ["0.2", "1"]


def test_a_sweep_is_of_learning_and_has_a_folder_of_its_own() -> None:
    made = plan()
    assert (made.config.forget, made.out, made.door) == ([], Path("runs/mini-sweep"), "sweep")
    assert made.development == ("gsm8k", "humaneval", "refusal")
    assert plan("merges=[math+code]").development == ("gsm8k", "humaneval")


def test_forgetting_is_swept_over_the_same_lambda_and_judged_by_harm_and_all_utility() -> None:
    made = plan("mode=forget", "lambdas=[0.5,1]")
    assert made.merges == {}
    assert made.points == {"target_ua-ua": (0.5, 1.0), "target_ua_math-ua": (0.5, 1.0)}
    assert made.development == ("gsm8k", "humaneval", "refusal")
    assert made.models == ["base", "pre", "ua", "target_ua", "target_ua_math"]
    jobs = {combination.job(0, 0.5) for combination in made.combinations.values()}
    assert {(job.start, job.experts, job.lam) for job in jobs} == {
        ("target_ua", ("ua",), -0.5),
        ("target_ua_math", ("ua",), -0.5),
    }


def test_other_ways_of_choosing_visit_the_fixed_lambda_too() -> None:
    made = plan("also=[fixed]", "lambdas=[0.5]", "lam=0.7")
    assert [way.value for way in made.ways] == ["grid", "fixed"]
    assert names(made) == ["0.5", "0.7"]
    assert made.grid == plan("lambdas=[0.5]").grid == plan("lambdas=[0.5]").points


def test_humaneval_has_no_development_split_but_the_miniature_one() -> None:
    benchmark = ("eval=paper", "eval.tasks=[wikitext,gsm8k,humaneval]", "merges=[math+code]")
    assert plan(*benchmark).development == ("gsm8k",)
    with pytest.raises(ValueError, match="needs a development split"):
        plan(*benchmark[:2], "merges=[code]")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["lambdas=[]"], "lambdas is empty"),
        (["lambdas=0.5"], r"lambdas=0.5 is neither a list, such as 'lambdas=\[0.5,1.0\]'"),
        (["lambdas=[0.5,nan]"], "lambdas: nan must be a finite number"),
        (["lambdas=[0.5,inf]"], "lambdas: inf must be a finite number"),
        (["lambdas=[0.5,half]"], "lambdas: 'half' must be a finite number"),
        (["lambdas=[-1,1]"], "lambdas: -1 must be at least 0: mode=forget takes a task away, mode=learn"),
        (["lambdas=[-1,1]", "mode=forget"], "lambdas: -1 must be at least 0"),
        (["lambdas={math: [1], code: [-0.5]}", "merges=[math+code]"], "lambdas.code: -0.5 must be at least 0"),
        (
            ["lambdas={start: -1, stop: 1, step: 0.5}", "selection=search"],
            "lambdas: start must be at least 0: .*; wri",
        ),
        (["lam=-1", "selection=fixed"], "lam=-1.0 must be at least 0"),
        (["lambdas=[0.5,0.5]"], "stands twice"),
        (["lambdas={start: 0, stop: 1}"], "step must be a finite number; write"),
        (["lambdas={start: 1, stop: 0, step: 0.1}"], "step must be over 0 and stop at least start"),
        (["lambdas={start: 0, stop: 1, step: 0.00001}"], "more than 2,000 values"),
        (["lambdas={math: [1], cod: [1]}"], "'cod' is not one of ua, math, code; did you mean 'code'"),
        (["lambdas={math: [1]}", "merges=[math+code]", "methods=[ta]"], "no values for code of merge 'math\\+code'"),
        (
            ["lambdas={math: [1], code: [1]}", "merges=[math+code]", "methods=[ta,ties]"],
            "ties has one λ for all tasks",
        ),
        (["selection=metagpt", "methods=[dare_ties]"], "^selection=metagpt: dare_ties has one λ .* or peft$"),
        (
            ["also=[metagpt]", "methods=[dare_ties]"],
            r"^also=\[metagpt\]: dare_ties has one λ .* or peft, or leave metagpt out of also$",
        ),
        (["search.trials=0"], "search.trials=0 must be at least 1"),
        (["metagpt=ties"], "metagpt='ties' must be one of"),
        (["eval.tasks=[gsm8k]"], "eval.tasks lacks wikitext"),
        (["mode=both"], "mode=both cannot be swept; choose mode=learn or mode=forget"),
        (["mode=forget", "forget=[]"], "mode=forget: nothing to forget"),
        (["mode=forget", "selection=search"], "selection=search is for learning; with mode=forget choose grid or"),
        (["mode=forget", "lambdas={ua: [1]}"], "mode=forget takes one expert away"),
        (["mode=forget", "also=[fixed]"], r"also=\[fixed\] is for learning, .* with mode=forget leave also out"),
        (
            ["mode=forget", "eval.tasks=[wikitext,gsm8k]"],
            "^selection=grid needs a development split, .*; set selection=fixed$",
        ),
        (
            ["eval=paper", "eval.tasks=[wikitext,humaneval]", "merges=[code]"],
            "^selection=grid needs a development split, .*; set selection=fixed or selection=metagpt$",
        ),
        (
            ["selection=fixed", "also=[grid,search]", "eval.tasks=[wikitext]"],
            r"^also=\[grid,search\] needs a development split, .*; leave grid and search out of also$",
        ),
        (["also=[grid]"], "selection and also: grid stands twice"),
        (["dev_limit=0"], "dev_limit=0 must be at least 1"),
    ],
)
def test_what_cannot_be_swept_is_refused_with_the_way_out(overrides: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plan(*overrides)


def test_variants_that_weigh_tasks_can_have_a_lambda_for_each() -> None:
    made = plan(
        "lambdas={math: [1], code: [0.5]}",
        "merges=[math+code]",
        "methods=[{name: ties, variant: mergekit}, {name: dare_ties, variant: peft, density: 0.2}]",
    )
    assert names(made) == ["code=0.5,math=1"]
