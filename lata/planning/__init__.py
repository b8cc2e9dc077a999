"""What a merge would read, write and take, and everything that is wrong with it, before any weights are read."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lata.checkpoints import tied
from lata.checkpoints.folder import FolderCheckpoint
from lata.checkpoints.lora.checkpoint import AdapterCheckpoint
from lata.engine.stream import BLOCK, MOST_THREADS, SPAN, cores
from lata.numerics.tensors import Checkpoint, TensorInfo
from lata.planning import compare, room, units
from lata.planning.compare import Findings

VOCABULARIES = ("error", "common")

# Resident bytes of Python, numpy and the compiled kernels, measured.
_INTERPRETER = 200_000_000
# fp32 blocks that a method works in beside those of its inputs.
_WORKING_BLOCKS = 5


@dataclass(frozen=True)
class Inputs:
    """The checkpoints of a merge.

    Attributes:
        pre: θ_pre.
        experts: task → θ_ft,t.
        base: θ_base, where the method needs it.
        start: what the merge starts from: the target of forgetting; None for `pre`.
    """

    pre: Checkpoint
    experts: Mapping[str, Checkpoint]
    base: Checkpoint | None = None
    start: Checkpoint | None = None


@dataclass(frozen=True)
class Rates:
    """Bytes a second, for the expected time; the defaults are those of a laptop's solid-state disk and two cores.

    Attributes:
        read: from disk.
        compute: of inputs that are combined.
        write: to disk, with all of it on the disk at the end.
    """

    read: float = 1.4e9
    compute: float = 1.5e9
    write: float = 0.8e9


@dataclass(frozen=True)
class Plan:
    """A merge on paper.

    Attributes:
        problems: any of them refuses the merge; one line each.
        warnings: what the user should know; one line each.
        merged: float tensors that are merged, sorted.
        copied: other tensors, copied from the start.
        rows: tensor whose number of rows differs → leading rows that all models share.
        layers: transformer blocks.
        parameters: elements that are merged.
        tensors: number of tensors written.
        read_bytes: over all passes.
        write_bytes: weights of the result, and the files beside them.
        peak_bytes: resident memory, an upper estimate.
        free_bytes: room on the output's disk; 0 without an output.
        seconds: expected time, a rough one.
    """

    problems: tuple[str, ...]
    warnings: tuple[str, ...]
    merged: tuple[str, ...]
    copied: tuple[str, ...]
    rows: Mapping[str, int]
    layers: int
    parameters: int
    tensors: int
    read_bytes: int
    write_bytes: int
    peak_bytes: int
    free_bytes: int
    seconds: float | None

    def refuse(self) -> None:
        """ValueError with everything that is wrong, a line each."""
        if self.problems:
            raise ValueError("\n".join(self.problems))

    def describe(self) -> str:
        """The plan in aligned lines, problems last."""
        facts = {
            "tensors": f"{len(self.merged)} merged" + (f", {len(self.copied)} copied" if self.copied else ""),
            "parameters": units.amount(self.parameters),
            "layers": str(self.layers),
            "shared rows": ", ".join(f"{name} {rows}" for name, rows in self.rows.items()),
            "read": units.size(self.read_bytes),
            "write": units.size(self.write_bytes) if self.write_bytes else "",
            "peak memory": f"under {units.size(self.peak_bytes)}",
            "free disk": units.size(self.free_bytes) if self.write_bytes else "",
            "time": "" if self.seconds is None else f"about {units.duration(self.seconds)}",
        }
        width = max(map(len, facts)) + 2
        lines = [f"{name:<{width}}{value}" for name, value in facts.items() if value]
        lines += [f"{'warning':<{width}}{line}" for line in self.warnings]
        return "\n".join([*lines, *(f"{'problem':<{width}}{line}" for line in self.problems)])


def make_plan(
    inputs: Inputs,
    *,
    passes: int,
    needs_base: bool,
    output: Path | None,
    vocab: str = "error",
    container: str | None = None,
    rates: Rates | None = None,
) -> Plan:
    """Plan a merge from headers, configs and tokenizers.

    Args:
        inputs: its checkpoints.
        passes: how often `pre` and the experts are read.
        needs_base: layers are compared with θ_base, which is then read once; otherwise `base` is not looked at.
        output: the folder to make; None where nothing is written.
        vocab: ``error``, or ``common`` to merge only the rows that all models share.
        container: of the decoder's blocks, where the user names it.
        rates: of this machine.

    Raises:
        ValueError: `vocab` is neither.
    """
    if vocab not in VOCABULARIES:
        raise ValueError(f"vocab is {vocab!r}; choose one of {', '.join(VOCABULARIES)}")
    pre, start = inputs.pre, inputs.start or inputs.pre
    experts = [inputs.experts[task] for task in sorted(inputs.experts)]
    bases = [inputs.base] if needs_base and inputs.base is not None else []
    others = [*experts, *bases, *([inputs.start] if inputs.start is not None else [])]
    findings = Findings()
    common = vocab == "common"
    for checkpoint in (pre, *others):
        compare.note_incomplete(checkpoint, findings, container)
        compare.note_ignored(checkpoint, findings)
    alike = [other for other in others if compare.compare(pre, other, findings, common, container)]
    _note_twins(experts, findings)
    rows = _rows(start, [pre, *others]) if common else {}
    compare.compare_integers(pre, alike, findings)
    compare.compare_tokenizers(pre, alike, findings, _shared_tokens([pre, *others]), common)
    _note_dtypes(start, [pre, *others], findings)
    layers = compare.count_blocks(pre, container)
    if needs_base and inputs.base is None:
        findings.problems.append("layers are compared with θ_base, which is not given; give base")
    if needs_base and not layers:
        problem = compare.blocks_of(pre, container).problem
        findings.problems.append(f"{pre.label}: {problem}; or choose a method that needs no layers, such as ta")
    everywhere = [name for name in sorted(start.tensors) if all(name in other.tensors for other in (pre, *others))]
    merged = tuple(name for name in everywhere if start.tensors[name].is_float)
    read = passes * _bytes([pre, *experts]) + _bytes(bases) + (_bytes([inputs.start]) if inputs.start else 0)
    write = 0
    if output is not None:
        compare.note_companions(start, findings)
        beside = list(start.companions.files.values()) if isinstance(start, compare.OnDisk) else []
        write = sum(info.nbytes for info in _stored(start).values()) + sum(file.stat().st_size for file in beside)
        folders = [c.folder for c in (pre, *others) if isinstance(c, FolderCheckpoint | AdapterCheckpoint)]
        findings.problems += room.problems_of(output, write, folders)
    rate = rates or Rates()
    return Plan(
        problems=tuple(findings.problems),
        warnings=tuple(findings.warnings),
        merged=merged,
        copied=tuple(name for name, info in sorted(start.tensors.items()) if not info.is_float),
        rows=rows,
        layers=layers,
        parameters=sum(start.tensors[name].count for name in merged),
        tensors=len(start.tensors),
        read_bytes=read,
        write_bytes=write,
        peak_bytes=_peak(1 + len(others)),
        free_bytes=room.free_bytes(output) if output is not None else 0,
        seconds=max(read / rate.read, read / rate.compute, write / rate.write),
    )


def _rows(start: Checkpoint, checkpoints: list[Checkpoint]) -> dict[str, int]:
    """Tables of tokens whose number of rows differs → the rows that all have."""
    found = {}
    for name in sorted(start.tensors):
        shapes = [checkpoint.tensors[name].shape for checkpoint in checkpoints if name in checkpoint.tensors]
        if len(set(shapes)) > 1 and compare.vocabulary_sized(name, shapes):
            found[name] = min(shape[0] for shape in shapes)
    return found


def _shared_tokens(checkpoints: list[Checkpoint]) -> int:
    """The number of tokens that every table of every checkpoint has a row for."""
    tables = [
        info.shape[0]
        for checkpoint in checkpoints
        for name, info in checkpoint.tensors.items()
        if tied.is_embedding(name) or tied.is_head(name)
    ]
    return min(tables, default=sys.maxsize)


def _note_twins(experts: list[Checkpoint], findings: Findings) -> None:
    for number, expert in enumerate(experts):
        for earlier in experts[:number]:
            if expert.identity is not None and expert.identity == earlier.identity:
                findings.warnings.append(f"{earlier.label} and {expert.label} are the same model")


def _note_dtypes(start: Checkpoint, checkpoints: list[Checkpoint], findings: Findings) -> None:
    used = {
        checkpoint.label: "/".join(sorted({info.dtype for info in _stored(checkpoint).values() if info.is_float}))
        for checkpoint in checkpoints
    }
    if len(set(used.values())) > 1 or "/" in used[start.label]:
        listed = ", ".join(f"{label} {dtypes}" for label, dtypes in used.items())
        findings.warnings.append(f"dtypes are mixed ({listed}); the result has those of {start.label}")


def _stored(checkpoint: Checkpoint) -> Mapping[str, TensorInfo]:
    return checkpoint.stored if isinstance(checkpoint, AdapterCheckpoint) else checkpoint.tensors


def _bytes(checkpoints: list[Checkpoint]) -> int:
    return sum(info.nbytes for checkpoint in checkpoints for info in _stored(checkpoint).values())


def _peak(sources: int) -> int:
    """Every thread holds a block of each source, raw and in fp32, blocks to work in, and a span of the result."""
    a_thread = 4 * (BLOCK * (2 * sources + _WORKING_BLOCKS) + SPAN)
    return _INTERPRETER + min(cores() + 1, MOST_THREADS) * a_thread
