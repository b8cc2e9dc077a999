"""Merging on disk: the bytes of a merge, what they do not depend on, and what is refused."""

from __future__ import annotations

import errno
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from folders import write
from loaded import Family, merge_tensors
from mounted import run_mounted
from omegaconf import OmegaConf
from random_models import NEEDED
from safetensors.torch import load_file

import lata
from experiments.config.profiles import profile
from lata.checkpoints import FolderCheckpoint
from lata.checkpoints.digests import tensor_digests, weights_digest
from lata.merging import on_disk
from lata.merging.request import Request
from lata.methods import methods
from lata.numerics.tensors import CHUNK
from lata.output.writer import Output, partial_folder
from lata.output.writing import ShardWriter
from lata.quantities import MEASURED, OUTSIDE
from lata.untrusted.plain_yaml import read_yaml

# The folders here hold weights alone.
pytestmark = pytest.mark.filterwarnings("ignore:.*no tokenizer beside its weights")

VARIANTS = [
    *((name, NEEDED.get(name, {})) for name in methods()),
    ("ties", {"variant": "mergekit"}),
    ("dare_ties", {"outside": "drop"}),
    ("ties", {"variant": "peft", "density": 0.3}),
    ("dare", {"variant": "mergekit", "drop_rate": 0.7}),
    ("dare", {"variant": "peft"}),
    ("dare_ties", {"variant": "mergekit"}),
    ("dare_ties", {"variant": "peft"}),
    ("lata_threshold", {"quantile": 0.5, "granularity": "module", "outside": "drop"}),
    ("lata_log", {"granularity": "tensor", "outside": "rank", "floor": 0.1, "ceiling": 0.9}),
]
IDS = ["-".join([name, *map(str, given.values())]) if name not in NEEDED else name for name, given in VARIANTS]


