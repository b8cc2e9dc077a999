"""What a plan says of a study: of folders, of the hub, of what does not fit, of mistakes; and the command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import numpy as np
import pytest
from huggingface_hub import errors
from plan_questions import GEMMA, SMALL, asked, checkpoint, local_family, made
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit

from experiments.commands.pages import choices
from experiments.config.sweep import Selection, SweepPlan
from experiments.plan import record
from experiments.planning.estimate import estimate
from experiments.planning.machines import MACHINES
from experiments.planning.text import WIDTH, describe
from experiments.study.run import entries_of


@pytest.mark.parametrize("family", ["mini", "gemma2_2b"])
@pytest.mark.parametrize("experiment", choices("experiment"))
def test_every_experiment_can_be_planned(
    experiment: str, family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_hub(monkeypatch, errors.OfflineModeIsEnabled("offline"))
    language = ["language=ja"] if (experiment, family) == ("forgetting", "gemma2_2b") else []
    question = asked(tmp_path, f"experiment={experiment}", f"family={family}", *language)
    planned = estimate(question)
    study = question.study
    jobs = {entry.job for entry in entries_of(study, study.points if isinstance(study, SweepPlan) else None)}
    ways = study.ways if isinstance(study, SweepPlan) else ()
    trials = study.sweep.search.trials if isinstance(study, SweepPlan) and Selection.search in ways else 0
    found = len(study.methods) * (trials + (Selection.metagpt in ways))
    assert planned.merges == sum(bool(job.method) for job in jobs) + found
    assert planned.seconds is not None
    assert planned.most is not None
    assert 0 < planned.seconds <= planned.most
    assert max(map(len, describe(question, planned).splitlines())) <= WIDTH
    assert not (tmp_path / "cache").exists()


def test_folders_tell_by_their_headers_and_need_no_download(tmp_path: Path) -> None:
    planned = made(tmp_path, *local_family(tmp_path, base=np.float32))
    facts = {model.name: model for model in planned.models}
    assert facts["pre"].parameters == SMALL.parameters
    assert facts["pre"].stored == 2 * SMALL.parameters
    assert facts["base"].stored == 4 * SMALL.parameters
    assert {model.place for model in planned.models} == {"folder"}
    assert (planned.download, list(planned.notes)) == (0, [])
    assert str(tmp_path) not in describe(asked(tmp_path, *local_family(tmp_path / "again")), planned)
    assert planned.merges == 2
    assert planned.evaluations == 4 + 2 + 2


def test_limits_fewer_methods_and_seeds_change_the_count(tmp_path: Path) -> None:
    family = local_family(tmp_path)
    all_ = made(tmp_path, *family)
    some = made(tmp_path, *family, "eval.limit=10", "methods=[ta]", "eval.batch_size=1")
    assert (some.merges, some.evaluations) == (1, 5)
    assert [task.count for task in some.tasks] == [10, 10, 10]
    assert all_.seconds is not None
    assert some.seconds is not None
    assert some.seconds < all_.seconds
    samples = made(tmp_path, *family, "eval.tasks=[humaneval]", "eval.samples=20")
    assert samples.tasks[0].prompt_tokens == pytest.approx(20 * all_.tasks[2].prompt_tokens)


def test_a_sweep_counts_the_points_that_only_its_run_finds_on_every_split(tmp_path: Path) -> None:
    sweep = ("mode=learn", "merges=[math+code,ua+code]", "methods=[ta,lata_log]", "lambdas=[0.5,1.0]", "seeds=[0,1]")
    models, curves, again = 2 * 5, 2 * 2 * 2, 2 * 2
    points = {
        "": (2, 1),
        "also=[fixed]": (2, 2),
        "also=[fixed] lam=0.7": (3, 2),
        "also=[metagpt]": (3, 2),
        "selection=metagpt also=[grid,search] search.trials=5": (8, 3),
    }
    for words, (visited, ways) in points.items():
        planned = made(tmp_path, *sweep, *words.split())
        assert planned.merges == visited * curves
        assert [one.count for one in planned.rounds] == [
            models + visited * curves + again,
            models + visited * curves,
        ]
        (stage,) = (stage for stage in planned.stages if stage.name == "merge")
        assert stage.what == f"{visited * curves} merges, {models} models"
        chosen, _ = made(tmp_path, *sweep, *words.split(), "hindsight=false").rounds
        assert chosen.count == models + ways * curves + again
    seconds = [made(tmp_path, *sweep, words).seconds for words in ("also=[metagpt]", "lambdas=[0.5,1.0,1.5]")]
    assert seconds[0] == pytest.approx(seconds[1])
    alone = made(tmp_path, *sweep, "selection=metagpt")
    assert [(one.what, one.count) for one in alone.rounds] == [("test", models + 3 * curves + again)]


def test_tokens_are_counted_where_documents_and_tokenizer_are_here(tmp_path: Path) -> None:
    family = local_family(tmp_path)
    words = Tokenizer(WordLevel({"?": 0}, unk_token="?"))
    words.pre_tokenizer = WhitespaceSplit()
    words.save(str(tmp_path / "pre" / "tokenizer.json"))
    data = tmp_path / "data"
    data.mkdir()
    (data / "wikitext2_test.tokens").write_text(" = One = \n\n a b c \n = Two = \n\n d \n")
    row = {"question": "How many ?", "answer": "It is 2"}
    (data / "gsm8k_test.jsonl").write_text((json.dumps(row) + "\n") * 4)
    (data / "gsm8k_train.jsonl").write_text((json.dumps(row) + "\n") * 5)
    source = ("eval.source=local", f"eval.data_dir={data}")
    planned = made(tmp_path, *family, *source, "eval.num_fewshot=1", "plan.answers=2")
    pages, problems, programs = planned.tasks
    assert [task.how for task in planned.tasks] == ["counted", "counted", "estimated"]
    assert (pages.count, pages.prompt, pages.longest) == (2, 5, 6)
    # "Question: How many ? Answer:" has five words, the shot these and three of the answer.
    assert (problems.count, problems.prompt, problems.answer) == (4, 5 + 8, 2 * 3)
    assert programs.count == 164


def refuse_hub(monkeypatch: pytest.MonkeyPatch, error: Exception) -> list[str]:
    """Let every question to the hub end with `error`; returns the list of the questions."""
    questions: list[str] = []

    def ask(self: object, name: str, **_: Any) -> None:
        questions.append(name)
        raise error

    def nothing(*_: Any, **__: Any) -> None:
        raise errors.LocalEntryNotFoundError("not cached")

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", ask)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", nothing)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", nothing)
    return questions


@pytest.mark.parametrize("error", [errors.OfflineModeIsEnabled("offline"), ConnectionError("no route to the hub")])
def test_without_the_hub_the_published_shape_speaks_and_one_line_says_what_is_unknown(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    questions = refuse_hub(monkeypatch, error)
    planned = made(tmp_path, *GEMMA, "plan.gpu=rtx4090")
    assert len(questions) == 1
    assert len(planned.notes) == 1
    assert "the hub cannot be asked" in planned.notes[0]
    assert planned.download == (4 + 3 * 2) * 2_614_341_888  # the raw model is in fp32, and no merge takes `ua`
    assert planned.seconds is not None


def test_what_nobody_knows_is_unknown_and_the_rest_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_hub(monkeypatch, errors.OfflineModeIsEnabled("offline"))
    question = asked(tmp_path, *GEMMA, "family.models.pre.source=some/model", "family.models.base.source=some/base")
    planned = estimate(question)
    assert planned.seconds is None
    assert planned.merges == 2
    assert "unknown" in describe(question, planned)


def test_the_hub_is_asked_for_sizes_and_an_adapter_adds_to_its_model_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_hub(monkeypatch, ConnectionError())
    page = [
        ("model.safetensors", 2_000),
        ("config.json", 10),
        ("original/model.safetensors", 9_999),
        ("run.py", 9_999),
    ]

    def ask(self: object, name: str, **_: Any) -> SimpleNamespace:
        return SimpleNamespace(
            siblings=[SimpleNamespace(rfilename=file, size=size) for file, size in page],
            safetensors=SimpleNamespace(parameters={"BF16": 1_000}),
            card_data={"license": "mit"},
            gated="manual" if "google" in name else False,
        )

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", ask)
    planned = made(tmp_path, *GEMMA, "family.models.math.source=google/gemma-2-2b-it+some/adapter")
    facts = {model.name: model for model in planned.models}
    assert (facts["pre"].parameters, facts["pre"].stored, facts["pre"].download) == (1_000, 2_000, 2_010)
    assert facts["pre"].gated
    assert facts["math"].download == 4_020
    assert planned.download == 4 * 2_010
    assert facts["code"].licence == "gemma"
    assert list(planned.notes) == []


def test_models_in_the_cache_of_the_hub_need_no_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    questions = refuse_hub(monkeypatch, ConnectionError())
    whole = checkpoint(tmp_path / "snapshot")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: str(whole))
    planned = made(tmp_path, *GEMMA)
    assert {model.place for model in planned.models} == {"hub cache"}
    assert (planned.download, questions) == (0, [])
    (whole / "model.safetensors").unlink()
    assert {model.place for model in made(tmp_path, *GEMMA).models} == {"unknown"}


def test_a_source_that_is_nothing_and_a_damaged_folder_are_refused(tmp_path: Path) -> None:
    family = local_family(tmp_path)
    with pytest.raises(ValueError, match=r"family\.models\.math\.source: .* no folder, and no hub id"):
        made(tmp_path, *family, "family.models.math.source=/nowhere/at/all")
    weights = tmp_path / "math" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    with pytest.raises(ValueError, match=r"math: .*cut short or damaged"):
        made(tmp_path, *family)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["plan.gpu=rtx4090", "eval.batch_size=512"], ["gsm8k: a batch of 512", "set eval.batch_size=64"]),
        (["family=gemma2_9b", "plan.gpu=rtx4090"], ["not even eval.batch_size=1 fits", "eval.backend=vllm"]),
        (
            ["plan.gpu=rtx4090", "eval.backend=vllm", "eval.tensor_parallel=2"],
            ["needs as many GPUs; set plan.gpus=2"],
        ),
        (["plan.ram_gb=8"], ["merge needs 17 GB of memory", "experiments.merge"]),
        (["plan.ram_gb=30", "workers=2"], ["merge needs 33 GB of memory", "set workers=1"]),
        (["eval.tasks=[refusal]", "eval.data_dir=."], ["refusal has no documents here", "eval.data_dir"]),
        (
            ["eval.tasks=[wikitext,ja_leaderboard_jsquad]"],
            ["ja_leaderboard_jsquad cannot be loaded from the hub any more", "set eval.source=local"],
        ),
        (["eval.num_fewshot=200"], ["gsm8k: the longest prompts", "lower eval.num_fewshot"]),
        ([], ["gated: google/gemma-2-2b, google/gemma-2-2b-it", "hf auth login"]),
    ],
)
def test_what_does_not_fit_is_named_with_the_override_that_helps(
    overrides: list[str], words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_hub(monkeypatch, errors.OfflineModeIsEnabled("offline"))
    warnings = " ".join(made(tmp_path, *GEMMA, *overrides).warnings)
    for word in words:
        assert word in warnings


def test_what_a_user_has_still_to_give_is_named_and_the_rest_is_planned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_hub(monkeypatch, errors.OfflineModeIsEnabled("offline"))
    planned = made(tmp_path, "experiment=forgetting", "family=gemma2_2b", "language=th")
    target = next(model for model in planned.models if model.name == "target_th")
    assert (target.place, target.parameters) == ("missing", 2_614_341_888)
    warnings = " ".join(planned.warnings)
    assert "family.models.target_th.source is missing: to be given by the user" in warnings
    assert "refusal has no documents here" in warnings
    assert planned.seconds is not None


def test_weights_that_no_gpu_holds_ask_for_more_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_hub(monkeypatch, errors.OfflineModeIsEnabled("offline"))
    large = [*(word.replace("2b", "9b") for word in GEMMA), "plan.gpu=rtx4090"]
    (line,) = (line for line in made(tmp_path, *large, "eval.dtype=float32").warnings if "weights" in line)
    assert "eval.dtype=bfloat16" in line
    assert "plan.gpus=3 with eval.backend=vllm eval.tensor_parallel=3 or with eval.device_map=auto" in line
    shared = made(tmp_path, *large, "plan.gpus=2", "eval.backend=vllm", "eval.tensor_parallel=2").warnings
    assert not any("weights" in line for line in shared)


def test_a_faster_device_takes_less_time_and_no_table_lacks_a_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_hub(monkeypatch, errors.OfflineModeIsEnabled("offline"))
    times = [made(tmp_path, *GEMMA, f"plan.gpu={name}").seconds or 0 for name in ("h100", "a100", "rtx4090", "cpu")]
    assert times == sorted(times)
    assert all(machine.source.startswith(("https://", "measured")) for machine in MACHINES.values())


def test_the_record_is_plain_json_without_folders(tmp_path: Path) -> None:
    question = asked(tmp_path, *local_family(tmp_path))
    text = json.dumps(record(question, estimate(question)), allow_nan=False)
    assert str(tmp_path) not in text


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("plan.gpu=h10", "plan.gpu='h10' is not one of h100, h200"),
        ("plan.answers=0", "plan.answers=0.0 must be a finite number above 0"),
        ("plan.compute_use=2", "plan.compute_use=2.0 is a share"),
        ("plan.gpus=0", "plan.gpus=0 must be"),
        ("methods=[tia]", "unknown method 'tia'; did you mean 'ta'?"),
    ],
)
def test_a_mistake_is_refused_in_one_line(override: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the text is compared below
        asked(tmp_path, override)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def command(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "LATA_CACHE": str(cwd / "cache"), "HF_HUB_OFFLINE": "1", "HF_HOME": str(cwd / "hf")}
    environment.pop("HYDRA_FULL_ERROR", None)
    script = (
        "import sys, runpy\n"
        f"sys.argv = ['plan', *{list(words)!r}]\n"
        "try: runpy.run_module('experiments.plan', run_name='__main__')\n"
        "finally: print([m for m in ('torch', 'transformers', 'lm_eval', 'wandb', 'pandas', 'datasets')"
        " if m in sys.modules], file=sys.stderr)"
    )
    line = [sys.executable, "-c", script]
    return subprocess.run(line, capture_output=True, text=True, cwd=cwd, env=environment, check=False)


def test_the_command_prints_a_plan_loads_nothing_heavy_and_writes_only_where_out_says(tmp_path: Path) -> None:
    done = command(*GEMMA, "plan.gpu=rtx4090", cwd=tmp_path)
    assert (done.returncode, done.stderr.strip()) == (0, "[]")
    assert "total" in done.stdout
    assert list(tmp_path.iterdir()) == []
    for folder in ("a", "b"):
        assert command(*GEMMA, f"out={folder}", cwd=tmp_path).returncode == 0
    written = (tmp_path / "a" / "plan.json").read_bytes()
    assert written == (tmp_path / "b" / "plan.json").read_bytes()
    assert json.loads(written)["merges"] == 2


@pytest.mark.parametrize(("question", "line"), [(["--help"], "plan.gpu=null"), (["--cfg", "job"], "gpu: null")])
def test_questions_are_answered_without_heavy_imports(question: list[str], line: str, tmp_path: Path) -> None:
    done = command(*question, cwd=tmp_path)
    assert done.stderr.strip() == "[]"
    assert line in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_the_command_ends_with_one_line(tmp_path: Path) -> None:
    done = command("plan.gp=h100", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == "error: unknown key 'plan.gp'; did you mean plan.gpu or plan.gpus?"
