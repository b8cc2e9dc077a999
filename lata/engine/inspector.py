"""What is learned of checkpoints while they are read for something else: digests, and values that are not finite."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from lata.checkpoints.digests import chunk_digests, tensor_digest, tensor_digests
from lata.numerics.dtypes import is_finite
from lata.numerics.tensors import ITEM_SIZE, Checkpoint, Raw


class Inspector:
    """What a pass learns about its sources as it first reads them: digests, and values that are not finite.

    Args:
        sources: role → checkpoint. Those held in memory are not digested.
    """

    def __init__(self, sources: Mapping[str, Checkpoint]) -> None:
        self._sources = {role: s for role, s in sources.items() if role != "start" or s is not sources.get("pre")}
        self._known: dict[str, dict[str, str]] = {role: {} for role in self._sources}
        self._seen: set[tuple[str, str]] = set()
        self._parts: dict[tuple[str, str], dict[int, bytes]] = {}
        self._missing: dict[tuple[str, str], int] = {}
        self._lock = threading.Lock()

    @property
    def roles(self) -> tuple[str, ...]:
        """The sources that are looked at; one that has two roles is looked at once."""
        return tuple(self._sources)

    def known(self, role: str) -> dict[str, str]:
        """Tensor name → digest, as far as passes have read it."""
        with self._lock:
            return dict(self._known[role])

    def wants(self, role: str, name: str) -> bool:
        """Whether this tensor was not looked at in whole yet."""
        return role in self._known and (role, name) not in self._seen

    def assume(self, role: str, digests: Mapping[str, str]) -> None:
        """Take over digests that are known from before; whether values are finite is looked at all the same."""
        self._known[role].update(digests)

    def look(self, role: str, name: str, start: int, raw: Raw) -> None:
        """Digest and check the bytes of a tensor from element `start` on; ValueError names it and the model."""
        key = (role, name)
        with self._lock:
            if start in self._parts.setdefault(key, {}):
                return
        source = self._sources[role]
        info = source.tensors[name]
        if not is_finite(raw, info.dtype):
            raise ValueError(f"{source.label}: {name} holds values that are not finite; mend the checkpoint")
        digesting = source.identity is not None and name not in self._known[role]
        digests = chunk_digests(raw, ITEM_SIZE[info.dtype]) if digesting else b""
        with self._lock:
            parts = self._parts.get(key)
            if parts is None or start in parts:
                return
            parts[start] = digests
            self._missing[key] = self._missing.get(key, info.count) - raw.size // ITEM_SIZE[info.dtype]
            if self._missing[key] == 0:
                self._seen.add(key)
                if digesting:
                    self._known[role][name] = tensor_digest(b"".join(parts[first] for first in sorted(parts)))
                del self._parts[key], self._missing[key]

    def complete(self, role: str) -> dict[str, str]:
        """Tensor name → digest, all of them; tensors that no pass has read in whole are read now."""
        source, known = self._sources[role], self._known[role]
        known.update(tensor_digests(source, source.tensors.keys() - known.keys()))
        return {name: known[name] for name in sorted(source.tensors)}
