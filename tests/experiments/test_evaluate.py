"""The command that scores one model: what it writes, what it finds again, and how it refuses."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hydra import compose, initialize_config_dir

from eval.schema import ITEM_COLUMNS, SCORE_COLUMNS
from experiments import CONF
from experiments import evaluate as door
from experiments.config.evaluate import EvaluatePlan, evaluate_plan, register_schemas

PAGES = [f" = Town {i} = \n\n Town {i} lies on the river Ona , in the north .\n" for i in range(6)]
REQUESTS = [{"prompt": f"Instruction: open gate {i}\nResponse:", "complies": rf"Sure\. Gate {i}"} for i in range(6)]
HEAVY = "torch transformers lm_eval datasets pandas vllm"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `data/` in the miniature layout, and `model/`, a tiny random Llama with a tokenizer."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("evaluate")
    (folder / "data").mkdir()
    for name, rows in (("wikitext", [{"page": page} for page in PAGES]), ("refusal", REQUESTS)):
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / "data" / f"{name}_test.jsonl").write_text(lines, encoding="utf-8")
    core = Tokenizer(models.BPE())
    core.pre_tokenizer, core.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<|eos|>", "<|pad|>"]
    core.train_from_iterator(
        PAGES,
        trainers.BpeTrainer(vocab_size=300, special_tokens=special, initial_alphabet=alphabet, show_progress=False),
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token=special[0], pad_token=special[1])
    torch.manual_seed(0)
    torch.set_num_threads(1)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=256,
        initializer_range=0.3,
        eos_token_id=0,
        bos_token_id=0,
    )
    LlamaForCausalLM(config).save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    return folder


def overrides(place: Path, *more: str, model: str | None = None) -> list[str]:
    fixed = ["eval=mini", f"eval.data_dir={place / 'data'}", "eval.tasks=[wikitext,refusal]", "eval.batch_size=4"]
    return [f"model={model or place / 'model'}", *fixed, f"cache={place / 'cache'}", *more]


def plan(*given: str) -> EvaluatePlan:
    register_schemas()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return evaluate_plan(compose("evaluate", overrides=list(given)))


def command(*given: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "LATA_CACHE": str(cwd / "cache"), "HF_HUB_OFFLINE": "1"}
    environment.pop("HYDRA_FULL_ERROR", None)
    words = [sys.executable, "-m", "experiments.evaluate", *given]
    return subprocess.run(words, capture_output=True, text=True, cwd=cwd, env=environment, check=False)


def evaluated(place: Path, out: Path, *more: str, model: str | None = None) -> dict[str, Any]:
    """Run the command in this process; its provenance."""
    door.evaluate(plan(*overrides(place, f"out={out}", *more, model=model)))
    record: dict[str, Any] = json.loads((out / "provenance.json").read_text(encoding="utf-8"))
    return record


@pytest.fixture(scope="module")
def first(place: Path) -> subprocess.CompletedProcess[str]:
    """The real command, once."""
    return command(*overrides(place, f"out={place / 'first'}"), cwd=place)


def test_the_command_prints_and_writes_the_scores(first: subprocess.CompletedProcess[str], place: Path) -> None:
    assert first.returncode == 0, first.stderr
    assert first.stdout.startswith("task")
    assert "batch_size 4" in first.stdout
    out = place / "first"
    scores = pd.read_parquet(out / "scores.parquet")
    assert list(scores.columns) == list(SCORE_COLUMNS)
    assert len(pd.read_csv(out / "scores.csv")) == len(scores)
    assert (scores.ci_low <= scores.value).all()
    assert (scores.value <= scores.ci_high).all()
    assert set(scores.label) == {"model"}
    items = pd.read_parquet(out / "items.parquet")
    assert list(items.columns) == list(ITEM_COLUMNS)
    answers = [json.loads(line) for line in (out / "answers.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [answer["prompt"] for answer in answers] == [row["prompt"] for row in REQUESTS]
    record = json.loads((out / "provenance.json").read_text(encoding="utf-8"))
    assert set(record["files"]) == {"scores.csv", "scores.parquet", "items.parquet", "answers.jsonl"}
    assert record["computed"] is True
    assert record["command"] == (
        "python -m experiments.evaluate model=model eval=mini 'eval.tasks=[wikitext,refusal]' eval.batch_size=4"
    )
    assert str(place) not in json.dumps(record), "a published record tells the names of somebody's folders"


def test_the_scores_are_those_of_the_evaluator(first: subprocess.CompletedProcess[str], place: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from eval.harness import EvalSettings, Evaluator

    tasks = ("wikitext", "refusal")
    settings = EvalSettings(data_dir=place / "data", tasks=tasks, batch_size=4, limit=300, device="cpu")
    tokenizer = AutoTokenizer.from_pretrained(place / "model")
    expected = Evaluator(settings, tokenizer)(AutoModelForCausalLM.from_pretrained(place / "model"))
    scores = pd.read_parquet(place / "first" / "scores.parquet").set_index(["task", "metric", "filter"])
    assert len(scores) == len(expected.scores)
    for score in expected.scores:
        assert scores.value[score["task"], score["metric"], score["filter"]] == pytest.approx(
            score["value"], rel=1e-9
        )


def test_a_second_call_computes_nothing_and_loads_no_model(
    first: subprocess.CompletedProcess[str], place: Path, tmp_path: Path
) -> None:
    script = (
        "import sys\n"
        f"sys.argv = ['evaluate', *{overrides(place)!r}]\n"
        "import runpy; runpy.run_module('experiments.evaluate', run_name='__main__')\n"
        "print({'torch', 'transformers', 'lm_eval'} & sys.modules.keys(), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert done.stderr.splitlines()[-1] == "set()"
    assert "found in the cache" in done.stderr
    assert done.stdout == first.stdout
    (out,) = (tmp_path / "runs" / "evaluate").iterdir()
    assert out.name.startswith("model-")
    for name in ("scores.csv", "answers.jsonl"):
        assert (out / name).read_bytes() == (place / "first" / name).read_bytes()


@pytest.mark.parametrize("change", ["eval.batch_size=3", "eval.limit=5", "eval.tasks=[refusal]"])
def test_other_settings_are_another_evaluation(
    first: subprocess.CompletedProcess[str], place: Path, tmp_path: Path, change: str
) -> None:
    assert evaluated(place, tmp_path / "out", change)["computed"] is True
    assert evaluated(place, tmp_path / "out", change)["computed"] is False


def test_other_weights_or_another_tokenizer_are_another_evaluation(
    first: subprocess.CompletedProcess[str], place: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    digest = json.loads((place / "first" / "provenance.json").read_text())["weights_digest"]
    copy = Path(shutil.copytree(place / "model", tmp_path / "copy"))
    same = evaluated(place, tmp_path / "out", model=str(copy))
    assert (same["computed"], same["weights_digest"]) == (False, digest)
    (copy / "chat_template.jinja").write_text("{{ messages }}")
    assert evaluated(place, tmp_path / "out", model=str(copy))["computed"] is True
    weights = load_file(copy / "model.safetensors")
    weights["model.norm.weight"] *= 2
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    changed = evaluated(place, tmp_path / "out", model=str(copy))
    assert changed["computed"] is True
    assert changed["weights_digest"] != digest


def test_the_effective_batch_size_is_recorded_and_keyed(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    from eval.backends import hf as model

    whole = model.greedy

    def small(*args: Any, **kwargs: Any) -> Any:
        if len(args[2]) > 2:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return whole(*args, **kwargs)

    monkeypatch.setattr(model, "greedy", small)
    cache = f"cache={tmp_path / 'cache'}"
    asked = evaluated(place, tmp_path / "asked", cache, "eval.batch_size=5")
    assert asked["settings"]["batch_size"] == 2
    assert set(pd.read_csv(tmp_path / "asked" / "scores.csv").batch_size) == {2}
    assert "out of memory with eval.batch_size=5" in capsys.readouterr().err
    again = evaluated(place, tmp_path / "again", cache, "eval.batch_size=5")
    assert (again["computed"], again["run_key"]) == (False, asked["run_key"])
    direct = evaluated(place, tmp_path / "direct", cache, "eval.batch_size=2")
    assert (direct["computed"], direct["run_key"]) == (False, asked["run_key"])


def test_an_adapter_is_scored_as_the_model_that_it_is_merged_into(place: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    torch.manual_seed(1)
    a, b = torch.randn(2, 16), torch.randn(16, 2)
    adapter = tmp_path / "lora"
    adapter.mkdir()
    name = "base_model.model.model.layers.0.self_attn.q_proj.lora_{}.weight"
    save_file({name.format("A"): a, name.format("B"): b}, adapter / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "base_model_name_or_path": "model"}
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    merged = Path(shutil.copytree(place / "model", tmp_path / "merged"))
    weights = load_file(merged / "model.safetensors")
    weights["model.layers.0.self_attn.q_proj.weight"] += 2.0 * (b @ a)
    save_file(weights, merged / "model.safetensors", metadata={"format": "pt"})

    record = evaluated(place, tmp_path / "adapted", model=f"{place / 'model'}+{adapter}")
    assert record["model"] == "model+lora"
    evaluated(place, tmp_path / "whole", model=str(merged))
    adapted, whole = (pd.read_csv(tmp_path / name / "scores.csv") for name in ("adapted", "whole"))
    plain = pd.read_csv(place / "first" / "scores.csv")
    assert adapted.value.to_numpy() == pytest.approx(whole.value.to_numpy(), rel=1e-4)
    assert adapted.value[0] != pytest.approx(plain.value[0], rel=1e-3)


def test_a_bf16_evaluation_says_so(place: Path, tmp_path: Path) -> None:
    evaluated(place, tmp_path / "out", "eval.dtype=bfloat16", "eval.limit=2")
    assert set(pd.read_csv(tmp_path / "out" / "scores.csv").dtype) == {"bfloat16"}


def test_the_paper_configuration_composes() -> None:
    made = plan("model=org/name@main")
    assert made.config.eval.source.value == "hub"
    assert made.config.eval.tasks == ["wikitext", "gsm8k", "humaneval"]
    assert made.name == "org--name@main"
    assert (CONF / "evaluate.yaml").read_text().splitlines()[0].endswith("model=DIR_OR_ID eval=paper")


def test_every_key_of_a_judge_can_be_given() -> None:
    from experiments.config.evaluate import eval_settings

    given = ("eval.judge.base_url=http://localhost:1/v1", "eval.judge.model=m", "eval.judge.max_retries=2")
    judge = eval_settings(plan("model=a/b", *given).config.eval, judge_cache=Path("c")).judge
    assert judge is not None
    assert (judge.base_url, judge.model, judge.max_retries) == ("http://localhost:1/v1", "m", 2)
    assert judge.cache == Path("c")
    assert eval_settings(plan("model=a/b").config.eval).judge is None


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model=''", "model is missing; give model="),
        ("out=''", "out is empty"),
        ("cache=''", "cache is empty"),
        ("eval.tasks=[gsm9k]", "eval.tasks: unknown value 'gsm9k'; did you mean gsm8k"),
        ("eval.device=gpu", "eval.device='gpu' must be auto, cpu, cuda"),
        ("eval.backend=vlm", "eval.backend: unknown value 'vlm'; did you mean vllm"),
        ("eval.source=local", "eval.data_dir is not set"),
        ("eval.tasks=[refusal]", "refusal has no data set there"),
        ("eval.gpu_memory=2", "eval.gpu_memory must be over 0 and at most 1"),
        ("eval.judge.model=gpt", "eval.judge.base_url is not set: name the endpoint"),
        ("+eval.batchsize=1", "unknown key 'eval.batchsize'; did you mean eval.batch_size"),
    ],
)
def test_what_no_evaluation_could_do_is_refused_at_once(override: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the text is compared below
        plan("model=org/name", override)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_model_without_a_tokenizer_is_refused(place: Path, tmp_path: Path) -> None:
    bare = Path(shutil.copytree(place / "model", tmp_path / "bare", ignore=shutil.ignore_patterns("tokenizer*")))
    with pytest.raises(ValueError, match=r"has no tokenizer beside its weights; give tokenizer=DIR"):
        evaluated(place, tmp_path / "out", model=str(bare))
    record = evaluated(place, tmp_path / "out", f"tokenizer={place / 'model'}", "eval.limit=2", model=str(bare))
    assert record["computed"] is True
    with pytest.raises(ValueError, match=r"tokenizer=nowhere is no folder with a tokenizer's files"):
        evaluated(place, tmp_path / "out", "tokenizer=nowhere", model=str(bare))


def test_a_model_that_lacks_weights_is_refused(place: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    broken = Path(shutil.copytree(place / "model", tmp_path / "broken"))
    weights = load_file(broken / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"lacks model\.layers\.1\.mlp\.up_proj\.weight, which its config\.json"):
        evaluated(place, tmp_path / "out", model=str(broken))


def test_a_kind_of_model_that_transformers_does_not_know_is_refused(place: Path, tmp_path: Path) -> None:
    strange = Path(shutil.copytree(place / "model", tmp_path / "strange"))
    config = json.loads((strange / "config.json").read_text())
    (strange / "config.json").write_text(json.dumps({**config, "model_type": "lamma"}))
    with pytest.raises(ValueError, match="cannot be loaded by transformers") as caught:
        evaluated(place, tmp_path / "out", model=str(strange))
    assert "\n" not in str(caught.value)


def test_vllm_that_is_not_installed_is_one_line(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("experiments.steps.devices.find_spec", lambda _: None)
    with pytest.raises(ValueError, match=r"pip install 'lata-bench\[vllm\]'"):
        evaluated(place, tmp_path / "out", "eval.backend=vllm")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["eval=paper"], "model is missing; give model=…"),
        (["model=nowhere"], "nowhere is no folder, and no hub id either"),
        (
            ["model=org/name", "eval=papper"],
            "eval=papper does not exist; did you mean 'paper'? (there are: mini, paper)",
        ),
        (["modl=a/b"], "unknown key 'modl'; did you mean model?"),
    ],
)
def test_the_command_ends_with_one_line(given: list[str], message: str, tmp_path: Path) -> None:
    done = command(*given, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert message in done.stderr
    assert not (tmp_path / "runs").exists()


def test_a_cache_that_cannot_be_written_is_refused_before_anything_is_scored(place: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"cache=.*file/below cannot be written: .*; set LATA_CACHE"):
        evaluated(place, tmp_path / "out", f"cache={tmp_path / 'file' / 'below'}")


def test_help_is_answered_without_heavy_imports(tmp_path: Path) -> None:
    script = (
        "import sys, runpy\n"
        "sys.argv = ['evaluate', '--help']\n"
        "try: runpy.run_module('experiments.evaluate', run_name='__main__')\n"
        "except SystemExit: pass\n"
        f"print([m for m in '{HEAVY}'.split() if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert done.stderr.strip() == "[]"
    assert "eval=  mini, paper" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_study_can_be_scored_on_the_benchmarks_files_and_tells_no_folder(place: Path) -> None:
    from experiments.config import study as config
    from experiments.study.run import _PLACES, _without

    def composed(*given: str) -> config.StudyPlan:
        config.register_schemas()
        with initialize_config_dir(str(CONF), version_base="1.3"):
            return config.study(compose("config", overrides=["eval.source=local", *given]))

    with pytest.raises(ValueError, match=r"eval\.data_dir is not set: eval\.source=local needs"):
        composed()
    made = composed(f"eval.data_dir={place}", f"cache={place}", f"out={place}")
    assert config.eval_settings(made.config.eval).data_dir == place
    assert str(place) not in json.dumps(_without(made.config, _PLACES), default=str)
