"""What a plan says against measurements that were recorded, against published sizes, and by hand."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import yaml
from huggingface_hub import errors
from hydra import compose, initialize_config_dir
from safetensors.numpy import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit

from eval.data import read_documents
from eval.sources import local_path, read_pages
from experiments import plan_cost as cost
from experiments.config import CONF
from experiments.pipeline import entries_of
from experiments.plan import record
from experiments.plan_config import Planning, planning, register_schemas
from experiments.plan_documents import MINI, RECORDED, Documents
from experiments.plan_machines import MACHINES
from experiments.plan_shapes import PUBLISHED, Shape, shape_of
from experiments.plan_study import Estimate, estimate
from experiments.plan_text import WIDTH, describe
from lata.methods import get
from lata.planning import Rates as MergeRates

MINI_SHAPE = Shape(6, 128, 344, 4, 4, 32, 640, 512, tied=True)
SMALL = Shape(2, 8, 16, 2, 1, 4, 32, 64, tied=False)
#: The same as a `config.json`.
CONFIG = {
    "model_type": "llama",
    "num_hidden_layers": 2,
    "hidden_size": 8,
    "intermediate_size": 16,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 4,
    "vocab_size": 32,
    "max_position_embeddings": 64,
    "tie_word_embeddings": False,
}


def asked(tmp_path: Path, *overrides: str) -> Planning:
    register_schemas()
    places = (f"out={tmp_path / 'out'}", f"cache={tmp_path / 'cache'}")
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return planning(compose("plan", overrides=[*places, *overrides]))


def made(tmp_path: Path, *overrides: str) -> Estimate:
    return estimate(asked(tmp_path, *overrides))


def checkpoint(folder: Path, dtype: Any = np.float16) -> Path:
    """A model of the shape `SMALL`, zeros."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    block = {"q_proj": (8, 8), "k_proj": (4, 8), "v_proj": (4, 8), "o_proj": (8, 8)}
    feed = {"gate_proj": (16, 8), "up_proj": (16, 8), "down_proj": (8, 16)}
    tensors = {"model.embed_tokens.weight": (32, 8), "lm_head.weight": (32, 8), "model.norm.weight": (8,)}
    for layer in range(2):
        start = f"model.layers.{layer}."
        tensors |= {f"{start}self_attn.{name}.weight": shape for name, shape in block.items()}
        tensors |= {f"{start}mlp.{name}.weight": shape for name, shape in feed.items()}
        tensors |= {f"{start}{name}.weight": (8,) for name in ("input_layernorm", "post_attention_layernorm")}
    save_file({name: np.zeros(shape, dtype) for name, shape in tensors.items()}, folder / "model.safetensors")
    return folder


def local_family(root: Path, **dtypes: Any) -> list[str]:
    """Overrides that name four small folders."""
    sources = {
        name: checkpoint(root / name, dtypes.get(name, np.float16)) for name in ("base", "pre", "math", "code")
    }
    return [
        *("family=llama32_3b", "eval=paper", "merges=[math+code]", "methods=[ta,ties]", "forget=[]", "plan.gpu=h100"),
        *(f"family.models.{name}.source={folder}" for name, folder in sources.items()),
    ]


GEMMA = ("family=gemma2_2b", "eval=paper", "merges=[math+code]", "methods=[ta,lata_log]", "forget=[]")


# Recorded: the miniature family, 300 items a task, batches of 150, one thread on an AMD EPYC; CPU seconds.
@pytest.mark.parametrize(
    ("task", "seconds"), [("wikitext", 1.7), ("gsm8k", 2.2), ("humaneval", 1.8), ("refusal", 0.8)]
)
def test_an_evaluation_of_the_miniature_family_takes_what_was_measured_within_a_factor_of_two(
    task: str, seconds: float
) -> None:
    cpu = MACHINES["cpu"]
    rates = cost.Rates(cpu.fp32 * cpu.compute_use, cpu.bandwidth * 0.6, 1e-4)
    served = cost.Served(MINI_SHAPE, MINI_SHAPE.parameters, 4, 150)
    assert seconds / 2 < cost.evaluation_seconds(served, [MINI[task]], rates) < seconds * 2


