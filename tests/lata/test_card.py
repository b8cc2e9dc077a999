"""What lies beside a merge: its card and its recipe say what was merged, and nothing of the machine."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from lata.output.documents.card import Facts, LayerTable, model_card
from lata.output.documents.facts import sides
from lata.output.documents.recipe import recipe

COMMIT = "a" * 40


def made(**changes: Any) -> Facts:
    facts = Facts(
        method="lata_linear",
        parameters={"floor": 0.0, "ceiling": 1.0, "granularity": "block", "outside": "keep"},
        lam=0.7,
        mode="learn",
        seed=None,
        equation="D = Σ_t w_t ⊙ τ_t, w = r / (L−1)",
        paper="https://arxiv.org/abs/2502.20186",
        sources={
            "base": f"google/gemma-2-9b@{COMMIT}",
            "pre": f"google/gemma-2-9b-it@{COMMIT}",
            "experts.math": "/home/someone/secret/gemma-math",
            "experts.code": f"google/gemma-2-9b-it@{COMMIT}+/home/someone/secret/code|lora",
        },
        digests={"base": "b1", "pre": "c2", "experts.math": "d3", "experts.code": "e4", "merged": "f5"},
        distance=12.3456789,
        finite=True,
        parameters_count=9_241_705_984,
        dtypes={"BF16": 9_241_705_984},
        weights_LT=LayerTable(["0", "1"], ["code", "math"], [[0.0, 0.5], [1.0, None]]),
        similarity_LT=LayerTable(["0", "1"], ["code", "math"], [[0.98765, 0.5], [0.25, float("nan")]]),
        cosine_LT=LayerTable(["0", "1"], ["code", "math"], [[-0.125, 0.25], [0.0, None]]),
        outside={"code": 0.123, "math": 0.5},
        versions={"lata": "0.2", "numpy": "2.0"},
        warnings=("math: layer 1 has no cosine",),
    )
    return dataclasses.replace(facts, **changes)


def metadata(card: str) -> dict[str, Any]:
    found = re.match(r"---\n(.*?)\n---\n", card, re.DOTALL)
    assert found
    loaded = yaml.safe_load(found[1])
    assert isinstance(loaded, dict)
    return loaded


def test_metadata_name_the_merged_models_that_are_on_the_hub() -> None:
    assert metadata(model_card(made())) == {
        "base_model": ["google/gemma-2-9b-it"],
        "base_model_relation": "merge",
        "library_name": "transformers",
        "tags": ["merge", "lata", "task-arithmetic", "lata_linear"],
    }


def test_the_hub_library_reads_the_metadata() -> None:
    hub = pytest.importorskip("huggingface_hub")
    data = hub.ModelCard(model_card(made())).data
    assert data.base_model == ["google/gemma-2-9b-it"]
    assert data.to_dict()["library_name"] == "transformers"


def test_metadata_claim_no_ancestor_where_all_inputs_are_folders() -> None:
    folders = made(sources={"pre": "/a/pre", "experts.math": "/a/math"})
    assert metadata(model_card(folders)).keys() == {"library_name", "tags"}


def test_the_card_says_what_was_merged() -> None:
    card = model_card(made())
    for expected in (
        "# lata_linear merge of code and math\n",
        "google/gemma-2-9b-it with what code and math learned",
        "```text\nθ = θ_pre + λ · D\nD = Σ_t w_t ⊙ τ_t, w = r / (L−1)\n```",
        "| λ | 0.7 |",
        "| `granularity` | `block` |",
        "| parameters | 9,241,705,984 |",
        "| dtype | BF16 (9,241,705,984) |",
        "| distance from θ_pre | 12.3457 |",
        "| digest of the weights | `f5` |",
        f"| base | [google/gemma-2-9b@{COMMIT[:12]}](https://huggingface.co/google/gemma-2-9b/tree/{COMMIT}) |",
        "| experts.math | `gemma-math` (a folder) | `d3` |",
        " + `code\\|lora` (a folder) | `e4` |",
        "| layer | s code | s math | c code | c math | w code | w math |\n" + "| --- " * 7 + "|\n",
        "| 0 | 0.9877 | 0.5000 | -0.1250 | 0.2500 | 0.0000 | 0.5000 |",
        "| 1 | 0.2500 | – | 0.0000 | – | 1.0000 | – |",
        "outside the blocks: code 12.3 %, math 50.0 % (it is added in full).",
        "- math: layer 1 has no cosine",
        "experiments.merge recipe=recipe.yaml output=NEW_FOLDER family.experts.math=FOLDER ",
        "Made with lata 0.2, numpy 2.0.",
        "eprint        = {2502.20186}",
        "2025.findings-emnlp.644",
    ):
        assert expected in card
    assert "nstable" not in card
    assert "seed" not in card


def test_the_card_tells_no_folder_of_the_machine() -> None:
    sources = {
        "pre": "/home/someone/secret/a+b/pre/",
        "experts.math": "/home/someone",
        "base": "/home/someone/b+/home/x",
    }
    facts = made(sources=sources, warnings=("/home/someone/b has the same bytes as /home/someone/secret/a+b/pre/",))
    assert "/home" not in model_card(facts)
    assert "- b has the same bytes as pre" in model_card(facts)
    assert "/home" not in recipe(facts, {}, public=True)
    assert yaml.safe_load(recipe(facts, {}, public=True))["family"]["base"] == "b+x"


def test_numbers_of_layers_are_matched_by_name() -> None:
    similarity = LayerTable(["embed", "0", "1"], ["code"], [[0.1], [0.2], [0.3]])
    card = model_card(made(similarity_LT=similarity, cosine_LT=None, outside={}))
    assert "| layer | s code | w code | w math |" in card
    assert "| 0 | 0.2000 | 0.0000 | 0.5000 |" in card


def test_a_card_shows_what_was_measured_alone() -> None:
    card = model_card(made(similarity_LT=None, cosine_LT=None, outside={}))
    assert "| layer | w code | w math |" in card
    assert "w is the weight of a layer's task vector.\n" in card
    assert "‖τ_t‖²" not in card


def test_forgetting_starts_from_the_target() -> None:
    sources = {"pre": "/m/pre", "target": "org/japanese@main", "experts.ua": "/m/ua"}
    card = model_card(
        made(
            method="dare",
            mode="forget",
            seed=3,
            sources=sources,
            digests={"pre": "p", "target": "t", "experts.ua": "u", "merged": "m"},
            weights_LT=None,
            similarity_LT=None,
            cosine_LT=None,
            outside={},
            warnings=(),
            paper="",
        )
    )
    assert "# dare forgets ua\n" in card
    assert "org/japanese without what ua learned" in card
    assert "θ = θ_target − λ · D" in card
    assert "| seed | 3 |" in card
    assert "(a control)" in card
    assert "Layer weights" not in card
    assert "Warnings" not in card
    assert metadata(card)["base_model"] == ["org/japanese"]


def test_an_unstable_merge_says_so_first() -> None:
    card = model_card(made(finite=False))
    assert 0 < card.index("**Unstable:**") < card.index("θ_pre")


def test_a_lambda_for_each_task_is_shown() -> None:
    card = model_card(made(lam={"code": 0.25, "math": 0.75}))
    assert "| λ | code: 0.25, math: 0.75 |" in card
    assert "θ = θ_pre + D, each τ_t times λ_t" in card


def test_the_recipe_holds_everything_that_decides_the_bytes() -> None:
    text = recipe(made(seed=0), {"vocab": "error", "shard_bytes": 5_000_000_000})
    assert text.startswith(
        "# lata_linear merge of code and math, the same bytes again:\n#   python -m experiments.merge "
    )
    assert yaml.safe_load(text) == {
        "family": {
            "base": f"google/gemma-2-9b@{COMMIT}",
            "pre": f"google/gemma-2-9b-it@{COMMIT}",
            "experts": {
                "code": f"google/gemma-2-9b-it@{COMMIT}+/home/someone/secret/code|lora",
                "math": "/home/someone/secret/gemma-math",
            },
        },
        "merge": ["code", "math"],
        "method": {"name": "lata_linear", "floor": 0.0, "ceiling": 1.0, "granularity": "block", "outside": "keep"},
        "lam": 0.7,
        "mode": "learn",
        "seed": 0,
        "vocab": "error",
        "shard_bytes": 5_000_000_000,
        "digests": {"base": "b1", "pre": "c2", "experts.math": "d3", "experts.code": "e4", "merged": "f5"},
    }


def test_the_recipe_leaves_out_what_the_merge_has_not() -> None:
    found = yaml.safe_load(recipe(made(lam={"math": 1e-05}, sources={"pre": "/p", "experts.math": "/m"}), {}))
    assert found["family"] == {"pre": "/p", "experts": {"math": "/m"}}
    assert found["lam"] == {"math": 1e-05}
    assert "seed" not in found


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("org/name@main", ["org/name@main"]),
        ("org/name@main+org/lora", ["org/name@main", "org/lora"]),
        ("/a+b/model+/c/lora", ["/a+b/model", "/c/lora"]),
        ("/a/model+org/lora@v1", ["/a/model", "org/lora@v1"]),
        ("/a/model+x", ["/a/model+x"]),
    ],
)
def test_a_source_is_a_model_or_a_model_with_an_adapter(source: str, expected: list[str]) -> None:
    assert sides(source) == expected


def test_a_folder_with_a_plus_in_its_name_is_one_model(tmp_path: Path) -> None:
    folder = tmp_path / "math+code" / "model"
    folder.mkdir(parents=True)
    assert sides(str(folder)) == [str(folder)]
