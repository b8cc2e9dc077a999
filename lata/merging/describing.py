"""What lies beside merged weights: configuration, tokenizer, model card, recipe."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lata.checkpoints.lora.checkpoint import AdapterCheckpoint
from lata.engine.layers import layer_map, layers_in_order
from lata.methods.sums import WeightedSum
from lata.output.documents.card import model_card
from lata.output.documents.facts import Facts, LayerTable
from lata.output.documents.interchange import mergekit_yaml
from lata.output.documents.recipe import recipe

if TYPE_CHECKING:
    from lata.engine.vectors import Direction, TaskVectors
    from lata.merging.job import Job, Written


def describe(
    job: Job, vectors: TaskVectors, direction: Direction, written: Written | None = None, warnings: Iterable[str] = ()
) -> Facts:
    """Everything that is known of a merge, once its direction is or once its weights are written."""
    dtypes: Counter[str] = Counter()
    for info in job.headers().values():
        dtypes[info.dtype] += info.count if info.is_float else 0
    lam = job.request.lam
    return Facts(
        method=job.method.name,
        parameters=dict(job.parameters),
        lam=dict(lam) if isinstance(lam, Mapping) else lam,
        mode=job.request.mode,
        seed=job.request.seed if job.method.random else None,
        equation=job.method.equation,
        paper=job.method.paper,
        note=job.method.note,
        sources={role: checkpoint.source for role, checkpoint in job.checkpoints.items()},
        digests={} if written is None else written.digests,
        distance=math.nan if written is None else written.distance,
        finite=written is None or not written.unstable,
        parameters_count=sum(dtypes.values()),
        dtypes={dtype: count for dtype, count in dtypes.items() if count},
        weights_LT=_layer_weights(job, vectors, direction),
        **_measured(vectors),
        versions={name: metadata.version(name) for name in ("lata-bench", "numpy", "numba")},
        warnings=tuple(dict.fromkeys(warnings)),
    )


def mergekit(facts: Facts, direction: Direction) -> str:
    """The configuration with which mergekit makes the same merge; ValueError where it cannot."""
    return mergekit_yaml(facts, direction.factors if isinstance(direction, WeightedSum) else None)


def companions(job: Job, facts: Facts) -> dict[str, bytes | Path]:
    """File name → content of everything in a merged model's folder besides its weights."""
    files: dict[str, bytes | Path] = dict(job.start.companions.files)
    files["config.json"] = job.start.folder / "config.json"
    if isinstance(job.start, AdapterCheckpoint) and job.start.vocabulary is not None:
        files["config.json"] = f"{json.dumps(job.start.config, indent=2)}\n".encode()
    files["README.md"] = model_card(facts).encode()
    files["recipe.yaml"] = recipe(facts, settings(job)).encode()
    return files


def settings(job: Job) -> dict[str, Any]:
    """The keys of a recipe that decide the bytes besides the merge itself."""
    request = job.request
    return {
        "vocab": request.vocab,
        "shard_bytes": request.shard_bytes,
        "allow_unstable": request.allow_unstable,
        **({} if request.blocks is None else {"blocks": request.blocks}),
    }


def _layer_weights(job: Job, vectors: TaskVectors, direction: Direction) -> LayerTable | None:
    """λ_t·w_t[l] of a weighted sum whose weights differ between layers; None for any other method."""
    if not isinstance(direction, WeightedSum):
        return None
    factors = direction.factors
    if vectors.blocks.problem or all(len(set(by_name.values())) == 1 for by_name in factors.values()):
        return None
    outside = "rank" if job.parameters.get("outside") == "rank" else "keep"
    layer_of = layer_map(vectors.names, str(job.parameters.get("granularity", "block")), outside, vectors.blocks)
    layers = layers_in_order(layer_of)
    first = {key: name for name, key in reversed(layer_of.items()) if key is not None}
    return LayerTable(
        layers, list(factors), [[by_name[first[key]] for by_name in factors.values()] for key in layers]
    )


def _measured(vectors: TaskVectors) -> dict[str, Any]:
    """What was measured of layers, where the method asked for similarities."""
    for own in vectors.measured.values():
        layers, tasks = list(own.similarity.layers), list(own.similarity.tasks)
        outside = {task: share for task, share in zip(tasks, own.outside_T.tolist(), strict=True) if share == share}
        similarity_LT, cosine_LT = (
            LayerTable(layers, tasks, [[None if math.isnan(value) else value for value in row] for row in values_LT])
            for values_LT in (own.similarity.values_LT.tolist(), own.cosine_LT.tolist())
        )
        return {"similarity_LT": similarity_LT, "cosine_LT": cosine_LT, "outside": outside}
    return {}