def test_a_study_of_63_miniature_models_takes_the_four_minutes_that_it_took(tmp_path: Path) -> None:
    planned = made(tmp_path, "experiment=mini")
    (stage,) = (stage for stage in planned.stages if stage.name == "evaluate")
    assert planned.evaluations == 63 + 2
    assert stage.seconds is not None
    assert 120 < stage.seconds < 480
    # The same run trained the family first, in three minutes.
    (stage,) = (stage for stage in planned.stages if stage.name == "train")
    assert stage.seconds is not None
    assert 90 < stage.seconds < 360


# Recorded: merges on disk of a family of the shape of Llama-3.2-1B, two experts, two cores, least and most seconds.
@pytest.mark.parametrize(("method", "least", "most"), [("ta", 4.5, 10.0), ("ties", 11.5, 34.0)])
def test_a_merge_of_the_1_24_billion_family_takes_what_was_measured_within_a_factor_of_two(
    method: str, least: float, most: float
) -> None:
    shape = Shape(16, 2048, 8192, 32, 8, 64, 128_256, 2_048, tied=True)
    assert shape.parameters == 1_235_814_400
    model = 2 * shape.parameters
    registered = get(method)
    passes = registered.count_passes(dict(registered.defaults))
    seconds = cost.merge_seconds(passes * 3 * model, model, MergeRates())
    middle = math.sqrt(least * most)
    assert middle / 2 < seconds < middle * 2


# Numbers of parameters as the hub shows them on the models' pages.
@pytest.mark.parametrize(
    ("model", "parameters"),
    [
        ("google/gemma-2-2b-it", 2_614_341_888),
        ("google/gemma-2-9b-it", 9_241_705_984),
        ("meta-llama/Meta-Llama-3-8B-Instruct", 8_030_261_248),
        ("meta-llama/Llama-3.1-8B-Instruct", 8_030_261_248),
        ("meta-llama/Llama-3.2-3B-Instruct", 3_212_749_824),
    ],
)
def test_published_shapes_have_the_published_number_of_parameters(model: str, parameters: int) -> None:
    assert PUBLISHED[model].parameters == parameters


@pytest.mark.parametrize("family", ["gemma2_2b", "gemma2_9b", "llama3_8b", "llama31_8b", "llama32_3b"])
def test_the_shape_of_each_paper_family_is_recorded(family: str) -> None:
    said = yaml.safe_load((CONF / "family" / f"{family}.yaml").read_text(encoding="utf-8"))
    assert said["models"]["pre"]["source"] in PUBLISHED


def test_a_config_gives_the_shape_and_another_kind_of_model_none() -> None:
    assert shape_of(CONFIG) == SMALL
    assert shape_of({"text_config": CONFIG}) == SMALL
    assert shape_of({"model_type": "t5"}) is None


def test_by_hand_a_forward_pass_takes_the_longest_of_arithmetic_memory_and_launch() -> None:
    served = cost.Served(SMALL, SMALL.parameters, 2, batch=4)
    task = Documents("gsm8k", 8, prompt=10, longest=12, answer=5, limit=20, spread=0.0)
    a_token = 2 * (SMALL.parameters - 32 * 8)
    attention = 4 * 2 * 2 * 4
    assert SMALL.token_flops(SMALL.parameters, 3) == a_token + attention * 3
    slow = cost.Rates(flops=1.0, bandwidth=math.inf, launch=0.0)
    assert cost.prefill_seconds(served, task, slow) == 80 * (a_token + attention * 5)
    assert cost.decode_seconds(served, task, slow) == 40 * (a_token + attention * 12.5)
    moving = cost.Rates(flops=math.inf, bandwidth=1.0, launch=0.0)
    assert SMALL.kv_bytes(2) == 2 * 2 * 1 * 4 * 2
    # Two batches of four rows, five steps each; every token reads what stands before it.
    assert cost.decode_seconds(served, task, moving) == 10 * 2 * SMALL.parameters + 40 * 12.5 * 32
    launching = cost.Rates(flops=math.inf, bandwidth=math.inf, launch=1.0)
    assert cost.decode_seconds(served, task, launching) == 10 * 2
    assert cost.decode_seconds(served, task, launching, most=True) == 40 * 2
    assert cost.prefill_seconds(served, task, launching) == 2 * 2
    assert cost.decode_seconds(served, replace(task, answer=0, limit=0), launching) == 0


def test_the_longest_answer_of_a_batch_ends_it_and_the_limit_ends_every_answer() -> None:
    task = Documents("gsm8k", 8, 10, 12, answer=50, limit=100, spread=0.33)
    assert task.steps(1) == 50
    assert 50 < task.steps(4) < task.steps(8) < 100
    assert task.steps(10_000) == task.steps(2, most=True) == 100


