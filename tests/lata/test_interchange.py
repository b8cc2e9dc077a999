"""The exported mergekit configurations, read by a small model of what mergekit does with one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from lata.output.documents.facts import Facts
from lata.output.documents.interchange import mergekit_yaml

TIES = {"variant": "mergekit", "density": 0.2}
OUTSIDE = ["model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"]
INSIDE = ["input_layernorm.weight", "self_attn.q_proj.weight", "mlp.up_proj.weight"]
NAMES = OUTSIDE + [f"model.layers.{layer}.{name}" for layer in range(12) for name in INSIDE]


def facts(method: str = "ta", parameters: Mapping[str, Any] | None = None, **rest: Any) -> Facts:
    """A merge of org/math and org/code; `target` makes it forget."""
    sources = {"pre": "org/pre", "base": "org/base", "experts.math": "org/math", "experts.code": "org/code"}
    if "target" in rest:
        sources["target"] = rest.pop("target")
    values = {
        "method": method,
        "parameters": {"outside": "keep", **(parameters or {})},
        "lam": 1.0,
        "mode": "forget" if "target" in sources else "learn",
        "seed": None,
        "equation": "",
        "paper": "",
        "sources": sources,
        "digests": {},
        "distance": 1.0,
        "finite": True,
        "parameters_count": 1,
        "dtypes": {"BF16": 1, "I64": 1},
    }
    return Facts(**{**values, **rest})


def export(*args: Any, weights: Mapping[str, Mapping[str, float]] | None = None, **kwargs: Any) -> Any:
    """The exported configuration, as mergekit parses it."""
    return yaml.safe_load(mergekit_yaml(facts(*args, **kwargs), weights))


def evaluate(setting: Any, name: str) -> float:
    """A setting's value for tensor `name`: of a list, the first entry whose filter is a part of the name."""
    if not isinstance(setting, list):
        return float(setting)
    for entry in setting:
        if "filter" not in entry or entry["filter"] in name:
            return float(entry["value"])
    raise AssertionError(f"no value for {name}")


def exported_weights(configuration: Any) -> dict[str, dict[str, float]]:
    return {
        model["model"]: {name: evaluate(model["parameters"]["weight"], name) for name in NAMES}
        for model in configuration["models"]
    }


def weights_by(key: Any) -> dict[str, dict[str, float]]:
    """Different weights for different `key` (a function of the name) and task."""
    keys = sorted({key(name) for name in NAMES})
    return {
        task: {name: (keys.index(key(name)) + shift) / 7 for name in NAMES}
        for task, shift in (("math", 0), ("code", 3))
    }


def block(name: str) -> str:
    return name.split(".")[2] if ".layers." in name else "outside"


def test_ta_is_task_arithmetic_in_fp32_rounded_once() -> None:
    assert export(lam=0.7) == {
        "merge_method": "task_arithmetic",
        "base_model": "org/pre",
        "models": [
            {"model": "org/code", "parameters": {"weight": 1.0}},
            {"model": "org/math", "parameters": {"weight": 1.0}},
        ],
        "parameters": {"normalize": False, "lambda": 0.7},
        "dtype": "float32",
        "out_dtype": "bfloat16",
    }


def test_ta_half_halves_the_weights() -> None:
    assert [model["parameters"]["weight"] for model in export("ta_half")["models"]] == [0.5, 0.5]


def test_ties_and_dare_carry_the_settings_of_their_variant() -> None:
    ties = export("ties", TIES)
    assert (ties["merge_method"], ties["parameters"]) == (
        "ties",
        {"normalize": True, "rescale": False, "lambda": 1.0},
    )
    assert ties["models"][0]["parameters"] == {"weight": 1.0, "density": 0.2}
    for method, theirs in (("dare", "dare_linear"), ("dare_ties", "dare_ties")):
        dare = export(method, {"variant": "mergekit", "drop_rate": 0.9, "density": 0.2})
        assert dare["merge_method"] == theirs
        assert dare["parameters"] == {"normalize": False, "rescale": True, "lambda": 1.0}
        assert dare["models"][0]["parameters"] == {"weight": 1.0, "density": 0.1}


