"""A merge as a mergekit configuration, so that its users can have the same merge there.

mergekit (https://github.com/arcee-ai/mergekit, measured with 0.1.5 by ``tests/benchmarks/mergekit_agreement.py``)
weights every model with a number that may depend on a tensor's name, which is all that LATA's layer weights need: a
direction D = Σ_t w_t·τ_t becomes its ``task_arithmetic``. TIES and DARE mean something else there than in their
papers, so those are exported only in their variant ``mergekit``. The configuration asks for fp32 arithmetic and one
rounding at the end; by itself mergekit computes in the dtype of the checkpoints.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from lata.numerics.tensors import FLOATS
from lata.output.documents.facts import Facts, is_folder, sides

#: safetensors dtype → mergekit's name of it, the widest last.
_DTYPES = {"F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64"}
#: Methods that give all parameters one weight.
_EVEN = {"ta": 1.0, "ta_half": 0.5, "ties": 1.0, "dare": 1.0, "dare_ties": 1.0}
#: Methods that need what mergekit has no setting for → what that is.
_UNKNOWN = {
    "ta_norm_matched": "scales by norms of the whole merge",
    "safety_arithmetic": "trims a task vector by one threshold over all parameters",
}
#: Methods with variants → mergekit's name and the settings that its variant has by default.
_VARIANTS: dict[str, tuple[str, dict[str, bool]]] = {
    "ties": ("ties", {"normalize": True, "rescale": False}),
    "dare": ("dare_linear", {"normalize": False, "rescale": True}),
    "dare_ties": ("dare_ties", {"normalize": False, "rescale": True}),
}


def mergekit_yaml(facts: Facts, factors: Mapping[str, Mapping[str, float]] | None = None) -> str:
    """The text of a YAML file for ``mergekit-yaml`` that makes the same merge.

    Args:
        facts: the merge.
        factors: task → parameter name → λ_t·w_t, of a direction that is a weighted sum (`WeightedSum.factors`).

    Raises:
        ValueError: mergekit cannot make this merge, see `check`; or it cannot tell two parameters apart.
    """
    check(facts.method, facts.parameters, facts.sources, facts.dtypes, summed=factors is not None)
    tasks, pre, target = facts.tasks, facts.sources["pre"], _target(facts.sources)
    name, shared = _VARIANTS.get(facts.method, ("task_arithmetic", {"normalize": False}))
    own = _own_parameters(facts)
    weight_of = _even_weights(facts) if factors is None else factors
    lam = 1.0 if isinstance(facts.lam, Mapping) else float(facts.lam)
    models = [
        {
            "model": _reference(facts.sources[f"experts.{task}"]),
            "parameters": {"weight": _setting(weight_of[task]), **own},
        }
        for task in tasks
    ]
    if target is not None:
        # Σ_t w_t (θ_t − θ_pre) = Σ_t w_t (θ_t − target) − (Σ_t w_t) (θ_pre − target)
        rest = {name: -sum(weight_of[task][name] for task in tasks) for name in weight_of[tasks[0]]}
        models.append({"model": _reference(pre), "parameters": {"weight": _setting(rest)}})
    configuration = {
        "merge_method": name,
        "base_model": _reference(pre if target is None else target),
        "models": models,
        "parameters": {**shared, "lambda": -lam if facts.mode == "forget" else lam},
        "dtype": "float32",
        "out_dtype": _out_dtype(facts.dtypes),
    }
    body = yaml.safe_dump(configuration, sort_keys=False, default_flow_style=None, width=100, allow_unicode=True)
    return _header(facts) + body


def check(
    method: str,
    parameters: Mapping[str, Any],
    sources: Mapping[str, str],
    dtypes: Iterable[str],
    summed: bool | None = None,
) -> None:
    """Refuse what mergekit cannot make, as far as that is known before a merge.

    Args:
        method: its name.
        parameters: its parameters, complete.
        sources: role → source, as in `Facts`.
        dtypes: safetensors dtypes of the result.
        summed: whether its direction is a weighted sum of task vectors; None before the direction is made, which
            alone tells it of a method that this module does not name.

    Raises:
        ValueError: the text says why, and what to choose instead.
    """
    what = _UNKNOWN.get(method)
    if what is None and summed is False and method not in _EVEN:
        what = "is no weighted sum of task vectors"
    if what is not None:
        raise ValueError(f"{method!r} {what}, which mergekit does not know: it has no export, so merge it here")
    if method in _VARIANTS and parameters["variant"] != "mergekit":
        raise ValueError(
            f"mergekit has no {method!r} of the variant {parameters['variant']!r}: choose variant=mergekit to export "
            "this merge, and make it here with that variant too"
        )
    if method in _VARIANTS and parameters["outside"] == "drop":
        raise ValueError(f"mergekit has no {method!r} of the blocks alone (outside=drop): merge it here")
    if method in _VARIANTS and _target(sources) is not None:
        raise ValueError(f"mergekit cannot add {method!r} to another model than θ_pre: merge it here")
    used = Counter(source for role, source in sources.items() if role not in ("base", "target"))
    used.update(filter(None, [_target(sources)]))
    for source, count in used.items():
        if count > 1:
            raise ValueError(f"mergekit tells models apart by their source, and {source!r} is given {count} times")
    _out_dtype(dtypes)


def _target(sources: Mapping[str, str]) -> str | None:
    """What D is added to, where that is not θ_pre."""
    target = sources.get("target")
    return None if target == sources["pre"] else target


def _own_parameters(facts: Facts) -> dict[str, float]:
    """mergekit's parameters of each expert besides its weight."""
    if facts.method not in _VARIANTS:
        return {}
    if facts.method == "ties":
        return {"density": facts.parameters["density"]}
    # 1 − p without the digits that the subtraction adds: 0.1, not 0.09999999999999998.
    return {"density": round(1 - facts.parameters["drop_rate"], 12)}