def test_a_batch_is_halved_until_it_fits() -> None:
    served = cost.Served(SMALL, SMALL.parameters, 2, batch=16)
    page = Documents("wikitext", 100, 500, 500)
    four = cost.working_bytes(served, page, 4)
    assert cost.fitting_batch(served, page, math.inf) == 16
    assert cost.fitting_batch(served, page, four) == 4
    assert cost.fitting_batch(served, page, 1) == 0


def test_recorded_documents_are_those_of_the_benchmarks() -> None:
    folder = os.environ.get("LATA_BENCH_DATA")
    if not folder:
        pytest.skip("LATA_BENCH_DATA names no folder of the benchmarks' files")
    data = Path(folder)
    pages = [row["page"] for row in read_pages(local_path(data, "wikitext", "test"))]
    problems = read_documents(local_path(data, "gsm8k", "test"), ["question", "answer"])
    solved = read_documents(local_path(data, "gsm8k", "train"), ["question", "answer"])[:5]
    programs = read_documents(local_path(data, "humaneval", "test"), ["prompt", "canonical_solution"])
    texts = {
        "wikitext": (pages, []),
        "gsm8k": ([f"Question: {row['question']}\nAnswer:" for row in problems], [row["answer"] for row in problems]),
        "humaneval": ([row["prompt"] for row in programs], [row["canonical_solution"] for row in programs]),
    }
    for task, (prompts, answers) in texts.items():
        said = RECORDED[task]
        assert (said.count, said.longest) == (len(prompts), max(map(len, prompts)))
        assert said.prompt == pytest.approx(sum(map(len, prompts)) / len(prompts), rel=1e-3)
        if answers:
            assert said.answer == pytest.approx(sum(map(len, answers)) / len(answers), rel=1e-3)
            for rows in (4, 16, 64):
                order = sorted(range(len(prompts)), key=lambda place: -len(prompts[place]))
                batches = [order[start : start + rows] for start in range(0, len(order), rows)]
                longest = sum(max(len(answers[place]) for place in batch) for batch in batches) / len(batches)
                assert said.answer * (1 + said.spread * math.log(rows)) == pytest.approx(longest, rel=0.05)
    shots = "".join(f"Question: {row['question']}\nAnswer: {row['answer']}\n\n" for row in solved)
    assert RECORDED["gsm8k"].shot == pytest.approx(len(shots) / 5, rel=1e-3)


@pytest.mark.parametrize("file", sorted((CONF / "experiment").glob("*.yaml")), ids=lambda file: file.stem)
def test_every_experiment_can_be_planned(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_hub(monkeypatch, errors.OfflineModeIsEnabled("offline"))
    question = asked(tmp_path, f"experiment={file.stem}")
    planned = estimate(question)
    jobs = {entry.job for entry in entries_of(question.study)}
    assert planned.merges == sum(bool(job.method) for job in jobs)
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
    assert planned.download == 5 * 2 * 2_614_341_888
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
    assert planned.download == 5 * 2_010
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
        (["plan.gpu=rtx4090"], ["wikitext: a batch of 16", "eval.backend=vllm"]),
        (["plan.gpu=h200"], ["wikitext: a batch of 16", "set eval.batch_size=8"]),
        (
            ["plan.gpu=rtx4090", "eval.backend=vllm", "eval.tensor_parallel=2"],
            ["needs as many GPUs; set plan.gpus=2"],
        ),
        (["plan.ram_gb=8"], ["merge needs 17 GB of memory", "experiments.merge"]),
        (["plan.ram_gb=30", "workers=2"], ["merge needs 33 GB of memory", "set workers=1"]),
        (["eval.tasks=[refusal]", "eval.data_dir=."], ["refusal has no documents here", "eval.data_dir"]),
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


@pytest.mark.parametrize("question", [["--help"], ["--cfg", "job"]])
def test_questions_are_answered_without_heavy_imports(question: list[str], tmp_path: Path) -> None:
    done = command(*question, cwd=tmp_path)
    assert done.stderr.strip() == "[]"
    assert "gpu: null" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_the_command_ends_with_one_line(tmp_path: Path) -> None:
    done = command("plan.gp=h100", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == "error: unknown key 'plan.gp'; did you mean plan.gpu or plan.gpus?"
