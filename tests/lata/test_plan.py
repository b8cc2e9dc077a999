from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from folders import write

from lata.checkpoints import FolderCheckpoint
from lata.planning import Inputs, Plan, Rates, make_plan

CONFIG = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "num_hidden_layers": 2, "hidden_size": 4}
Q = "model.layers.0.self_attn.q_proj.weight"
EMBEDDINGS = "model.embed_tokens.weight"


def tensors(layers: int = 2, rows: int = 7, dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    made = {
        EMBEDDINGS: torch.zeros(rows, 4),
        "lm_head.weight": torch.zeros(rows, 4),
        "model.norm.weight": torch.ones(4),
    }
    for layer in range(layers):
        made[f"model.layers.{layer}.self_attn.q_proj.weight"] = torch.zeros(4, 4)
        made[f"model.layers.{layer}.input_layernorm.weight"] = torch.zeros(4)
    return {name: tensor.to(dtype) for name, tensor in made.items()}


def tokenizer(count: int = 7, **changed: int) -> str:
    vocab = {f"t{number}": number for number in range(count)}
    return json.dumps({"model": {"vocab": {**vocab, **changed}, "merges": []}})


class Family:
    """Checkpoints in one folder, and plans over them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.models: dict[str, FolderCheckpoint] = {}

    def add(self, label: str, stored: Mapping[str, torch.Tensor] | None = None, **config: Any) -> FolderCheckpoint:
        folder = write(self.root / label, stored or tensors(), config={**CONFIG, **config})
        if not (folder / "tokenizer.json").exists():
            (folder / "tokenizer.json").write_text(tokenizer())
        self.models[label] = FolderCheckpoint(folder, label)
        return self.models[label]

    def plan(self, *, needs_base: bool = False, output: Path | None = None, **options: Any) -> Plan:
        experts = {name: model for name, model in self.models.items() if name not in ("pre", "base", "target")}
        inputs = Inputs(self.models["pre"], experts, self.models.get("base"), self.models.get("target"))
        return make_plan(inputs, passes=2, needs_base=needs_base, output=output, **options)


@pytest.fixture
def family(tmp_path: Path) -> Family:
    made = Family(tmp_path / "family")
    for label in ("pre", "math", "code", "base"):
        made.add(label)
    return made


def test_a_sound_family_has_no_problems_and_its_numbers_are_right(family: Family, tmp_path: Path) -> None:
    plan = family.plan(needs_base=True, output=tmp_path / "out", rates=Rates(read=1000, compute=2000, write=10))
    count = 2 * 7 * 4 + 4 + 2 * (16 + 4)
    assert plan.problems == plan.warnings == plan.copied == ()
    assert plan.merged == tuple(sorted(tensors()))
    assert (plan.layers, plan.parameters, plan.tensors) == (2, count, 7)
    assert plan.read_bytes == 4 * count * (2 * 3 + 1)
    assert plan.write_bytes == 4 * count + len(tokenizer())
    assert plan.seconds == max(plan.read_bytes / 1000, plan.write_bytes / 10)
    assert plan.free_bytes > 10**6
    assert plan.rows == {}


def test_the_description_gives_every_number_in_human_units(family: Family, tmp_path: Path) -> None:
    lines = [line.split(maxsplit=1) for line in family.plan(output=tmp_path / "out").describe().splitlines()]
    assert ["tensors", "7 merged"] in lines
    assert ["parameters", "100"] in lines
    assert ["layers", "2"] in lines
    assert ["read", "2400 bytes"] in lines
    assert ["time", "about 1 s"] in lines
    assert [line[0] for line in lines] == ["tensors", "parameters", "layers", "read", "write", "peak", "free", "time"]


def test_without_output_nothing_is_written(family: Family) -> None:
    plan = family.plan()
    assert (plan.write_bytes, plan.free_bytes) == (0, 0)
    assert "write" not in plan.describe()


def test_a_missing_an_extra_and_a_differently_shaped_tensor_are_reported_together(family: Family) -> None:
    stored = {**tensors(), "model.extra.weight": torch.zeros(3), Q: torch.zeros(4, 5)}
    del stored["model.norm.weight"]
    family.add("math", stored)
    plan = family.plan()
    assert plan.problems == (
        "model.norm.weight: F32 [4] in pre, missing from math; give models of one family, complete",
        "model.extra.weight: F32 [3] in math, missing from pre; give models of one family, complete",
        f"{Q}: F32 [4, 4] in pre, F32 [4, 5] in math; give models of one family",
    )
    assert "model.norm.weight" not in plan.merged
    assert "problem" in plan.describe()


def test_long_lists_are_cut_and_counted(family: Family) -> None:
    family.add("math", {**tensors(), **{f"extra{number}": torch.zeros(1) for number in range(57)}})
    problems = family.plan().problems
    assert len(problems) == 21
    assert problems[-1] == "and 37 more tensors are missing from pre; give models of one family, complete"


def test_another_number_of_layers_is_one_line(family: Family) -> None:
    family.add("math", tensors(layers=3), num_hidden_layers=3)
    assert family.plan().problems == (
        "pre has 2 layers (LlamaForCausalLM), math 3 layers (LlamaForCausalLM); give models of one architecture",
    )


def test_another_architecture_is_one_line(family: Family) -> None:
    family.add("math", {"h.0.a": torch.zeros(1), "h.1.a": torch.zeros(1)}, architectures=["GPT2LMHeadModel"])
    assert family.plan().problems == (
        "pre has 2 layers (LlamaForCausalLM), math 2 layers (GPT2LMHeadModel); give models of one architecture",
    )


def test_names_that_differ_by_one_prefix_are_said_so(family: Family) -> None:
    family.add("math", {name.removeprefix("model."): tensor for name, tensor in tensors().items()})
    assert family.plan().problems == (
        "tensors of pre are named model.…, those of math are not; load and save math with transformers",
    )


def test_a_float_where_the_other_has_integers_is_a_problem(family: Family) -> None:
    family.add("math", {**tensors(), "model.norm.weight": torch.ones(4, dtype=torch.int64)})
    (problem,) = family.plan().problems
    assert problem.startswith("model.norm.weight: F32 [4] in pre, I64 [4] in math; only floats can be merged")


def test_integer_buffers_are_copied_and_must_agree_in_shape(family: Family) -> None:
    for label in ("pre", "math", "code"):
        family.add(label, {**tensors(), "position_ids": torch.arange(5), "mask": torch.tensor([True])})
    assert family.plan().copied == ("mask", "position_ids")
    family.add("math", {**tensors(), "position_ids": torch.arange(6)})
    plan = family.plan()
    assert plan.problems == ("position_ids: I64 [5] in pre, I64 [6] in math; give models of one family",)
    assert "mask: only in pre; it is not merged" in plan.warnings


@pytest.mark.parametrize("key", ["hidden_size", "num_attention_heads", "head_dim"])
def test_config_values_that_shapes_depend_on_are_problems(family: Family, key: str) -> None:
    family.add("pre", **{key: 8})
    family.add("math", **{key: 16})
    assert f"config.json: {key} is 8 in pre, 16 in math; give models of one family" in family.plan().problems


def test_config_values_that_change_the_meaning_are_warnings(family: Family) -> None:
    family.add("math", rope_theta=5e5, rms_norm_eps=1e-5, rope_scaling={"type": "linear", "factor": 2})
    family.add("pre", rope_theta=1e4, rms_norm_eps=1e-6)
    family.add("code", rope_parameters={"rope_theta": 1e4, "rope_type": "default"}, rms_norm_eps=1e-6)
    plan = family.plan()
    assert plan.problems == ()
    assert plan.warnings == (
        "config.json: rms_norm_eps is 1e-06 in pre, 1e-05 in math",
        "config.json: rope_theta is 10000.0 in pre, 500000.0 in math",
        "config.json: rope_scaling is None in pre, {'rope_type': 'linear', 'factor': 2} in math",
    )


def test_a_vocabulary_with_more_rows_is_a_problem_that_names_the_way_out(family: Family) -> None:
    family.add("math", tensors(rows=9))
    plan = family.plan()
    assert plan.problems == tuple(
        f"{name}: F32 [7, 4] in pre, F32 [9, 4] in math; set vocab=common to merge the 7 rows that both have"
        for name in ("lm_head.weight", EMBEDDINGS)
    )


def test_common_rows_are_merged_where_tokens_agree(family: Family) -> None:
    family.add("math", tensors(rows=9))
    (family.root / "math" / "tokenizer.json").write_text(tokenizer(9))
    family.add("code", tensors(rows=6))
    plan = family.plan(vocab="common")
    assert plan.problems == ()
    assert plan.rows == {EMBEDDINGS: 6, "lm_head.weight": 6}
    assert "shared rows" in plan.describe()


def test_common_rows_that_mean_other_tokens_are_a_problem(family: Family) -> None:
    family.add("math", tensors(rows=9))
    (family.root / "math" / "tokenizer.json").write_text(tokenizer(9, t0=1, t1=0))
    assert family.plan(vocab="common").problems == (
        "tokenizers: number 0 is 't0' in pre and 't1' in math, and 1 more numbers differ; "
        "give models with one tokenizer",
    )


def test_tokenizers_that_differ_are_a_problem(family: Family) -> None:
    (family.root / "code" / "tokenizer.json").write_text(tokenizer(8))
    assert family.plan().problems == (
        "tokenizers: code has 't7' (7), which pre lacks; give models with one tokenizer, or set vocab=common",
    )
    assert family.plan(vocab="common").problems == ()


def test_added_tokens_of_other_names_are_merged_where_the_advice_is_followed(family: Family) -> None:
    def named(label: str, *added: str) -> None:
        content = json.loads(tokenizer(5))
        content["added_tokens"] = [{"id": 5 + place, "content": token} for place, token in enumerate(added)]
        (family.root / label / "tokenizer.json").write_text(json.dumps(content))

    for label, added in {"pre": "box", "code": "box", "math": "think"}.items():
        named(label, f"<{added}>", f"</{added}>")
    problem = (
        "tokenizers: number 5 is '<box>' in pre and '<think>' in math, and 1 more numbers differ; give models wi"
    )
    assert family.plan().problems == (
        f"{problem}th one tokenizer, or set vocab=common to take added tokens of other names for the same",
    )
    plan = family.plan(vocab="common")
    assert plan.problems == ()
    assert plan.warnings == (
        "tokenizers: added tokens of pre have other names in math (5 '<box>' → '<think>', 6 '</box>' → '</think>'); "
        "their rows are merged all the same",
    )
    content = json.loads(tokenizer(5, t0=1, t1=0))
    content["added_tokens"] = [{"id": 5, "content": "<think>"}]
    (family.root / "math" / "tokenizer.json").write_text(json.dumps(content))
    assert family.plan().problems[0].endswith("give models with one tokenizer")


def test_a_model_without_a_tokenizer_is_not_compared_but_named(family: Family) -> None:
    (family.root / "code" / "tokenizer.json").unlink()
    assert family.plan().warnings == ("code has no tokenizer beside its weights: tokens are not compared",)


def test_an_ignored_head_is_a_warning_where_all_tie_and_explains_itself_where_one_does(family: Family) -> None:
    reason = f"config.json ties it to {EMBEDDINGS}"
    family.add("math", tie_word_embeddings=True)
    assert (
        f"lm_head.weight: F32 [7, 4] in pre, missing from math ({reason}); give models" in family.plan().problems[0]
    )
    for label in ("pre", "code"):
        family.add(label, tie_word_embeddings=True)
    plan = family.plan()
    assert plan.problems == ()
    assert plan.warnings == tuple(
        f"{label}: lm_head.weight is ignored: {reason}" for label in ("pre", "code", "math")
    )


def test_weights_with_fewer_layers_than_their_config_says_are_incomplete(family: Family) -> None:
    family.add("pre", num_hidden_layers=3)
    assert "pre: config.json says 3 layers, the weights have 2; fetch the missing files" in family.plan().problems


def test_mixed_dtypes_are_pointed_out(family: Family) -> None:
    family.add("math", tensors(dtype=torch.bfloat16))
    assert family.plan().warnings == ("dtypes are mixed (pre F32, code F32, math BF16); the result has those of pre",)


def test_the_same_model_twice_is_pointed_out(family: Family) -> None:
    family.models["math"] = FolderCheckpoint(family.root / "pre", "math")
    family.models["twin"] = FolderCheckpoint(family.root / "code", "twin")
    assert family.plan().warnings == (
        "math is the same model as pre: their difference is zero",
        "code and twin are the same model",
    )


def test_layers_need_a_base_and_numbered_blocks(family: Family) -> None:
    del family.models["base"]
    assert family.plan(needs_base=True).problems == (
        "layers are compared with θ_base, which is not given; give base",
    )
    for label in ("pre", "math", "code", "base"):
        family.add(label, {"a.weight": torch.zeros(2)})
    (problem,) = family.plan(needs_base=True).problems
    assert problem.startswith(
        "pre: no tensor has a numbered block in its name, like model.layers.0.…; or choose a method"
    )
    assert family.plan().problems == ()


def test_a_base_that_is_not_needed_is_not_looked_at(family: Family) -> None:
    family.add("base", {"a": torch.zeros(1)}, architectures=["Other"])
    assert family.plan().problems == ()


def test_the_target_of_forgetting_is_compared_and_gives_the_dtypes_and_rows(family: Family) -> None:
    family.add("target", tensors(rows=9, dtype=torch.bfloat16))
    assert "[7, 4] in pre, BF16 [9, 4] in target" in family.plan().problems[0]
    plan = family.plan(vocab="common")
    assert plan.rows == {EMBEDDINGS: 7, "lm_head.weight": 7}
    assert plan.parameters == sum(tensor.numel() for tensor in tensors(rows=9).values())
    assert "the result has those of target" in plan.warnings[-1]


def test_a_vocab_that_is_no_choice_is_refused(family: Family) -> None:
    with pytest.raises(ValueError, match="vocab is 'all'; choose one of error, common"):
        family.plan(vocab="all")


# The output


def test_an_output_that_holds_something_is_a_problem(family: Family, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    assert family.plan(output=out).problems == ()
    (out / "file").write_text("")
    assert family.plan(output=out).problems == (
        f"output {out} exists and is not empty; choose another folder or remove it",
    )
    assert family.plan(output=out / "file").problems == (f"output {out / 'file'} is a file; choose another folder",)
    assert family.plan(output=out / "file" / "deep").problems == (
        f"output {out / 'file' / 'deep'} cannot be made: {out / 'file'} is a file; choose another folder",
    )


def test_an_output_inside_an_input_is_a_problem(family: Family) -> None:
    inside = family.root / "math" / "merged"
    assert family.plan(output=inside).problems == (
        f"output {inside} is inside the input {family.root / 'math'}; choose another folder",
    )


def test_an_output_where_nothing_can_be_written_is_a_problem(
    family: Family, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)
    out = tmp_path / "a" / "b"
    assert family.plan(output=out).problems == (
        f"output {out} cannot be made: {tmp_path} is not writable; choose another folder",
    )


def test_a_disk_without_room_is_a_problem_unless_an_unfinished_attempt_holds_it(
    family: Family, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage._replace(free=100))
    out = tmp_path / "out"
    needed = round(1.01 * family.plan(output=out).write_bytes)
    assert family.plan(output=out).problems == (
        f"output {out} needs {needed} bytes and its disk has 100 bytes free; make room or choose another folder",
    )
    partial = tmp_path / ".out.partial"
    partial.mkdir()
    (partial / "model.safetensors").write_bytes(bytes(8192))
    assert family.plan(output=out).problems == ()
