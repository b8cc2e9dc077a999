"""The last pass of a merge: every shard, block by block, with the digests and sums that describe what was written."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lata.checkpoints.digests import chunk_digests, tensor_digest
from lata.engine.apply import Applied, apply
from lata.engine.stream import Block, Piece, Scratch, Stream
from lata.numerics.tensors import ITEM_SIZE
from lata.output.writer import PAGE, Output, Shard

if TYPE_CHECKING:
    from lata.engine.vectors import Direction


@dataclass(frozen=True)
class _Found:
    """What is known of a piece that was written."""

    piece: Piece
    applied: Applied
    digests: bytes


class ShardWriter:
    """Writes the shards of one merge.

    Args:
        stream: the checkpoints.
        direction: D.
        lam: λ with its sign.
        output: where the shards are written.
    """

    def __init__(self, stream: Stream, direction: Direction, lam: float, output: Output) -> None:
        self._stream, self._direction, self._lam, self._output = stream, direction, lam, output
        self._merged = frozenset(stream.names)

    def write(self, shard: Shard) -> None:
        """Write one shard, and note with it its tensors' ``digests``, ``squares`` of the distance and ``unstable``
        names, and the digests of all ``sources`` as far as they are known."""
        places = {piece.name: piece for piece in shard.pieces}

        def item(piece: Piece) -> int:
            return ITEM_SIZE[places[piece.name].info.dtype]

        def offset(piece: Piece) -> int:
            return places[piece.name].offset + piece.start * item(piece)

        def visit(span: list[Piece], scratch: Scratch, state: None) -> list[_Found]:
            begin, end = offset(span[0]), offset(span[-1]) + span[-1].count * item(span[-1])
            # Where the address and the offset in the file agree modulo a page, the bytes are not copied again.
            out = scratch.aligned("out", begin % PAGE + end - begin)[begin % PAGE :]
            found = []
            for piece in span:
                raw = out[offset(piece) - begin :][: piece.count * item(piece)]
                block = Block(self._stream, piece, scratch)
                dtype = places[piece.name].info.dtype
                if piece.name in self._merged:
                    applied = apply(block, self._direction, self._lam, dtype, raw)
                else:
                    block.copy("start", dtype, raw)
                    applied = Applied((), finite=True)
                found.append(_Found(piece, applied, chunk_digests(raw, item(piece))))
            self._output.write(shard.file, begin, out)
            return found

        groups, _ = self._stream.run(self._stream.spans(list(places)), visit, lambda: None)
        self._output.finish(shard.file, self._facts(shard, [found for group in groups for found in group]))

    def _facts(self, shard: Shard, found: list[_Found]) -> dict[str, Any]:
        chunks: dict[str, list[bytes]] = {piece.name: [] for piece in shard.pieces}
        squares: dict[str, list[float]] = {piece.name: [] for piece in shard.pieces}
        for part in found:
            chunks[part.piece.name].append(part.digests)
            squares[part.piece.name] += part.applied.squares
        inspector = self._stream.inspector
        return {
            "digests": {name: tensor_digest(b"".join(parts)) for name, parts in chunks.items()},
            "squares": {name: math.fsum(parts) for name, parts in squares.items()},
            "unstable": sorted({part.piece.name for part in found if not part.applied.finite}),
            "sources": {role: inspector.known(role) for role in inspector.roles},
        }
