"""What the hub, or its cache on this machine, says of a model; weights are never fetched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from experiments.planning.cost import ITEM
from experiments.planning.shapes import PUBLISHED, Shape, shape_of
from lata.untrusted.json_files import read_json

#: The place of a model that the user has still to name.
MISSING = "missing"


@dataclass(frozen=True)
class Model:
    """One model of a study.

    Attributes:
        name: in the family.
        source: as configured, without the names of somebody's folders.
        licence, gated: as configured, or as the hub says.
        place: ``folder``, ``hub cache``, ``hub``, ``with this package``, ``trained here``, ``to train``,
            ``unknown`` or `MISSING`.
        parameters: number of them; None where unknown.
        stored: bytes of the weights; None where unknown.
        fetch: hub id → bytes that have to come from there; None where unknown.
        shape: None where unknown.
        tokenizer: its ``tokenizer.json`` on this machine, if there is one.
        item: bytes a value as its family's file says.
        note: what is unknown or assumed, and how to know it.
    """

    name: str
    source: str
    licence: str = ""
    gated: bool = False
    place: str = "unknown"
    parameters: int | None = None
    stored: int | None = None
    fetch: Mapping[str, int] | None = None
    shape: Shape | None = None
    tokenizer: Path | None = None
    item: int = ITEM["bfloat16"]
    note: str = ""

    @property
    def download(self) -> int | None:
        """Bytes that have to come from the hub; None where unknown."""
        return None if self.fetch is None else sum(self.fetch.values())


class Hub:
    """The hub as it can be asked from here; after one failure to reach it, it is not asked again."""

    def __init__(self) -> None:
        self._unreachable = ""
        self._known: dict[str, Model] = {}

    def cached(self, part: str) -> Path | None:
        """The snapshot of a model that was fetched before."""
        from huggingface_hub import snapshot_download

        name, _, revision = part.partition("@")
        try:
            return Path(snapshot_download(name, revision=revision or None, local_files_only=True))
        except (OSError, ValueError):
            return None

    def ask(self, part: str) -> Model:
        """What the hub says of a model; a note where it says nothing."""
        if part not in self._known:
            self._known[part] = self._asked(part)
        return self._known[part]

    def _asked(self, part: str) -> Model:
        from huggingface_hub import HfApi, errors
        from huggingface_hub.utils import filter_repo_objects

        from lata.checkpoints.hub import UNWANTED, WANTED

        name, _, revision = part.partition("@")
        page = f"https://huggingface.co/{name}"
        empty = Model(part, part)
        if self._unreachable:
            return replace(empty, note=self._unreachable)
        try:
            info: Any = HfApi().model_info(name, revision=revision or None, files_metadata=True)
        except errors.GatedRepoError:
            return replace(empty, note=f"{name} is gated: accept its licence on {page}, then `hf auth login`")
        except errors.RevisionNotFoundError:
            return replace(empty, note=f"{name} has no revision {revision}; choose one of {page}/commits/main")
        except errors.RepositoryNotFoundError:
            return replace(empty, note=f"{name} is not on the hub, or private: check the name, or `hf auth login`")
        except Exception as error:  # the client raises what its network layers raise
            offline = isinstance(error, errors.OfflineModeIsEnabled)
            why = "HF_HUB_OFFLINE is set" if offline else (str(error).splitlines() or [type(error).__name__])[0][:80]
            advice = "unset it" if offline else "go online"
            self._unreachable = (
                f"the hub cannot be asked ({why}), so sizes of models that are not on this disk are assumed from the "
                f"published shape and the dtype in conf/family, or unknown; {advice}, or give folders"
            )
            return replace(empty, note=self._unreachable)
        wanted = filter_repo_objects(
            info.siblings or [], allow_patterns=WANTED, ignore_patterns=UNWANTED, key=lambda file: file.rfilename
        )
        sizes = {file.rfilename: file.size or 0 for file in wanted}
        weights = sum(size for file, size in sizes.items() if file.endswith(".safetensors"))
        if not weights:
            return replace(empty, note=f"{name} has no safetensors on the hub; see {page}")
        counts = dict(info.safetensors.parameters) if info.safetensors else {}
        return replace(
            empty,
            licence=str((info.card_data or {}).get("license") or ""),
            gated=bool(info.gated),
            place="hub",
            parameters=sum(counts.values()) or weights // empty.item,
            stored=weights,
            fetch={name: sum(sizes.values())},
            shape=self._shape(name, revision),
        )

    def _shape(self, name: str, revision: str) -> Shape | None:
        """By the model's ``config.json``, some kilobytes; as published where it is gated."""
        from huggingface_hub import hf_hub_download

        try:
            file = Path(hf_hub_download(name, "config.json", revision=revision or None))
            return shape_of(read_json(file))
        except (OSError, ValueError):
            return PUBLISHED.get(name)
