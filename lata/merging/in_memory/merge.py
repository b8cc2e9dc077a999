"""One merge held in memory for many λ: read once, then round(θ_start + λ·D) into the weights of a model, one λ
after another.

    merge = lata.hold(pre=…, experts={"math": …, "code": …}, base=…, method="lata_log")
    for lam in (0.2, 0.4, 0.6):
        merge.write(lam, model)

Every λ starts from θ_start, never from the λ before, and goes through `lata.engine.apply`: it equals the
merge that is written to disk at that λ bit for bit, and a hundred of them do not drift. With one λ for all tasks
θ_start and D are held, and a λ costs one reading of them and one writing of the weights. With a λ for each task
θ_pre and the experts are held instead, as they are stored, and every λ makes D anew, in the cache where the
method is a weighted sum of task vectors; that takes less memory than a τ_t in fp32 for each task.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from lata.checkpoints.digests import chunk_digests, tensor_digest, weights_digest
from lata.engine.apply import Applied, apply, length
from lata.engine.stream import Block, Piece, Stream
from lata.engine.vectors import Direction
from lata.merging.in_memory.destinations import Buffer, Destination, InPlace, destinations
from lata.merging.request import check_lam
from lata.numerics.dtypes import Float
from lata.numerics.tensors import CHUNK, ITEM_SIZE, TensorInfo

if TYPE_CHECKING:
    import torch

    from lata.merging.in_memory.destinations import LoadedModel

#: Elements that are merged at a time where D is held: more than elsewhere, for only the result lies in the cache.
BLOCK = 4 * CHUNK
#: λ, or one for each task.
Lam: TypeAlias = float | Mapping[str, float]
#: λ_t of each task (empty for one λ outside of D) → D.
Make = Callable[[Mapping[str, float]], Direction]


@dataclass(frozen=True)
class MergeFacts:
    """What is known of the weights at one λ.

    Attributes:
        distance: ‖θ − θ_start‖₂ after rounding, in fp64.
        finite: whether every value is; a merge that is not is unstable.
        digest: of the weights (`lata.checkpoints.digests`), the same as of the merge on disk; empty unless asked for.
    """

    distance: float
    finite: bool
    digest: str = ""


class InMemoryMerge:
    """One merge in memory; `lata.hold` makes it. Not for several threads at a time.

    Args:
        stream: what the weights are made of, in memory (`lata.numerics.tensors.InMemoryCheckpoint`).
        make: makes D.
        tasks: names of the experts.
        headers: dtypes and shapes of the merged parameters as a merge on disk stores them.
        per_task: whether `make` takes a λ for each task.
        forget: θ = θ_start − λ·D instead of θ_start + λ·D.
        copied: tensors that are not merged but belong to the model on disk → header and digest.
    """

    def __init__(
        self,
        stream: Stream,
        make: Make,
        *,
        tasks: Sequence[str],
        headers: Mapping[str, TensorInfo],
        per_task: bool = False,
        forget: bool = False,
        copied: Mapping[str, tuple[TensorInfo, str]] | None = None,
    ) -> None:
        self._stream, self._make, self._tasks = stream, make, tuple(sorted(tasks))
        self._headers = {name: headers[name] for name in stream.names}
        self._per_task, self._sign = per_task, -1.0 if forget else 1.0
        self._copied = copied or {}
        self._plain = None if per_task else make({})

    def write(self, lam: Lam, model: LoadedModel, *, digest: bool = False) -> MergeFacts:
        """Put the merge at λ into a loaded model.

        Args:
            lam: as for `lata.merge`; or one for each task where the merge is held `per_task`.
            model: it, or its parameters by name; contiguous tensors. Their dtype may differ from the merge's:
                they take the merge's rounded values.
            digest: name the weights, too.

        Raises:
            ValueError: λ is not finite, not of the form that is held, or one that the method does not take; or the
                model does not fit (`destinations`), or θ_start holds values that are not finite.
        """
        return self._at(lam, destinations(model, self._headers, self._stream.held()), digest)

    def measure(self, lam: Lam, *, digest: bool = False) -> MergeFacts:
        """What `write` would return; nothing is written."""
        return self._at(lam, {name: Buffer(info.dtype) for name, info in self._headers.items()}, digest)

    def tensors(self, lam: Lam) -> Iterator[tuple[str, torch.Tensor]]:
        """The merged parameters at λ with their names, one after another, for an engine that loads weights itself.

        Each is a new tensor on the CPU; nothing holds it but the caller. Raises as `write`.
        """
        direction, scale = self._direction(lam)
        return (self._tensor(name, direction, scale) for name in self._stream.names)

    def close(self) -> None:
        """End the threads."""
        self._stream.close()

    def _at(self, lam: Lam, where: Mapping[str, Destination], digest: bool) -> MergeFacts:
        direction, scale = self._direction(lam)

        def visit(block: Block) -> tuple[Applied, bytes]:
            dtype, destination = self._headers[block.name].dtype, where[block.name]
            raw = destination.raw(block)
            applied = apply(block, direction, scale, dtype, raw)
            destination.flush(block, raw)
            return applied, chunk_digests(raw, ITEM_SIZE[dtype]) if digest else b""

        found = self._stream.each(visit)
        return MergeFacts(
            distance=length((piece, applied) for piece, (applied, _) in found),
            finite=all(applied.finite for _, (applied, _) in found),
            digest=self._digest([(piece, chunks) for piece, (_, chunks) in found]) if digest else "",
        )

    def _tensor(self, name: str, direction: Direction, scale: float) -> tuple[str, torch.Tensor]:
        import torch

        from lata.numerics.torch_views import raw_view, torch_dtype

        info = self._headers[name]
        tensor = torch.empty(info.shape, dtype=torch_dtype(info.dtype))
        whole = InPlace(info.dtype, raw_view(tensor))
        self._stream.each(lambda block: apply(block, direction, scale, info.dtype, whole.raw(block)), [name])
        return name, tensor

    def _direction(self, lam: Lam) -> tuple[Direction, float]:
        """D and what it is multiplied by."""
        check_lam(lam, self._tasks)
        if isinstance(lam, Mapping):
            if not self._per_task:
                raise ValueError("this merge is held for one λ: give lam as a number, or hold it with per_task=True")
            return self._make(lam), self._sign
        if self._plain is None:
            self._plain = self._make({})
        return self._plain, self._sign * lam

    def _digest(self, found: Sequence[tuple[Piece, bytes]]) -> str:
        chunks: dict[str, list[bytes]] = {name: [] for name in self._headers}
        for piece, part in found:
            chunks[piece.name].append(part)
        digests = {name: tensor_digest(b"".join(parts)) for name, parts in chunks.items()}
        for name, (_, known) in self._copied.items():
            digests[name] = known
        return weights_digest({**self._headers, **{name: info for name, (info, _) in self._copied.items()}}, digests)


def hold_direction(stream: Stream, direction: Direction) -> Direction:
    """D of all blocks in memory, in fp32; one pass. What it returns gives views, which must not be changed."""
    held = {name: np.empty(stream.count(name), dtype=np.float32) for name in stream.names}

    def visit(block: Block) -> bool:
        values = direction(block)
        if values is not None:
            held[block.name][block.start : block.start + block.count] = values
        return values is not None

    added: dict[str, bool] = {}
    for piece, some in stream.each(visit):
        assert added.setdefault(piece.name, some) == some, "a method adds to all of a parameter or to nothing of it"

    def part(block: Block) -> Float | None:
        return held[block.name][block.start : block.start + block.count] if added[block.name] else None

    return part