@pytest.mark.parametrize("variant", ["paper", "peft"])
@pytest.mark.parametrize("method", ["ties", "dare", "dare_ties"])
def test_other_variants_are_refused_and_the_right_one_named(method: str, variant: str) -> None:
    with pytest.raises(ValueError, match=rf"no '{method}' of the variant '{variant}': choose variant=mergekit"):
        export(method, {"variant": variant, "density": 0.2, "drop_rate": 0.5})


@pytest.mark.parametrize("method", ["ties", "dare", "dare_ties"])
def test_trimming_and_masks_of_the_blocks_alone_have_no_export(method: str) -> None:
    with pytest.raises(ValueError, match=rf"no '{method}' of the blocks alone \(outside=drop\): merge it here"):
        export(method, {"variant": "mergekit", "density": 0.2, "drop_rate": 0.5, "outside": "drop"})


@pytest.mark.parametrize(
    "key",
    [
        block,
        lambda name: block(name) + name.split(".")[-2].split("_")[-1],
        lambda name: name,
        lambda name: name if name in OUTSIDE else block(name),
    ],
    ids=["block", "module", "tensor", "outside ranked"],
)
def test_every_tensor_gets_exactly_its_weight(key: Any) -> None:
    weights = weights_by(key)
    assert exported_weights(export("lata_linear", weights=weights)) == {
        "org/math": weights["math"],
        "org/code": weights["code"],
    }


def test_a_block_with_one_weight_needs_one_filter() -> None:
    setting = export("lata_linear", weights=weights_by(block))["models"][0]["parameters"]["weight"]
    assert [entry.get("filter") for entry in setting] == [*(f"model.layers.{i}." for i in range(12)), None]


def test_an_even_weight_is_one_number() -> None:
    even = {task: dict.fromkeys(NAMES, 1 / 3) for task in ("math", "code")}
    assert export("depth_linear", weights=even)["models"][0]["parameters"] == {"weight": 1 / 3}


def test_a_lambda_for_each_task_goes_into_the_weights() -> None:
    lam = {"math": 0.25, "code": -2.0}
    for method, halved in (("ta", 1), ("ta_half", 2), ("ties", 1), ("dare_ties", 1)):
        configuration = export(method, {**TIES, "drop_rate": 0.5}, lam=lam)
        assert configuration["parameters"]["lambda"] == 1.0
        assert [m["parameters"]["weight"] for m in configuration["models"]] == [-2.0 / halved, 0.25 / halved]
    weights = weights_by(block)
    configuration = export("lata_log", lam=lam, weights=weights)
    assert configuration["parameters"]["lambda"] == 1.0
    assert exported_weights(configuration) == {"org/math": weights["math"], "org/code": weights["code"]}


def test_a_merge_into_a_target_adds_the_same_direction() -> None:
    weights = weights_by(block)
    configuration = export("lata_threshold", lam=0.5, weights=weights, target="org/target")
    given = exported_weights(configuration)
    assert configuration["base_model"] == "org/target"
    random = np.random.default_rng(0)
    pre, target, math, code = random.standard_normal((4, 100))
    for name in NAMES:
        weight = {model: weight_of[name] for model, weight_of in given.items()}
        theirs = target + configuration["parameters"]["lambda"] * (
            weight["org/math"] * (math - target)
            + weight["org/code"] * (code - target)
            + weight["org/pre"] * (pre - target)
        )
        direction = weights["math"][name] * (math - pre) + weights["code"][name] * (code - pre)
        np.testing.assert_allclose(theirs, target - 0.5 * direction, rtol=1e-12, atol=1e-12)
    with pytest.raises(ValueError, match="another model than θ_pre"):
        export("ties", TIES, target="org/target")


