"""What is known of a study's models without fetching or reading weights: bytes, parameters, shape, where they are.

A folder tells by its headers; a model of the hub by the cache of this machine, else by what the hub says of it
(``HfApi.model_info``, which answers for gated models too); what nobody tells is unknown and said to be.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import replace

from experiments.config.family import FamilyKind, ModelConfig, mini_family
from experiments.config.study import StudyPlan
from experiments.mini.family import SHIPPED
from experiments.planning.cost import ITEM
from experiments.planning.hub import MISSING, Hub, Model
from experiments.planning.shapes import PUBLISHED, Shape, shape_of
from lata.checkpoints import open_checkpoint
from lata.checkpoints.hub import is_folder, is_plausible
from lata.output.documents.facts import public_source

#: Bytes of a weight of the miniature family, which is stored in fp16.
_MINI_ITEM = 2


def look(study: StudyPlan) -> dict[str, Model]:
    """What is known of every model that the study reads; of the miniature family for its first seed.

    Raises:
        ValueError: a source that is neither a folder nor a hub id, or a damaged folder.
    """
    names = study.models
    if study.config.family.kind is FamilyKind.mini:
        return {name: _mini(study, name) for name in names}
    hub = Hub()
    found = {name: _checkpoint(name, study.config.family.models[name], hub) for name in names}
    return _completed(found)


def _completed(found: dict[str, Model]) -> dict[str, Model]:
    """Models that nobody tells of have the shape of θ_pre, for otherwise they could not be merged."""
    pre = found["pre"]
    shape = pre.shape or next((model.shape for model in found.values() if model.shape), None)
    if shape is None:
        return found
    completed = {}
    for name, model in found.items():
        if model.parameters is None:
            count = pre.parameters or shape.parameters
            bytes_ = count * model.item
            # An adapter on top of a model is small beside it.
            fetch = {model.source.split("+")[0]: bytes_}
            model = replace(model, shape=shape, parameters=count, stored=bytes_, fetch=fetch)
        completed[name] = model if model.shape else replace(model, shape=shape)
    return completed


def _mini(study: StudyPlan, name: str) -> Model:
    family = mini_family(study.config.family, study.cache, study.seeds[0])
    made = family.shape
    head = made.hidden // made.heads
    shape = Shape(
        *(made.layers, made.hidden, made.ffn, made.heads, made.heads, head, made.vocabulary, made.context), tied=True
    )
    folder = family.folders()[name]
    file = folder / "tokenizer.json"
    return Model(
        name=name,
        source="trained from scratch",
        place="with this package" if folder.parent == SHIPPED else "trained here" if folder.is_dir() else "to train",
        parameters=shape.parameters,
        stored=shape.parameters * _MINI_ITEM,
        fetch={},
        shape=shape,
        tokenizer=file if file.is_file() else None,
    )


def _checkpoint(name: str, model: ModelConfig, hub: Hub) -> Model:
    if not model.source:
        return Model(name, "to be given", place=MISSING)
    said = Model(name, public_source(model.source), model.licence, model.gated, item=ITEM[model.dtype])
    parts = _parts(model)
    for part in parts:
        if not is_plausible(part):
            raise ValueError(
                f"family.models.{name}.source: {part} is no folder, and no hub id either (org/name); mend the path"
            )
    if all(is_folder(part) for part in parts):
        return _folder(said, model.reference, "folder")
    cached = [part if is_folder(part) else hub.cached(part) for part in parts]
    if all(part is not None for part in cached):
        with contextlib.suppress(ValueError):  # a part of a model can be cached: its config.json alone
            return _folder(said, "+".join(str(part) for part in cached), "hub cache")
    # With an adapter the first part is the model, the rest comes on top of its bytes.
    facts = [hub.ask(part) for part in parts if not is_folder(part)]
    notes = [fact.note for fact in facts if fact.note]
    if notes:
        published = PUBLISHED.get(parts[0].partition("@")[0])
        return replace(said, shape=published, note=notes[0])
    licence = said.licence or facts[0].licence
    gated = said.gated or any(fact.gated for fact in facts)
    first = hub.ask(parts[0]) if not is_folder(parts[0]) else _folder(said, parts[0], "folder")
    return replace(
        said,
        licence=licence,
        gated=gated,
        place="hub",
        parameters=first.parameters,
        stored=first.stored,
        fetch={name: bytes_ for fact in facts for name, bytes_ in (fact.fetch or {}).items()},
        shape=first.shape,
    )


def _folder(said: Model, source: str, place: str) -> Model:
    """By the headers of a model on this disk; ValueError where it is damaged."""
    with open_checkpoint(source, said.name) as checkpoint:
        stored = checkpoint.stored
        tokenizer = next((file for file in checkpoint.tokenizer_files() if file.name == "tokenizer.json"), None)
        return replace(
            said,
            place=place,
            parameters=sum(info.count for info in stored.values()),
            stored=sum(info.nbytes for info in stored.values()),
            fetch={},
            shape=shape_of(checkpoint.config),
            tokenizer=tokenizer,
        )


def _parts(model: ModelConfig) -> list[str]:
    """The folders and hub ids of a source, ``model+adapter`` apart; the revision is the last one's."""
    if is_folder(model.source):
        return [model.source]
    parts = model.source.split("+")
    if model.revision:
        parts[-1] += f"@{model.revision}"
    return parts


def distinct_download(models: Iterable[Model]) -> int:
    """Bytes that come from the hub; what several models share is fetched once."""
    return sum({name: bytes_ for model in models for name, bytes_ in (model.fetch or {}).items()}.values())
