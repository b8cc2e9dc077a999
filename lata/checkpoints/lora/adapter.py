"""What a LoRA adapter changes in a model: its config and the names of its tensors, checked against that model.

The files are those of PEFT (https://github.com/huggingface/peft, docs/source/developer_guides/checkpoint.md):
``adapter_config.json`` and ``adapter_model.safetensors``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lata.checkpoints import headers, tied
from lata.checkpoints.folder import FolderCheckpoint
from lata.checkpoints.headers import Stored
from lata.numerics.tensors import TensorInfo
from lata.untrusted.json_files import read_json
from lata.untrusted.patterns import Patterns

#: Model types with layers of the kind ``Conv1D``, which keep their weights as (inputs, outputs), and their names. A
#: linear layer never does: PEFT corrects a ``fan_in_fan_out`` that says otherwise, of either kind.
TRANSPOSED_TYPES = frozenset({"gpt2", "openai-gpt", "imagegpt", "decision_transformer"})
TRANSPOSED_NAMES = frozenset({"c_attn", "q_attn", "c_proj", "c_fc"})

# What the update W + scaling·B·A does not cover.
_UNSUPPORTED = (
    "use_dora",
    "use_qalora",
    "use_bdlora",
    "lora_bias",
    "kasa_config",
    "monteclora_config",
    "arrow_config",
    "alora_invocation_tokens",
    "trainable_token_indices",
    "target_parameters",
    "layer_replication",
)
# Initialisations that change the model's own weights, so that the adapter does not fit the model on disk.
_MUTATING = ("pissa", "olora", "corda", "loftq", "lora_ga")
_ADVICE = "merge it with PEFT (merge_and_unload, save_pretrained) and give that folder"
_LINEAR = re.compile(r"(?P<module>.+)\.lora_(?P<part>[AB])(\.[^.]+)?\.weight")
_EMBEDDING = re.compile(r"(?P<module>.+)\.lora_embedding_(?P<part>[AB])(\.[^.]+)?")
_WHOLE = re.compile(
    r"(?P<module>.+?)(\.(?P<wrapped>modules_to_save(\.default)?|base_layer|original_module))?\.(?P<part>weight|bias)"
)
# Bytes of two tensors that are compared at a time.
_PIECE = 2**24


@dataclass(frozen=True)
class Update:
    """W' = W + scaling·B·A of one parameter.

    Attributes:
        a, b: names of the two factors in the adapter: A is (rank, inputs), B is (outputs, rank).
        rank: R.
        scaling: α/R, or α/√R for rank-stabilised LoRA.
        transposed: W is stored as (inputs, outputs), as embeddings and ``Conv1D`` are.
    """

    a: str
    b: str
    rank: int
    scaling: float
    transposed: bool


@dataclass(frozen=True)
class Adapter:
    """An adapter that fits a model.

    Attributes:
        file: its weights file.
        stored: its own tensors.
        updates: the model's parameter → its update.
        replaced: the model's parameter → the adapter's tensor that stands in its place.
        vocabulary: rows of the tables of tokens, where the adapter changes their number.
    """

    file: Path
    stored: Mapping[str, Stored]
    updates: Mapping[str, Update]
    replaced: Mapping[str, str]
    vocabulary: int | None


def read_adapter(folder: Path, model: FolderCheckpoint) -> Adapter:
    """Read the adapter in `folder` for `model`, headers only.

    Raises:
        ValueError: it is damaged, of a kind other than plain LoRA, or does not fit the model.
    """
    config = _config(folder)
    file = folder / headers.ADAPTER
    if not file.is_file():
        pickled = "holds only a pickled adapter_model.bin; " if (folder / "adapter_model.bin").is_file() else ""
        raise ValueError(
            f"the adapter {folder} {pickled or f'lacks {headers.ADAPTER}; '}load it with PEFT and save it again"
        )
    stored = headers.read_header(file)
    if not stored:
        raise ValueError(f"the adapter {folder} holds no tensors in {headers.ADAPTER}; fetch it again")
    factors: dict[str, dict[str, str]] = {}
    named: dict[str, list[str]] = {}
    for name in stored:
        path = name.removeprefix("base_model.model.")
        factor = _LINEAR.fullmatch(path) or _EMBEDDING.fullmatch(path)
        if factor:
            factors.setdefault(f"{factor['module']}.weight", {})[factor["part"]] = name
        elif "lora_" not in path and (found := _WHOLE.fullmatch(path)):
            # What a module was before it was trained is stored beside it, and read by nobody.
            if found["wrapped"] != "original_module":
                named.setdefault(f"{found['module']}.{found['part']}", []).append(name)
        else:
            raise ValueError(f"the adapter {folder} holds {name}, which cannot be applied; {_ADVICE}")
    whole = _without_tied_copy(folder, config, stored, factors, _whole(folder, stored, named), model)
    known = _known(folder, [*factors, *whole], model)
    replaced = {known[target]: name for target, name in whole.items()}
    for target, name in replaced.items():
        _check_replacement(folder, stored[name].info, name, model, target)
    updates = {}
    for alias, parts in sorted(factors.items()):
        target = known[alias]
        weight = stored[replaced[target]].info if target in replaced else model.tensors[target]
        if parts.keys() != {"A", "B"}:
            raise ValueError(f"the adapter {folder} has only one of two factors for {target}; fetch it again")
        try:
            updates[target] = _update(config, stored, alias, parts, weight, model.config.get("model_type"))
        except ValueError as error:
            raise ValueError(
                f"the adapter {folder} does not fit {target}, {list(weight.shape)} in {model.source}: {error}; give "
                "the model that it was trained on, or fetch the adapter again"
            ) from None
    rows = _vocabulary(folder, model, {target: stored[name].info for target, name in replaced.items()})
    return Adapter(file, stored, updates, replaced, rows)


def _config(folder: Path) -> dict[str, Any]:
    config = read_json(folder / "adapter_config.json")
    if config.get("peft_type") != "LORA":
        raise ValueError(f"the adapter {folder} is of type {config.get('peft_type')}, not LORA; {_ADVICE}")
    for key in _UNSUPPORTED:
        if config.get(key):
            raise ValueError(f"the adapter {folder} sets {key}, which cannot be applied exactly; {_ADVICE}")
    start = str(config.get("init_lora_weights", True))
    if start.lower().startswith(_MUTATING):
        raise ValueError(
            f"the adapter {folder} was started by init_lora_weights={start}, which changes the model itself; save it "
            "again with path_initial_model_for_weight_conversion"
        )
    return {**config, **{key: Patterns(config.get(key)) for key in ("rank_pattern", "alpha_pattern")}}


def _whole(folder: Path, stored: Mapping[str, Stored], named: Mapping[str, list[str]]) -> dict[str, str]:
    """Parameter → the tensor that replaces it; of resized tables PEFT stores one tensor under two names."""
    for names in named.values():
        if not all(_same(stored[names[0]], stored[name]) for name in names[1:]):
            raise ValueError(f"the adapter {folder} holds {' and '.join(names)}, which differ; {_ADVICE}")
    return {target: names[0] for target, names in named.items()}


def _without_tied_copy(
    folder: Path,
    config: Mapping[str, Any],
    stored: Mapping[str, Stored],
    factors: Iterable[str],
    whole: Mapping[str, str],
    model: FolderCheckpoint,
) -> dict[str, str]:
    """`whole` without the head of a model that ties it to its embeddings, where both stay one table.

    They do where PEFT stores the resized table, or trains it with `ensure_weight_tying`; otherwise it unties them.
    """
    tables = [name for name in (*factors, *whole) if tied.is_head(name) or tied.is_embedding(name)]
    if not model.tied or not tables:
        return dict(whole)
    heads = [name for name in tables if tied.is_head(name)]
    rest = [name for name in tables if name not in heads]
    trained = config.get("modules_to_save") or []
    untied = not config.get("ensure_weight_tying") and any(
        name.rpartition(".")[0].endswith(module) for name in tables for module in trained
    )
    one = all(name in whole for name in tables) and len(rest) == 1
    if untied or not one or not all(_same(stored[whole[rest[0]]], stored[whole[head]]) for head in heads):
        raise ValueError(
            f"the adapter {folder} changes {tables[0]}, but {model.source} ties embeddings and output head, so "
            f"it is open which of the two is meant; {_ADVICE}"
        )
    return {target: name for target, name in whole.items() if target not in heads}


def _known(folder: Path, targets: Iterable[str], model: FolderCheckpoint) -> dict[str, str]:
    """The adapter's name of a parameter, which is the loaded model's → the name that it is stored under."""
    names = sorted(targets)
    absent = [name for name in names if name not in model.tensors]
    if not absent:
        return dict(zip(names, names, strict=True))
    short = {name: name.partition(".")[2] for name in names}
    if all(name in model.tensors for name in short.values()):
        return short
    renamed = _renamed(model)
    lost = next((name for name in names if name not in renamed), None)
    if lost is None:
        return {name: renamed[name] for name in names}
    raise ValueError(
        f"the adapter {folder} changes {lost}, which {model.source} lacks or stores in other pieces; give the model "
        "that it was trained on"
    )


def _renamed(model: FolderCheckpoint) -> dict[str, str]:
    """Name in the model of transformers → stored name; none where it has no such model."""
    from lata.checkpoints.naming import naming_of

    try:
        return naming_of(model.folder, model.tensors).renamed()
    except ValueError:
        return {}


def _vocabulary(folder: Path, model: FolderCheckpoint, new: Mapping[str, TensorInfo]) -> int | None:
    """Rows of the tables of tokens where the adapter changes their number; ValueError where they then differ."""
    resized = [name for name, info in new.items() if info.shape[:1] != model.tensors[name].shape[:1]]
    if not resized:
        return None
    tables = [name for name in model.tensors if tied.is_head(name) or tied.is_embedding(name)]
    rows = {name: new.get(name, model.tensors[name]).shape[0] for name in tables}
    if len(set(rows.values())) > 1:
        listed = ", ".join(f"{name} {count}" for name, count in rows.items())
        raise ValueError(f"the adapter {folder} leaves tables of tokens with other rows ({listed}); {_ADVICE}")
    return rows[resized[0]]


def _update(
    config: Mapping[str, Any],
    stored: Mapping[str, Stored],
    alias: str,
    parts: Mapping[str, str],
    weight: TensorInfo,
    kind: str | None,
) -> Update:
    a, b = stored[parts["A"]].info, stored[parts["B"]].info
    module = alias.removesuffix(".weight")
    rank = config["rank_pattern"].find(module, 8 if config.get("r") is None else config["r"])
    alpha = config["alpha_pattern"].find(module, 8 if config.get("lora_alpha") is None else config["lora_alpha"])
    conv1d = kind in TRANSPOSED_TYPES and module.rpartition(".")[2] in TRANSPOSED_NAMES
    transposed = conv1d or "lora_embedding_" in parts["A"]
    fits = len(a.shape) == len(b.shape) == 2 and a.shape[0] == b.shape[1] and a.is_float and b.is_float
    if not fits or weight.shape != ((a.shape[1], b.shape[0]) if transposed else (b.shape[0], a.shape[1])):
        raise ValueError(f"its factors are {a.dtype} {list(a.shape)} and {b.dtype} {list(b.shape)}")
    if a.shape[0] != rank:
        raise ValueError(f"its factors have rank {a.shape[0]} and its config says {rank}")
    scaling = alpha / math.sqrt(rank) if config.get("use_rslora") else alpha / rank
    return Update(parts["A"], parts["B"], rank, scaling, transposed)


def _check_replacement(folder: Path, new: TensorInfo, name: str, model: FolderCheckpoint, target: str) -> None:
    old = model.tensors[target]
    free = 1 if tied.is_embedding(target) or tied.is_head(target) else 0
    if new.is_float != old.is_float or len(new.shape) != len(old.shape) or new.shape[free:] != old.shape[free:]:
        raise ValueError(
            f"the adapter {folder} replaces {target}, {old.dtype} {list(old.shape)} in {model.source}, by {name}, "
            f"{new.dtype} {list(new.shape)}; give the model that it was trained on"
        )


def _same(one: Stored, other: Stored) -> bool:
    """Whether two stored tensors hold the same."""
    if one.info != other.info:
        return False
    with one.file.open("rb") as first, other.file.open("rb") as second:
        first.seek(one.offset)
        second.seek(other.offset)
        counts = [min(_PIECE, one.info.nbytes - start) for start in range(0, one.info.nbytes, _PIECE)]
        return all(first.read(count) == second.read(count) for count in counts)