def test_forgetting_by_pre_itself_only_turns_lambda_round() -> None:
    configuration = export("ties", TIES, lam=0.5, target="org/pre")
    assert configuration["parameters"]["lambda"] == -0.5
    assert len(configuration["models"]) == 2


@pytest.mark.parametrize(
    ("method", "reason"), [("ta_norm_matched", "norms of the whole merge"), ("safety_arithmetic", "one threshold")]
)
def test_what_mergekit_has_no_setting_for_has_no_export(method: str, reason: str) -> None:
    with pytest.raises(ValueError, match=rf"'{method}' .*{reason}.*no export, so merge it here"):
        export(method, {"share": 0.1})


def test_a_method_of_the_users_own_is_exported_where_it_is_a_weighted_sum_and_refused_where_not() -> None:
    weights = weights_by(block)
    assert exported_weights(export("of_a_user", weights=weights)) == {
        "org/math": weights["math"],
        "org/code": weights["code"],
    }
    refusal = r"^'of_a_user' is no weighted sum of task vectors, .* it has no export, so merge it here$"
    with pytest.raises(ValueError, match=refusal):
        export("of_a_user")


@pytest.mark.parametrize("method", ["lines", "lata_transferred"])
def test_weights_by_depth_are_exported_as_they_are(method: str) -> None:
    weights = weights_by(block)
    for target in ({}, {"target": "org/pre"}):
        given = exported_weights(export(method, weights=weights, **target))
        assert given == {"org/math": weights["math"], "org/code": weights["code"]}


def test_names_that_a_filter_cannot_tell_apart_are_refused() -> None:
    weights = {task: {"norm.weight": 0.5, "final.norm.weight": 1.0, "head": 1.0} for task in ("math", "code")}
    with pytest.raises(ValueError, match=r"'norm.weight' is a part of 'final.norm.weight'"):
        export("lata_linear", weights=weights)


def test_one_source_given_twice_is_refused() -> None:
    sources = {"pre": "org/pre", "experts.math": "org/math", "experts.code": "org/math"}
    with pytest.raises(ValueError, match="'org/math' is given 2 times"):
        export(sources=sources)
    with pytest.raises(ValueError, match="'org/code' is given 2 times"):
        export(sources={**sources, "experts.code": "org/code", "target": "org/code"}, mode="forget")


def test_the_output_dtype_holds_every_tensor() -> None:
    given = [["F16", "I64"], ["BF16", "F32"], ["F16", "BF16"], ["F64", "F32"]]
    found = [export(dtypes=dict.fromkeys(dtypes, 1))["out_dtype"] for dtypes in given]
    assert found == ["float16", "float32", "float32", "float64"]
    assert "BF16 and F32" in mergekit_yaml(facts(dtypes={"BF16": 9, "F32": 1}))
    with pytest.raises(ValueError, match="cannot write F8_E4M3"):
        export(dtypes={"F8_E4M3": 1})


def test_folders_named_like_adapters_are_spelled_out(tmp_path: Path) -> None:
    folder = tmp_path / "pre+more"
    folder.mkdir()
    sources = {"pre": str(folder), "experts.math": f"{folder}+org/adapter@main"}
    text = mergekit_yaml(facts(sources=sources))
    configuration = yaml.safe_load(text)
    assert configuration["base_model"] == {"model": {"path": str(folder)}}
    assert configuration["models"][0]["model"] == {"model": {"path": str(folder)}, "lora": "org/adapter@main"}
    assert "--lora-merge-cache" in text
    assert "--lora-merge-cache" not in mergekit_yaml(facts())


def test_the_file_says_how_to_run_it_and_what_differs() -> None:
    text = mergekit_yaml(facts("dare", {"variant": "mergekit", "drop_rate": 0.5}))
    assert "mergekit-yaml THIS_FILE NEW_FOLDER" in text
    assert "same masks" in text
    assert "arbitrary" in mergekit_yaml(facts("ties", TIES))
