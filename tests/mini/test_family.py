"""The family as users meet it: keys, the cache, and what happens when something goes wrong. A very small family."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from interrupts import hear_ctrl_c

from experiments.mini import folders
from experiments.mini.data import SPLITS, TASKS
from experiments.mini.family import L2_CORPORA, MODELS, SHIPPED, TRAINING, MiniFamily
from experiments.mini.progress import Progress
from lata.code_version import modules_of

TINY = {
    "items": 20,
    "hidden": 16,
    "layers": 2,
    "heads": 2,
    "ffn": 24,
    "vocabulary": 300,
    "context": 256,
    "base_documents": 200,
    "pre_requests": 80,
    "math_examples": 40,
    "code_examples": 40,
    "ua_examples": 40,
    "target_ua_examples": 40,
    "target_math_examples": 40,
    "pre_l2_examples": 60,
    "target_l2_examples": 60,
}


def tiny(cache: Path, **changes: object) -> MiniFamily:
    return MiniFamily(cache=cache, **{**TINY, **changes})  # type: ignore[arg-type]


def contents(family: MiniFamily) -> dict[str, bytes]:
    """The weights of every model."""
    return {name: (path / "model.safetensors").read_bytes() for name, path in family.folders().items()}


def start(cache: Path, code: str) -> subprocess.Popen[str]:
    """Another process that has the tiny family as `family` and runs `code`."""
    setup = f"from experiments.mini.family import MiniFamily\nfamily = MiniFamily(cache={str(cache)!r}, **{TINY!r})\n"
    return subprocess.Popen(
        [sys.executable, "-c", setup + code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=hear_ctrl_c,
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> MiniFamily:
    """A trained tiny family; tests leave it whole."""
    family = tiny(tmp_path_factory.mktemp("cache"))
    family.ensure(progress=False)
    return family


def test_every_model_loads_without_network_and_continues_its_parent(trained: MiniFamily) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    paths = trained.ensure()
    assert tuple(paths) == MODELS
    weights = {}
    for name, path in paths.items():
        model = AutoModelForCausalLM.from_pretrained(path)
        assert model.dtype == torch.float16
        assert (path / "generation_config.json").exists()
        assert AutoTokenizer.from_pretrained(path).eos_token == "<|eos|>"
        weights[name] = torch.cat([p.detach().float().flatten() for p in model.parameters()])
    assert weights["base"].norm() > 0
    for name in MODELS[2:-2]:
        both = [AutoModelForCausalLM.from_pretrained(paths[one]) for one in ("pre", name)]
        changed = {key for key, before in both[0].named_parameters() if not before.equal(both[1].get_parameter(key))}
        assert changed == {key for key in both[0].state_dict() if ".layers." in key and "norm" not in key}
    for name in MODELS[2:]:
        step, far = (weights[name] - weights["pre"]).norm(), (weights[name] - weights["base"]).norm()
        assert 0 < step < far


def test_a_complete_cache_answers_without_importing_torch(trained: MiniFamily) -> None:
    code = (
        "import sys, json\n"
        "family.ensure(); family.data_dir(); family.key\n"
        "print(json.dumps(sorted({'torch', 'transformers', 'lm_eval'} & set(sys.modules))))"
    )
    trained.data_dir()
    out, error = start(trained.cache, code).communicate()
    assert json.loads(out) == [], error


@pytest.mark.parametrize("damage", ["flipped byte", "cut short"])
def test_a_damaged_model_is_warned_about_and_rebuilt_to_the_same_bytes(
    trained: MiniFamily, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    before = contents(trained)
    path = trained.folders()["ua"]
    victim = path / "model.safetensors"
    if damage == "flipped byte":
        victim.write_bytes(before["ua"][:-1] + bytes([before["ua"][-1] ^ 1]))
    else:
        victim.write_bytes(before["ua"][:100])
    with caplog.at_level(logging.WARNING):
        trained.ensure(progress=False)
    (record,) = caplog.records
    assert str(path) in record.message
    assert "\n" not in record.message
    assert contents(trained) == before


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="watches processes through /proc and pidfd")
def test_a_killed_training_ends_its_workers_and_goes_on_to_the_same_bytes(
    trained: MiniFamily, tmp_path: Path
) -> None:
    process = start(tmp_path, "family.ensure()")
    assert process.stderr is not None
    assert "base trained" in process.stderr.readline()
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    handles = [os.pidfd_open(int(child)) for child in children]
    assert handles
    process.send_signal(signal.SIGKILL)
    process.wait()
    for handle in handles:
        ended, _, _ = select.select([handle], [], [], 60)
        assert ended, "a worker outlived its parent"
        os.close(handle)
    family = tiny(tmp_path)
    made = [name for name, path in family.folders().items() if path.exists()]
    assert "base" in made
    assert "target_ua" not in made
    stamp = family.folders()["base"].stat().st_mtime_ns
    family.ensure(progress=False)
    assert family.folders()["base"].stat().st_mtime_ns == stamp
    assert contents(family) == contents(trained)
    assert not list(family.root.glob(".draft*"))


def test_two_processes_at_once_leave_one_whole_family(trained: MiniFamily, tmp_path: Path) -> None:
    both = [start(tmp_path, "family.ensure()") for _ in range(2)]
    lines = [process.communicate()[1] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sum(text.count("trained") for text in lines) == len(MODELS)
    assert contents(tiny(tmp_path)) == contents(trained)
    assert {path.name for path in tiny(tmp_path).root.iterdir() if not path.name.startswith(".lock")} == {
        path.name for path in tiny(tmp_path).folders().values()
    }


def test_ctrl_c_leaves_nothing_half_written(tmp_path: Path) -> None:
    process = start(tmp_path, "family.ensure()")
    assert process.stderr is not None
    process.stderr.readline()
    process.send_signal(signal.SIGINT)
    _, error = process.communicate()
    assert process.returncode != 0
    assert "KeyboardInterrupt" in error
    family = tiny(tmp_path)
    assert all(folders.is_complete(path) for path in family.folders().values() if path.exists())
    assert not list(family.root.glob(".draft*"))


def test_every_field_that_decides_the_weights_changes_the_key(tmp_path: Path) -> None:
    family = tiny(tmp_path)
    for field in dataclasses.fields(family):
        if field.name in ("cache", "items"):
            continue
        value = getattr(family, field.name)
        changed = dataclasses.replace(family, **{field.name: 2 * value or 1})
        assert changed.key != family.key, field.name


def test_where_it_is_kept_and_how_much_is_evaluated_do_not_change_the_key(tmp_path: Path) -> None:
    family = tiny(tmp_path)
    assert dataclasses.replace(family, cache=tmp_path / "other", items=30).key == family.key


def test_a_change_to_one_expert_keeps_the_others(tmp_path: Path) -> None:
    keys, changed = tiny(tmp_path).keys(), tiny(tmp_path, code_examples=41).keys()
    assert [name for name in MODELS if keys[name] != changed[name]] == ["code"]


def test_the_keys_of_english_models_do_not_depend_on_the_other_language(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    family = tiny(tmp_path)
    keys = family.keys()
    monkeypatch.setattr("experiments.mini.family.L2_CORPORA", "experiments.mini.corpora.math")
    changed = family.keys()
    assert [name for name in MODELS if keys[name] != changed[name]] == ["pre_l2", "target_l2"]


def test_the_keys_of_models_come_from_what_trains_and_not_from_what_keeps_or_shows() -> None:
    package = ("experiments.mini",)
    english, both = modules_of(TRAINING, packages=package), modules_of(TRAINING, L2_CORPORA, packages=package)
    everything = {path.stem for path in SHIPPED.parent.glob("*.py")} | {"training", "corpora"}
    named = {module.split(".")[2] for module in both[1:]}
    assert everything - named == {"__init__", "build", "criteria", "data", "family", "folders", "progress"}
    for folder, found in (("training", english), ("corpora", english), ("corpora/l2", both)):
        prefix = f"experiments.mini.{folder.replace('/', '.')}"
        files = {path.stem for path in (SHIPPED.parent / folder).glob("*.py")} - {"__init__"}
        assert {module.rpartition(".")[2] for module in found if module.rpartition(".")[0] == prefix} - {
            "l2"
        } == files
    assert not [module for module in english if ".l2" in module]


def test_a_change_to_pre_changes_all_that_start_from_it(tmp_path: Path) -> None:
    keys, changed = tiny(tmp_path).keys(), tiny(tmp_path, pre_lr=1e-3).keys()
    assert [name for name in MODELS if keys[name] == changed[name]] == ["base"]


def test_the_evaluation_data_are_the_same_for_every_seed_and_written_once(tmp_path: Path) -> None:
    first, second = tiny(tmp_path, seed=0).data_dir(), tiny(tmp_path, seed=1).data_dir()
    assert first == second
    assert {path.name for path in first.iterdir()} == {
        folders.SUMS,
        *(f"{task}_{split}.jsonl" for task in TASKS["en"] for split in SPLITS),
    }
    fields = {
        "wikitext": {"page", "cluster"},
        "gsm8k": {"question", "answer", "cluster"},
        "humaneval": {"task_id", "prompt", "canonical_solution", "test", "entry_point", "cluster"},
        "refusal": {"prompt", "complies", "refuses", "cluster"},
    }
    for task in TASKS["en"]:
        rows = [json.loads(line) for line in (first / f"{task}_test.jsonl").read_text().splitlines()]
        assert len(rows) == 20
        assert all(set(row) == fields[task] and all(isinstance(v, str) for v in row.values()) for row in rows)


def test_the_data_of_the_second_language_are_files_of_the_same_tasks_in_a_folder_of_their_own(tmp_path: Path) -> None:
    english, folder = tiny(tmp_path).data_dir(), tiny(tmp_path).data_dir("l2")
    assert folder not in (english, tiny(tmp_path).root)
    assert {path.name for path in folder.iterdir()} == {
        folders.SUMS,
        *(f"{task}_{split}.jsonl" for task in ("wikitext", "gsm8k", "refusal") for split in SPLITS),
    }
    for path in folder.glob("*.jsonl"):
        ours, theirs = (
            [json.loads(line) for line in (data / path.name).read_text().splitlines()] for data in (folder, english)
        )
        assert len(ours) == 20
        assert ours[0].keys() == theirs[0].keys()


def test_a_language_that_there_is_not_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="speaks no 'de'; choose en or l2"):
        tiny(tmp_path).data_dir("de")


def test_damaged_evaluation_data_are_written_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tiny(tmp_path).data_dir()
    victim = folder / "gsm8k_test.jsonl"
    text = victim.read_text()
    victim.write_text(text[:50])
    with caplog.at_level(logging.WARNING):
        assert tiny(tmp_path).data_dir() == folder
    assert victim.read_text() == text
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("base_documents", 0, "family.recipe.base_documents is 0; it must be finite and above 0"),
        ("expert_lr", float("nan"), "family.recipe.expert_lr is nan; it must be finite and above 0"),
        ("base_lr", float("inf"), "family.recipe.base_lr is inf"),
        ("pre_replay", -0.1, "family.recipe.pre_replay is -0.1; it must be finite and at least 0"),
        (
            "hidden",
            30,
            "family.recipe.hidden is 30, which 4 heads of even size do not divide; choose a multiple of 8",
        ),
    ],
)
def test_a_value_out_of_range_is_refused_with_the_next_step(field: str, value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MiniFamily(**{field: value})  # type: ignore[arg-type]


def test_a_cache_that_cannot_be_made_is_refused_with_the_next_step(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"cannot make the cache folder .* set LATA_CACHE"):
        tiny(tmp_path / "file").ensure()


def test_a_training_that_fails_names_the_model_and_the_reason(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"training of base failed: ValueError: .*too few examples"):
        tiny(tmp_path, base_documents=5).ensure(progress=False)
    assert not list((tmp_path / "mini").glob(".draft*"))


def test_progress_off_a_terminal_is_one_line_a_model(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress({"base": 100, "pre": 50}, shown=True, title="mini family, seed 0")
    progress.update("base", 0.5, 2.0)
    progress.update("base", 1.0, 1.5)
    progress.finish("base")
    progress.close()
    assert capsys.readouterr().err == "mini family, seed 0: base trained, loss 1.500, 0 s so far\n"


def test_no_progress_is_silence(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress({"base": 100}, shown=False, title="")
    progress.update("base", 1.0, 1.5)
    progress.finish("base")
    progress.close()
    assert capsys.readouterr().err == ""
