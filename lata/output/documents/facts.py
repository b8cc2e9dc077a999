"""What is known of a merge when it is done: the one source of its model card and its recipe."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lata.checkpoints import hub


@dataclass(frozen=True)
class LayerTable:
    """One number a layer and task.

    Attributes:
        layers: L layer keys in order of depth.
        tasks: T task names.
        values_LT: L rows of T numbers; None where a layer has none.
    """

    layers: list[str]
    tasks: list[str]
    values_LT: list[list[float | None]]


@dataclass(frozen=True)
class Facts:
    """Everything known after a merge.

    Attributes:
        method: its registered name.
        parameters: every parameter of it, defaults included.
        lam: λ, or one for each task.
        mode: ``learn`` (θ = θ_pre + λ·D) or ``forget`` (θ = θ_target − λ·D).
        seed: of the random methods; None for the others.
        equation: the direction D as a formula.
        paper: link to the method's paper; empty for the controls.
        note: what a reader must know of the method, as a sentence; empty for most.
        sources: role → where the model is. Roles are ``pre``, ``base``, ``target`` and ``experts.TASK``; a source is
            an absolute folder or ``org/name@revision``, or two of these joined by a plus for a model with an adapter.
        digests: role → digest of the weights (`lata.checkpoints.digests`); ``merged`` is the result's.
        distance: ‖merged − start‖₂ after rounding.
        finite: whether every merged value is finite.
        parameters_count: number of parameters of the result.
        dtypes: safetensors dtype → how many of the parameters are stored in it.
        weights_LT: the layer weights, for the methods that have them.
        similarity_LT: the similarities that they were made of.
        cosine_LT: cos(τ, τ_instr), measured with the similarities.
        outside: task → share of ‖τ‖² outside the decoder's blocks, measured with the similarities.
        versions: package → version.
        warnings: lines that the merge gave.
    """

    method: str
    parameters: Mapping[str, Any]
    lam: float | Mapping[str, float]
    mode: str
    seed: int | None
    equation: str
    paper: str
    sources: Mapping[str, str]
    digests: Mapping[str, str]
    distance: float
    finite: bool
    parameters_count: int
    dtypes: Mapping[str, int]
    weights_LT: LayerTable | None = None
    similarity_LT: LayerTable | None = None
    cosine_LT: LayerTable | None = None
    outside: Mapping[str, float] = field(default_factory=dict)
    note: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def tasks(self) -> list[str]:
        """Names of the experts, sorted."""
        prefix = "experts."
        return sorted(role[len(prefix) :] for role in self.sources if role.startswith(prefix))

    @property
    def summary(self) -> str:
        """The merge in a few words."""
        verb = "forgets" if self.mode == "forget" else "merge of"
        return f"{self.method} {verb} {' and '.join(self.tasks)}"


def sides(source: str) -> list[str]:
    """The model of a source and, if it has one, the adapter: each an absolute folder or a hub id."""
    if not hub.is_folder(source):
        for cut in (place for place, letter in enumerate(source) if letter == "+"):
            pair = [source[:cut], source[cut + 1 :]]
            if all(is_folder(side) or hub.is_plausible(side) for side in pair):
                return pair
    return [source]


def is_folder(side: str) -> bool:
    """Whether one side of a source is a folder and not on the hub."""
    return side.startswith("/")


def public_name(side: str) -> str:
    """What one side of a source is called where others read it: a folder by its last part, a hub id as it is."""
    if side.startswith(("/", "~", ".")) or hub.is_folder(side):
        return os.path.basename(os.path.normpath(side)) or side
    return side


def public_source(source: str) -> str:
    """What a model is called where others read it, with or without an adapter; see `public_name`.

    Args:
        source: as `Facts.sources` has it, or as a user writes it.
    """
    return "+".join(map(public_name, sides(source)))
