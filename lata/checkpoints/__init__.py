"""Opening a checkpoint by what a user names: a folder, a model on the hub, or either with a LoRA adapter."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lata.checkpoints import headers, hub
from lata.checkpoints.folder import FolderCheckpoint
from lata.untrusted.json_files import read_json

if TYPE_CHECKING:
    from lata.checkpoints.lora.checkpoint import AdapterCheckpoint

__all__ = ["FolderCheckpoint", "open_checkpoint"]


def open_checkpoint(
    source: str | Path, label: str | None = None, *, quantised: bool = False
) -> FolderCheckpoint | AdapterCheckpoint:
    """Open a model by its headers.

    Args:
        source: a folder; a hub id ``org/name`` or ``org/name@revision``; ``model+adapter`` where either side is a
            folder or a hub id; or a LoRA adapter alone whose config names its base.
        label: what messages call it; the source if None.
        quantised: open also a model whose config.json says that it is quantised, for scoring; not under an adapter.

    Raises:
        ValueError: it cannot be found, is damaged, quantised or pickled, or the adapter does not fit its model.
    """
    model, adapter = _split(str(source))
    try:
        found = hub.locate(model)
        if adapter is None and (found.folder / "adapter_config.json").is_file():
            if headers.has_weights(found.folder):
                raise ValueError(
                    f"{model} holds a model and an adapter; give {model}+{model} to apply the adapter, or move "
                    "adapter_config.json away"
                )
            model, adapter = _named_base(found), found.source
            found = hub.locate(model)
        beside = hub.locate(adapter) if adapter is not None else None
    except ValueError as error:
        raise ValueError(f"{label}: {error}" if label else str(error)) from None
    checkpoint = FolderCheckpoint(found.folder, label, found.source, quantised=quantised and beside is None)
    if beside is None:
        return checkpoint
    from lata.checkpoints.lora.checkpoint import AdapterCheckpoint

    return AdapterCheckpoint(checkpoint, beside.folder, label, beside.source)


def _split(source: str) -> tuple[str, str | None]:
    """``model+adapter`` apart; a folder whose own name has a plus stays whole."""
    if "+" not in source or hub.is_folder(source):
        return source, None
    cuts = [place for place, letter in enumerate(source) if letter == "+"]
    pairs = [(source[:cut], source[cut + 1 :]) for cut in cuts]
    fitting = [pair for pair in pairs if all(map(hub.is_plausible, pair))]
    return (fitting or pairs)[0]


def _named_base(adapter: hub.Located) -> str:
    config = read_json(adapter.folder / "adapter_config.json")
    base = config.get("base_model_name_or_path")
    if not base:
        raise ValueError(f"the adapter {adapter.source} names no base model; give MODEL+{adapter.source}")
    revision = config.get("revision")
    name = f"{base}@{revision}" if revision and not Path(base).is_dir() else str(base)
    if not hub.is_plausible(name):
        raise ValueError(
            f"the adapter {adapter.source} names the base {name}, which is not here; give MODEL+{adapter.source}"
        )
    return name