def model(seed: int, dtype: torch.dtype, like: dict[str, torch.Tensor] | None = None) -> dict[str, torch.Tensor]:
    """Weights of a decoder with two blocks, one tensor several chunks long; `like` moved a little."""
    shapes = {"model.embed_tokens.weight": (CHUNK // 8, 20), "model.norm.weight": (7,)}
    for block in range(2):
        shapes[f"model.layers.{block}.self_attn.q_proj.weight"] = (33, 20)
        shapes[f"model.layers.{block}.mlp.up_proj.weight"] = (40, 20)
        shapes[f"model.layers.{block}.input_layernorm.weight"] = (20,)
    generator = torch.Generator().manual_seed(seed)
    drawn = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    if like is None:
        return {name: tensor.to(dtype) for name, tensor in drawn.items()}
    return {name: (like[name].float() + 0.1 * tensor).to(dtype) for name, tensor in drawn.items()}


class Models:
    """A family in folders, and the same in memory."""

    def __init__(self, folder: Path, dtype: torch.dtype = torch.bfloat16) -> None:
        self.folder = folder
        base = model(0, dtype)
        pre = model(1, dtype, base)
        experts = {task: model(seed, dtype, pre) for seed, task in enumerate(("math", "code", "ua"), start=2)}
        self.tensors = {"base": base, "pre": pre, **experts}
        for name, tensors in self.tensors.items():
            write(folder / name, tensors)
        self.experts = {task: folder / task for task in experts}

    def merge(self, output: str, method: str = "ta", **options: object) -> Path:
        """Merge all experts; returns the output folder."""
        given = {"pre": self.folder / "pre", "base": self.folder / "base", "experts": self.experts, **options}
        return lata.merge(method=method, output=self.folder / output, **given).output  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    return Models(tmp_path_factory.mktemp("models"))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return {name: tensor for file in folder.glob("*.safetensors") for name, tensor in load_file(file).items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(
        a[n].dtype == b[n].dtype and torch.equal(a[n].view(torch.uint8), b[n].view(torch.uint8)) for n in a
    )


@pytest.mark.parametrize(
    ("method", "parameters", "dtype"),
    [
        *((*variant, dtype) for variant in VARIANTS for dtype in (torch.bfloat16, torch.float32)),
        *((name, {}, dtype) for name in ("ta", "ties") for dtype in (torch.float16, torch.float64)),
    ],
)
def test_the_files_hold_what_the_same_merge_in_memory_gives(
    method: str, parameters: dict, dtype: torch.dtype, tmp_path: Path
) -> None:
    made = Models(tmp_path, dtype)
    output = made.merge("out", method, lam=0.7, seed=5, **parameters)
    experts = {task: made.tensors[task] for task in made.experts}
    family = Family(made.tensors["pre"], experts, made.tensors["base"])
    merged = merge_tensors(made.tensors["pre"], family.direction(list(experts), method, seed=5, **parameters), 0.7)
    assert same(weights(output), merged.tensors)


@pytest.mark.parametrize(("method", "parameters"), VARIANTS, ids=IDS)
def test_blocks_threads_and_sharding_do_not_change_a_byte(
    models: Models, method: str, parameters: dict, tmp_path: Path
) -> None:
    once = models.merge(f"plain-{tmp_path.name}", method, threads=1, **parameters)
    sources = {"pre": str(models.folder / "pre"), "base": str(models.folder / "base")}
    for task in ("ua", "code", "math"):
        names = list(models.tensors[task])
        shards = [{n: models.tensors[task][n] for n in names[i::3]} for i in range(3)]
        sources[f"experts.{task}"] = str(write(tmp_path / task, *shards))
    request = Request(sources, method, parameters, shard_bytes=100_000)
    again = on_disk.run(request, tmp_path / "out", threads=4, block=2 * CHUNK).output
    assert len(list(again.glob("*.safetensors"))) > 1
    assert same(weights(again), weights(once))


def test_an_expert_twice_as_far_with_half_the_lam_of_its_own(models: Models, tmp_path: Path) -> None:
    pre = models.tensors["pre"]
    far = {n: (pre[n].double() + 2 * (t.double() - pre[n].double())) for n, t in models.tensors["math"].items()}
    write(tmp_path / "far", {n: t.float() for n, t in far.items()})
    plain = weights(models.merge("per-task-1", experts={"math": models.folder / "math"}))
    scaled = weights(models.merge("per-task-2", experts={"far": tmp_path / "far"}, lam={"far": 0.5}))
    for name, tensor in plain.items():
        torch.testing.assert_close(scaled[name], tensor, rtol=0.02, atol=1e-2)


def test_forgetting_subtracts_from_the_target(models: Models) -> None:
    output = models.merge("forgotten", target=models.folder / "ua", experts={"ua": models.folder / "ua"})
    for name, tensor in weights(output).items():
        torch.testing.assert_close(tensor, models.tensors["pre"][name], rtol=0, atol=0)


def test_integers_and_the_tied_head_are_not_merged(models: Models, tmp_path: Path) -> None:
    buffer = {"model.layers.0.position_ids": torch.arange(5)}
    for role in ("pre", "math"):
        tensors = {
            **models.tensors[role],
            **buffer,
            "lm_head.weight": models.tensors[role]["model.embed_tokens.weight"],
        }
        write(tmp_path / role, {n: t.clone() for n, t in tensors.items()}, config={"tie_word_embeddings": True})
    result = lata.merge(tmp_path / "pre", {"math": tmp_path / "math"}, output=tmp_path / "out")
    merged = weights(result.output)
    assert "lm_head.weight" not in merged
    assert merged["model.layers.0.position_ids"].tolist() == [0, 1, 2, 3, 4]
    assert any("lm_head.weight" in line for line in result.facts.warnings)


def test_common_rows_are_merged_and_the_rest_is_that_of_pre(models: Models, tmp_path: Path) -> None:
    tensors = dict(models.tensors["math"])
    name = "model.embed_tokens.weight"
    tensors[name] = torch.cat([tensors[name][:-3], tensors[name][-3:] * 0])[:-2].clone()
    write(tmp_path / "math", tensors)
    with pytest.raises(ValueError, match="vocab=common"):
        lata.merge(models.folder / "pre", {"math": tmp_path / "math"}, output=tmp_path / "no")
    output = lata.merge(models.folder / "pre", {"math": tmp_path / "math"}, output=tmp_path / "out", vocab="common")
    merged = weights(output.output)[name]
    assert torch.equal(merged[:-2], tensors[name])
    assert torch.equal(merged[-2:], models.tensors["pre"][name][-2:])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("role", ["pre", "math", "base"])
def test_an_input_that_is_not_finite_is_named_and_nothing_is_left(
    models: Models, tmp_path: Path, value: float, role: str
) -> None:
    tensors = {name: tensor.clone() for name, tensor in models.tensors[role].items()}
    tensors["model.layers.1.mlp.up_proj.weight"][3, 3] = value
    sources = {"pre": models.folder / "pre", "base": models.folder / "base", "math": models.folder / "math"}
    sources[role] = write(tmp_path / role, tensors)
    with pytest.raises(
        ValueError, match=r"layers\.1\.mlp\.up_proj\.weight holds values that are not finite"
    ) as caught:
        lata.merge(
            sources["pre"],
            {"math": sources["math"]},
            sources["base"],
            method="lata_linear",
            output=tmp_path / "out",
        )
    assert str(caught.value).startswith(f"{'experts.' * (role == 'math')}{role}: ")
    assert {path.name for path in tmp_path.iterdir()} == {role}


def test_an_input_that_is_not_finite_is_refused_even_if_its_digest_is_remembered(
    models: Models, tmp_path: Path
) -> None:
    from lata.checkpoints import open_checkpoint
    from lata.checkpoints.digests import digest

    tensors = {name: tensor.clone() for name, tensor in models.tensors["math"].items()}
    tensors["model.norm.weight"][2] = float("inf")
    folder = write(tmp_path / "math", tensors)
    with open_checkpoint(folder) as checkpoint:
        digest(checkpoint)
    with pytest.raises(ValueError, match=r"experts\.math: model\.norm\.weight holds values that are not finite"):
        lata.merge(models.folder / "pre", {"math": folder}, output=tmp_path / "out")


def test_an_interrupt_ends_a_pass_soon(models: Models) -> None:
    from lata.checkpoints import open_checkpoint
    from lata.engine.stream import Stream

    with open_checkpoint(models.folder / "pre") as pre:
        stream = Stream({"pre": pre, "start": pre}, list(pre.tensors), threads=2)
        spans = [stream.pieces("model.norm.weight")] * 10_000
        visited: list[int] = []

        def visit(span: list, scratch: object, state: None) -> None:
            visited.append(len(span))
            if len(visited) == 3:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            stream.run(spans, visit, lambda: None)
        stream.close()
    assert len(visited) < 100


def test_a_merge_that_is_not_finite_is_written_only_on_request(tmp_path: Path) -> None:
    for name, value in (("pre", 6e4), ("math", 6.5e4)):
        write(tmp_path / name, {"model.layers.0.w": torch.full((3,), value, dtype=torch.float16)})
    with pytest.raises(ValueError, match=r"unstable: model\.layers\.0\.w .* allow_unstable=true"):
        lata.merge(tmp_path / "pre", {"math": tmp_path / "math"}, output=tmp_path / "out", lam=3.0)
    assert not (tmp_path / "out").exists()
    result = lata.merge(
        tmp_path / "pre", {"math": tmp_path / "math"}, output=tmp_path / "out", lam=3.0, allow_unstable=True
    )
    assert not result.facts.finite
    assert "Unstable" in (result.output / "README.md").read_text()


def test_the_same_merge_has_the_same_digest_as_the_written_folder(models: Models) -> None:
    from lata.checkpoints import open_checkpoint
    from lata.checkpoints.digests import tensor_digests, weights_digest

    result = lata.merge(models.folder / "pre", models.experts, output=models.folder / "digested")
    with open_checkpoint(result.output) as checkpoint:
        assert weights_digest(checkpoint.tensors, tensor_digests(checkpoint)) == result.facts.digests["merged"]
    with open_checkpoint(models.folder / "math") as checkpoint:
        assert weights_digest(checkpoint.tensors, tensor_digests(checkpoint)) == result.facts.digests["experts.math"]


def command(models: Models, output: Path, *arguments: str) -> list[str]:
    experts = ", ".join(f"{task}: {folder}" for task, folder in models.experts.items())
    sources = [f"family.pre={models.folder / 'pre'}", f"family.base={models.folder / 'base'}"]
    door = [sys.executable, "-m", "experiments.merge", *sources, f"family.experts={{{experts}}}"]
    return [*door, f"output={output}", *arguments]


ROOT = Path(__file__).parents[2]


def test_the_recipe_makes_the_same_bytes_again(models: Models, tmp_path: Path) -> None:
    first = tmp_path / "first"
    subprocess.run(command(models, first, "method=lata_log", "lam=0.4", "shard_bytes=100000"), check=True, cwd=ROOT)
    again = [f"recipe={first / 'recipe.yaml'}", f"output={tmp_path / 'second'}"]
    subprocess.run([sys.executable, "-m", "experiments.merge", *again], check=True, cwd=ROOT)
    files = sorted(path.name for path in first.iterdir())
    assert sum(name.endswith(".safetensors") for name in files) > 1
    for name in files:
        assert (first / name).read_bytes() == (tmp_path / "second" / name).read_bytes(), name


def test_blocks_on_the_command_line_name_the_container_of_the_layers(models: Models, tmp_path: Path) -> None:
    written = []
    for words in (["blocks=model.layers"], []):
        out = tmp_path / f"out{len(written)}"
        subprocess.run(command(models, out, "method=lata_log", *words), check=True, cwd=ROOT, capture_output=True)
        written.append((out / "model.safetensors").read_bytes())
    assert written[0] == written[1]
    wrong = command(models, tmp_path / "wrong", "method=lata_log", "blocks=model.decoder")
    done = subprocess.run(wrong, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "blocks=model.decoder has no numbered children" in done.stderr
    assert not (tmp_path / "wrong").exists()


def test_a_recipe_refuses_other_weights(models: Models, tmp_path: Path) -> None:
    models.merge(f"recipe-{tmp_path.name}", experts={"math": models.folder / "math"})
    folder = models.folder / f"recipe-{tmp_path.name}"
    recipe = (folder / "recipe.yaml").read_text().replace(str(models.folder / "math"), str(models.folder / "code"))
    (tmp_path / "recipe.yaml").write_text(recipe)
    again = [f"recipe={tmp_path / 'recipe.yaml'}", f"output={tmp_path / 'out'}"]
    done = subprocess.run(
        [sys.executable, "-m", "experiments.merge", *again], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "experts.math has the weights" in done.stderr
    assert not (tmp_path / "out").exists()


KILLED = """
import os, signal, sys
from pathlib import Path
from lata.merging import on_disk
from lata.merging.request import Request
from lata.output.writer import Output

sources, output, moment = eval(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
calls = 0


def counted(function):
    def call(*arguments):
        global calls
        calls += 1
        if calls == moment:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments)
    return call


for name in ("write", "finish", "note", "publish"):
    setattr(Output, name, counted(getattr(Output, name)))
on_disk.run(Request(sources, "ties", shard_bytes=100_000), output)
"""


def test_a_merge_that_is_killed_again_and_again_ends_with_the_same_bytes(models: Models, tmp_path: Path) -> None:
    sources = {"pre": str(models.folder / "pre")}
    sources |= {f"experts.{task}": str(folder) for task, folder in models.experts.items()}
    whole = on_disk.run(Request(sources, "ties", shard_bytes=100_000), tmp_path / "whole").output
    output = tmp_path / "killed"
    kills = 0
    for moment in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10):
        done = subprocess.run([sys.executable, "-c", KILLED, repr(sources), str(output), str(moment)], cwd=ROOT)
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL
        assert not output.exists()
        kills += 1
    assert kills >= 3
    if not output.exists():
        on_disk.run(Request(sources, "ties", shard_bytes=100_000), output)
    assert sorted(p.name for p in output.iterdir()) == sorted(p.name for p in whole.iterdir())
    for path in whole.glob("model*"):
        assert path.read_bytes() == (output / path.name).read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["killed", "whole"]


def test_a_merge_that_goes_on_takes_no_statistic_again(
    models: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lata.engine.vectors import TaskVectors

    sources = {"pre": str(models.folder / "pre"), "experts.math": str(models.folder / "math")}
    sources["experts.code"] = str(models.folder / "code")
    request = Request(sources, "ties")
    taken: list[int] = []
    limits = TaskVectors._limits
    monkeypatch.setattr(TaskVectors, "_limits", lambda *a: taken.append(1) or limits(*a))

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ShardWriter, "write", interrupt)
        with pytest.raises(KeyboardInterrupt):
            on_disk.run(request, tmp_path / "out")
    on_disk.run(request, tmp_path / "out")
    assert taken == [1]


def test_a_byte_that_flips_between_two_attempts_is_not_published(
    models: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = {"pre": str(models.folder / "pre"), "experts.math": str(models.folder / "math")}
    request = Request(sources, "ties", shard_bytes=100_000)
    whole = on_disk.run(request, tmp_path / "whole")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Output, "publish", interrupt)
        with pytest.raises(KeyboardInterrupt):
            on_disk.run(request, tmp_path / "out")
    shards = sorted((partial_folder(tmp_path / "out") / "model").glob("*.safetensors"))
    assert len(shards) > 1
    data = bytearray(shards[0].read_bytes())
    data[-1] ^= 1
    shards[0].write_bytes(data)
    result = on_disk.run(request, tmp_path / "out")
    assert [line.partition(" is no longer")[0] for line in result.notices] == [str(shards[0])]
    assert whole.notices == ()
    for path in whole.output.iterdir():
        assert path.read_bytes() == (result.output / path.name).read_bytes(), path.name
    with FolderCheckpoint(result.output) as checkpoint:
        assert weights_digest(checkpoint.tensors, tensor_digests(checkpoint)) == result.facts.digests["merged"]


def test_what_fails_at_the_last_step_costs_no_weights(
    models: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = Request({"pre": str(models.folder / "pre"), "experts.math": str(models.folder / "math")})

    def busy(*_: object) -> None:
        raise OSError(errno.EBUSY, "Device or resource busy", str(tmp_path / "out"))

    with monkeypatch.context() as patch:
        patch.setattr(Output, "_appear", busy)
        with pytest.raises(ValueError, match=r"busy .*; the finished weights are kept in .*/\.out\.partial,"):
            on_disk.run(request, tmp_path / "out")
    with monkeypatch.context() as patch:
        patch.setattr(ShardWriter, "write", busy)
        on_disk.run(request, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_empty_mount_point_can_be_the_output_of_the_command(models: Models, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    words = ["method=ta", f"family.pre={models.folder / 'pre'}", f"family.experts={{math: {models.folder / 'math'}}}"]
    script = (
        "import os, subprocess, sys\n"
        "os.mkdir(sys.argv[1] + '/lost+found')\n"
        "done = subprocess.run([sys.executable, '-m', 'experiments.merge', *sys.argv[2:], 'output=' + sys.argv[1]])\n"
        "print(*sorted(os.listdir(sys.argv[1])))\n"
        "sys.exit(done.returncode)"
    )
    done = run_mounted(tmp_path / "out", "16m", script, *words)
    assert done.returncode == 0, done.stderr
    wanted = "README.md config.json lost+found model.safetensors recipe.yaml"
    assert done.stdout.splitlines()[-1] == wanted


WRONG: dict[str, tuple[Callable[[Models, Path], dict], str]] = {
    "no expert": (lambda m, t: {"experts": {}}, "no expert is given"),
    "an unknown method": (lambda m, t: {"method": "tise"}, "did you mean 'ties'"),
    "an unknown parameter": (lambda m, t: {"method": "ties", "densty": 0.1}, "did you mean 'density'"),
    "lam that is not finite": (lambda m, t: {"lam": float("inf")}, "must be a finite number"),
    "a negative lam": (lambda m, t: {"lam": -1.0}, "lam is -1.0; it must be at least 0: mode=forget takes"),
    "lam for another task": (lambda m, t: {"lam": {"mth": 1.0}}, "but the experts are"),
    "one lam a task for the TIES of the paper": (
        lambda m, t: {"method": "ties", "lam": {"math": 1, "code": 1, "ua": 1}},
        "choose variant mergekit or peft",
    ),
    "no base": (lambda m, t: {"method": "lata_log", "base": None}, "give the base model"),
    "no such folder": (lambda m, t: {"pre": t / "nothing"}, "nothing"),
    "an output that exists": (lambda m, t: {"output": m.folder / "pre"}, "exists and is not empty"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_request_is_refused_with_its_reason(models: Models, tmp_path: Path, case: str) -> None:
    options, reason = WRONG[case]
    given = {"pre": models.folder / "pre", "base": models.folder / "base", "experts": models.experts}
    given |= {"output": tmp_path / "out", **options(models, tmp_path)}
    with pytest.raises(ValueError, match=reason):
        lata.merge(**given)
    assert not (tmp_path / "out").exists()


def test_everything_that_is_wrong_is_reported_together(models: Models, tmp_path: Path) -> None:
    broken = dict(models.tensors["math"])
    del broken["model.norm.weight"]
    broken["model.layers.0.mlp.up_proj.weight"] = torch.zeros(3, 3, dtype=torch.bfloat16)
    write(tmp_path / "math", {**broken, "extra": torch.zeros(1)})
    with pytest.raises(ValueError, match=r"norm\.weight") as caught:
        lata.merge(models.folder / "pre", {"math": tmp_path / "math"}, output=tmp_path / "out")
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert any("40" in line and "20" in line and "experts.math" in line for line in lines), lines


def test_a_target_without_forgetting_is_refused(models: Models, tmp_path: Path) -> None:
    given = command(models, tmp_path / "out", "dry_run=true", f"family.target={models.folder / 'ua'}")
    done = subprocess.run(given, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "mode=learn takes none" in done.stderr


def test_the_door_prints_the_plan_and_stops_on_a_dry_run(models: Models, tmp_path: Path) -> None:
    done = subprocess.run(
        command(models, tmp_path / "out", "dry_run=true"), cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "peak memory" in done.stdout
    assert not (tmp_path / "out").exists()


def test_a_merge_by_similarity_says_what_similarity_leaves_open(models: Models, tmp_path: Path) -> None:
    sources = {name: str(models.folder / name) for name in ("base", "pre")}
    sources |= {f"experts.{task}": str(models.folder / task) for task in ("math", "code")}
    facts = on_disk.run(Request(sources, "lata_linear"), tmp_path / "out").facts
    experts = {task: models.folder / task for task in ("math", "code")}
    table = lata.similarity_tables(models.folder / "base", models.folder / "pre", experts, ("block",))["block"]
    assert facts.similarity_LT is not None
    assert facts.cosine_LT is not None
    assert facts.similarity_LT.values_LT == table["similarity"].to_numpy().tolist()
    assert facts.cosine_LT.values_LT == table["cosine"].to_numpy().tolist()
    assert facts.outside == table.attrs["outside"]
    assert all(share > 0.5 for share in facts.outside.values())


def test_similarity_is_a_table_of_layers_and_tasks(models: Models) -> None:
    table = lata.similarity(models.folder / "base", models.folder / "pre", models.experts)
    assert list(table.columns) == ["code", "math", "ua"]
    assert list(table.index) == ["0", "1"]
    experts = {task: models.tensors[task] for task in models.experts}
    measured = Family(models.tensors["pre"], experts, models.tensors["base"]).similarity(list(experts))
    np.testing.assert_array_equal(table.to_numpy(), measured.values_LT)


def test_several_granularities_take_one_pass_and_each_is_the_table_of_its_own(
    models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lata.engine.stream import Stream

    given = (models.folder / "base", models.folder / "pre", models.experts)
    alone = {g: lata.similarity(*given, granularity=g) for g in ("block", "module", "tensor")}
    passes: list[int] = []
    run = Stream.run
    monkeypatch.setattr(Stream, "run", lambda *a: passes.append(1) or run(*a))
    together = lata.similarity_tables(*given, threads=3)
    assert passes == [1]
    assert list(together) == list(alone)
    for granularity, table in together.items():
        pd.testing.assert_frame_equal(table["similarity"], alone[granularity], check_exact=True)
    ranked = lata.similarity_tables(*given, ("tensor", "block"), outside="rank")
    assert list(ranked) == ["tensor", "block"]
    pd.testing.assert_frame_equal(
        ranked["block"]["similarity"],
        lata.similarity(*given, granularity="block", outside="rank"),
        check_exact=True,
    )
    with pytest.raises(ValueError, match="granularity is 'row'; choose one of block"):
        lata.similarity_tables(*given, ("block", "row"))


FORGETTING = ("ta", "lata_threshold", "lata_log", "lata_linear", "safety_arithmetic")


@pytest.mark.parametrize("method", FORGETTING)
def test_the_door_makes_a_target_forget(models: Models, tmp_path: Path, method: str) -> None:
    from experiments.config.merge import merge_plan
    from experiments.merge import merge

    schema = OmegaConf.create({"method": {"name": method}, "lam": 0.7, "mode": "forget", "output": f"{tmp_path}/out"})
    family = {role: str(models.folder / role) for role in ("base", "pre")}
    family |= {"target": str(models.folder / "math"), "experts": {"ua": str(models.folder / "ua")}}
    merge(merge_plan(OmegaConf.merge(schema, {"family": family})))
    pre, target = models.tensors["pre"], models.tensors["math"]
    held = Family(pre, {"ua": models.tensors["ua"]}, models.tensors["base"])
    expected = merge_tensors(target, held.direction(["ua"], method), -0.7)
    assert same(weights(tmp_path / "out"), expected.tensors)
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert f"# {method} forgets ua\n" in card
    assert "θ = θ_target − λ · D" in card
    assert ("its second, which steers activations, is left out" in card) == (method == "safety_arithmetic")


def test_a_recipe_with_a_profile_from_a_table_makes_the_same_bytes_again(models: Models, tmp_path: Path) -> None:
    from experiments.config.merge import merge_plan
    from experiments.merge import merge

    table = tmp_path / "other.csv"
    lata.similarity(models.folder / "base", models.folder / "pre", models.experts).to_csv(table)
    schema = OmegaConf.create({"method": {"name": "lata_transferred", "profile": str(table)}, "lam": 0.7})
    family = {"pre": str(models.folder / "pre"), "experts": {t: str(folder) for t, folder in models.experts.items()}}
    merge(merge_plan(OmegaConf.merge(schema, {"family": family, "output": f"{tmp_path}/first"})))
    recipe = tmp_path / "first" / "recipe.yaml"
    assert list(read_yaml(recipe)["method"]["profile"]) == ["code", "math", "ua"]
    lata.merge_recipe(recipe, output=tmp_path / "second")
    own = models.merge(f"own-{tmp_path.name}", "lata_linear", lam=0.7)
    for folder in (tmp_path / "second", own):
        assert same(weights(tmp_path / "first"), weights(folder))
    card = (tmp_path / "first" / "README.md").read_text(encoding="utf-8")
    assert "| `profile` | code, math and ua on 2 blocks, numbers in `recipe.yaml` |" in card
    assert "Layer-Aware" not in card.split("## Inputs")[0]


def test_analyze_prints_and_writes_that_table(models: Models, tmp_path: Path) -> None:
    analyze = [sys.executable, "-m", "experiments.analyze", *command(models, tmp_path / "table.csv")[3:]]
    done = subprocess.run(analyze, cwd=ROOT, capture_output=True, text=True, check=True)
    columns = [f"{name} {task}" for name in MEASURED for task in ("code", "math", "ua")]
    table = pd.read_csv(tmp_path / "table.csv")
    assert list(table.columns) == ["layer", *columns]
    assert table["layer"].tolist() == ["0", "1", OUTSIDE]
    assert table.filter(like="share").sum().to_numpy() == pytest.approx(1, abs=1e-12)
    s = lata.similarity(models.folder / "base", models.folder / "pre", models.experts)
    np.testing.assert_array_equal(table[columns[:3]].to_numpy()[:2], s.to_numpy())
    for task, own in profile(tmp_path / "table.csv"):
        assert own == tuple(s[task])
    shown = done.stdout.splitlines()
    assert shown[0].split() == ["similarity", "cosine", "share"]
    assert shown[4].split()[:4] == [OUTSIDE, "–", "–", "–"]


def test_export_writes_a_mergekit_file_alone_or_beside_the_merge(models: Models, tmp_path: Path) -> None:
    alone = command(models, tmp_path / "merge.yaml", "export=mergekit", "method=lata_linear")
    subprocess.run(alone, cwd=ROOT, check=True, capture_output=True)
    beside = command(models, tmp_path / "out", "export=mergekit", "method=lata_linear")
    subprocess.run(beside, cwd=ROOT, check=True, capture_output=True)
    assert (tmp_path / "merge.yaml").read_text() == (tmp_path / "out" / "mergekit.yaml").read_text()
    refused = command(models, tmp_path / "no", "export=mergekit", "method=ties")
    done = subprocess.run(refused, cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert "variant=mergekit" in done.stderr


def test_the_index_of_a_sharded_merge_names_every_tensor(models: Models, tmp_path: Path) -> None:
    output = models.merge(f"sharded-{tmp_path.name}", shard_bytes=100_000)
    index = json.loads((output / "model.safetensors.index.json").read_text())
    assert set(index["weight_map"]) == set(models.tensors["pre"])
    shutil.rmtree(output)
