"""The stages of the family: what each model starts from, reads, and how it is trained. No torch here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """The architecture: a Llama with tied embeddings."""

    hidden: int
    layers: int
    heads: int
    ffn: int
    vocabulary: int
    context: int


@dataclass(frozen=True)
class Stage:
    """One training run.

    Attributes:
        name: of the model that comes out.
        parent: the model it starts from; None for random weights.
        mixture: (generator, number of examples), see `corpora.mixtures`.
        lr: peak learning rate.
        muon: Muon for the matrices of the blocks, with AdamW for the rest; AdamW for everything otherwise.
        batch: sequences in a step.
        blocks_only: embeddings and norms stay as they are in the parent.
        peak: relative depth of the blocks with the highest learning rate; None: all have the same.
        packed: length in tokens of the windows that documents are packed into; 0 for one example a row, with the
            loss on responses only.
    """

    name: str
    parent: str | None
    mixture: tuple[tuple[str, int], ...]
    lr: float
    batch: int
    muon: bool = False
    packed: int = 0
    blocks_only: bool = False
    peak: float | None = None

    @property
    def examples(self) -> int:
        return sum(count for _, count in self.mixture)


def shares(total: int, **parts: float) -> tuple[tuple[str, int], ...]:
    """A mixture of about `total` examples with the given shares."""
    return tuple((name, round(total * share)) for name, share in parts.items())