def _even_weights(facts: Facts) -> dict[str, dict[str, float]]:
    """Weights that are the same for all parameters, under an empty name."""
    scales = facts.lam if isinstance(facts.lam, Mapping) else {}
    return {task: {"": _EVEN[facts.method] * scales.get(task, 1.0)} for task in facts.tasks}


def _setting(weight_of: Mapping[str, float]) -> float | list[dict[str, Any]]:
    """Weights of parameters as mergekit takes them: a number, or filters of which the first that fits counts.

    A filter fits every tensor whose name contains it. Blocks with one weight get one filter, which ends in a dot so
    that ``layers.1.`` does not fit ``layers.10.``; other tensors are named in full.
    """
    if len(set(weight_of.values())) == 1:
        return next(iter(weight_of.values()))
    blocks: dict[str | None, dict[str, float]] = {}
    for name, weight in weight_of.items():
        blocks.setdefault(_block_prefix(name), {})[name] = weight
    outside = blocks.pop(None, {})
    common = Counter((outside or weight_of).values()).most_common(1)[0][0]
    tensors = {name: weight for name, weight in outside.items() if weight != common}
    whole: dict[str, float] = {}
    for prefix, inside in blocks.items():
        if len(set(inside.values())) == 1:
            whole[str(prefix)] = next(iter(inside.values()))
        else:
            tensors.update(inside)
    filters = {**tensors, **whole}
    for name, weight in weight_of.items():
        fits = next((pattern for pattern in filters if pattern in name), None)
        if (common if fits is None else filters[fits]) != weight:
            raise ValueError(
                f"mergekit tells tensors apart by a part of their name, and {fits!r} is a part of {name!r}, "
                "which has another weight: merge with granularity=block, or here"
            )
    return [{"filter": pattern, "value": weight} for pattern, weight in filters.items()] + [{"value": common}]


def _block_prefix(name: str) -> str | None:
    """``model.layers.10.`` for a parameter of block 10, None for one outside all blocks."""
    parts = name.split(".")
    for position, part in enumerate(parts[:-1]):
        if part.isdecimal():
            return ".".join(parts[: position + 1]) + "."
    return None


def _reference(source: str) -> Any:
    """A source as mergekit names it; folders whose names hold its separators are spelled out."""
    parts = sides(source)
    if any(is_folder(part) and ("+" in part or "@" in part) for part in parts):
        return {
            key: {"path": part} if is_folder(part) else part
            for key, part in zip(("model", "lora"), parts, strict=False)
        }
    return source


def _out_dtype(dtypes: Iterable[str]) -> str:
    """mergekit's name of the one dtype that holds all floats of the result."""
    floats = FLOATS.intersection(dtypes)
    for dtype in sorted(floats - _DTYPES.keys()):
        raise ValueError(f"mergekit cannot write {dtype}: it knows {', '.join(_DTYPES)}")
    if floats == {"F16", "BF16"}:
        return "float32"
    return next(name for dtype, name in reversed(_DTYPES.items()) if dtype in floats)


def _header(facts: Facts) -> str:
    adapters = any(len(sides(source)) > 1 for role, source in facts.sources.items() if role != "base")
    options = " --lora-merge-cache CACHE_FOLDER --lora-merge-dtype float32" if adapters else ""
    floats = sorted(FLOATS.intersection(facts.dtypes))
    lines = [
        f"The merge {facts.method!r} of lata for mergekit 0.1.5 or newer (https://github.com/arcee-ai/mergekit):",
        f"  mergekit-yaml THIS_FILE NEW_FOLDER --lazy-unpickle{options}",
        "It computes in fp32 and rounds once, at the end.",
    ]
    if facts.method in ("dare", "dare_ties"):
        lines.append("mergekit draws masks of its own: the two merges are equal given the same masks.")
    if facts.method == "ties":
        lines.append("Among equal magnitudes at the threshold mergekit keeps arbitrary ones; lata keeps the first.")
    if _target(facts.sources) is not None:
        lines.append("The difference of expert and pre is taken by way of the target: equal up to rounding in fp32.")
    if len(floats) > 1:
        lines.append(f"mergekit writes one dtype; the merged tensors are {' and '.join(floats)}.")
    return "".join(f"# {line}\n" for line in lines)
