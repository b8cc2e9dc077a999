"""The models of a study, ready to be opened: the miniature family is trained here, others are folders or hub ids."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from experiments.config.family import FamilyKind, mini_family
from experiments.config.study import StudyPlan

#: Model name → what `lata.checkpoints.open_checkpoint` finds it by.
Sources = Mapping[str, str]


def ensure(plan: StudyPlan) -> dict[int, Sources]:
    """For every seed the sources of all models; what has to be trained and is not in the cache is trained.

    A family of checkpoints is the same for every seed, which then decides random methods alone.
    """
    family = plan.config.family
    if family.kind is FamilyKind.checkpoints:
        sources = {name: family.models[name].reference for name in plan.models}
        return dict.fromkeys(plan.seeds, sources)
    trained = {seed: mini_family(family, plan.cache, seed).ensure(plan.models) for seed in plan.seeds}
    return {seed: {name: str(folder) for name, folder in folders.items()} for seed, folders in trained.items()}


def evaluation_data(plan: StudyPlan) -> Path:
    """The folder of the miniature family's evaluation data, which are the same for every seed."""
    family = plan.config.family
    return mini_family(family, plan.cache, plan.seeds[0]).data_dir(family.language)
