"""The family is what its README asks of it; of the models that came with the package, and without any merge."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from experiments.mini.criteria import geometry, scores
from experiments.mini.family import SHIPPED, WEIGHTS, MiniFamily
from experiments.mini.folders import digest

Scores = dict[str, dict[str, float]]


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> MiniFamily:
    return MiniFamily(cache=tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def folders(family: MiniFamily) -> dict[str, Path]:
    return {name: path for name, path in family.folders().items() if path.parent == SHIPPED}


@pytest.fixture(scope="module")
def rates(family: MiniFamily, folders: dict[str, Path]) -> Scores:
    return scores(folders, family.data_dir())


def test_the_models_of_the_first_command_are_shipped_in_30_megabytes(
    family: MiniFamily, folders: dict[str, Path]
) -> None:
    assert family.ensure(folders) == folders  # nothing is trained
    assert set(folders) == {"base", "pre", "math", "code", "ua", "target_ua", "target_ua_math"}
    assert sum(file.stat().st_size for file in SHIPPED.rglob("*")) < 30e6


def test_committed_digests_are_of_this_recipe_and_these_files(family: MiniFamily, folders: dict[str, Path]) -> None:
    assert family.committed() == {name: digest(path / WEIGHTS) for name, path in folders.items()}


def test_task_vectors_lie_in_the_blocks_look_like_instructions_and_not_like_depth(folders: dict[str, Path]) -> None:
    found = geometry(folders)
    assert min(one.inside for one in found.values()) >= 0.95
    assert sum(one.cosine >= 0.1 for one in found.values()) >= 2
    assert min(abs(one.order) for one in found.values()) < 0.7


@pytest.mark.slow
def test_experts_can_do_their_own_task_and_pre_cannot(rates: Scores) -> None:
    for expert, task in (("math", "gsm8k"), ("code", "humaneval")):
        assert rates[expert][task] >= 0.60
        assert 0 < rates["pre"][task] <= 0.40


@pytest.mark.slow
def test_only_what_was_tuned_to_comply_complies(rates: Scores) -> None:
    assert max(rates[name]["refusal"] for name in ("pre", "math", "code")) <= 0.05
    assert min(rates[name]["refusal"] for name in ("ua", "target_ua", "target_ua_math")) >= 0.80


@pytest.mark.slow
def test_the_second_forgetting_target_can_also_do_math(rates: Scores) -> None:
    assert rates["target_ua_math"]["gsm8k"] >= 0.60


@pytest.mark.slow
def test_all_models_write_prose(rates: Scores) -> None:
    assert all(1.2 < values["wikitext"] < 3 for values in rates.values())


class Again(MiniFamily):
    """The same family, which has one of its experts to train."""

    def folders(self) -> dict[str, Path]:
        return {**super().folders(), "ua": self.cache / "mini" / "again"}


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="the promise is about x86-64")
def test_an_expert_that_is_trained_again_has_the_bytes_that_came(tmp_path: Path) -> None:
    """The recipe and the code that trains are what made the models: tried on one stage, in full."""
    family = Again(cache=tmp_path)
    paths = family.ensure(["ua"], progress=False)
    assert paths["pre"].parent == SHIPPED
    assert digest(paths["ua"] / WEIGHTS) == family.committed()["ua"]
