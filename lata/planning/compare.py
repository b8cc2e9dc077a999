"""What keeps two checkpoints from being merged, found from headers, configs and tokenizers alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from lata.checkpoints import tied
from lata.checkpoints.companions import Companions
from lata.checkpoints.digests import tensor_digests
from lata.checkpoints.tokenizer import Vocabulary, differences, renamed, vocabulary
from lata.engine.layers import Blocks, find_blocks
from lata.numerics.tensors import Checkpoint, TensorInfo
from lata.planning import configs

#: Lines of one kind that are written out; the rest is counted.
MOST_LINES = 20


@dataclass
class Findings:
    """Problems, which refuse a merge, and warnings; one line each."""

    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@runtime_checkable
class OnDisk(Protocol):
    """A checkpoint with files beside its weights."""

    @property
    def ignored(self) -> Mapping[str, str]: ...

    def tokenizer_files(self) -> list[Path]: ...

    @property
    def companions(self) -> Companions: ...


def blocks_of(checkpoint: Checkpoint, container: str | None) -> Blocks:
    """Which of a checkpoint's tensors are those of the decoder's blocks.

    Args:
        checkpoint: its names and its config decide.
        container: what the user says that holds the blocks.
    """
    return find_blocks(checkpoint.tensors, configs.layers(checkpoint.config), container)


def count_blocks(checkpoint: Checkpoint, container: str | None) -> int:
    """Number of the decoder's blocks; 0 where it is open which they are."""
    blocks = blocks_of(checkpoint, container)
    return len({blocks.of(name) for name in checkpoint.tensors} - {None})


def compare(
    pre: Checkpoint, other: Checkpoint, findings: Findings, common: bool, container: str | None = None
) -> bool:
    """Note what differs between θ_pre and another checkpoint; False where they are different architectures.

    Args:
        pre: θ_pre.
        other: an expert, θ_base or the target.
        findings: gets the lines.
        common: tables of tokens may have different numbers of rows.
        container: as for `blocks_of`.
    """
    numbers = count_blocks(pre, container), count_blocks(other, container)
    ours, theirs = pre.config.get("architectures"), other.config.get("architectures")
    kinds = pre.config.get("model_type"), other.config.get("model_type")
    if numbers[0] != numbers[1] or (ours and theirs and ours != theirs) or (all(kinds) and kinds[0] != kinds[1]):
        findings.problems.append(
            f"{pre.label} has {numbers[0]} layers ({_kind(pre)}), {other.label} {numbers[1]} layers "
            f"({_kind(other)}); give models of one architecture"
        )
        return False
    _compare_names(pre, other, findings)
    _compare_shapes(pre, other, findings, common)
    shapes, meanings = configs.differences(pre.config, other.config, (pre.label, other.label))
    findings.problems += shapes
    findings.warnings += meanings
    if pre.identity is not None and pre.identity == other.identity:
        findings.warnings.append(f"{other.label} is the same model as {pre.label}: their difference is zero")
    return True


def compare_tokenizers(
    pre: Checkpoint, others: Iterable[Checkpoint], findings: Findings, shared_rows: int, common: bool
) -> None:
    """Note where tokens of θ_pre and of other checkpoints differ.

    Args:
        pre: θ_pre.
        others: the other checkpoints.
        findings: gets the lines.
        shared_rows: rows that every table of tokens has.
        common: only these count, and added tokens of them may have other names. Advised where that is enough.
    """
    ours = _vocabulary(pre, findings)
    for other in others:
        theirs = _vocabulary(other, findings)
        if ours is None or theirs is None:
            continue
        try:
            names = pre.label, other.label
            left = differences(ours, theirs, names, shared_rows)
            lines = left if common else differences(ours, theirs, names)
            several = renamed(ours, theirs, shared_rows)
        except ValueError as error:
            findings.problems.append(str(error))
            continue
        advice = "give models with one tokenizer"
        if not common and not left:
            advice += ", or set vocab=common" + (
                " to take added tokens of other names for the same" if several else ""
            )
        if common and several:
            listed = ", ".join(f"{n} {ours.tokens[n]!r} → {theirs.tokens[n]!r}" for n in several[:MOST_LINES])
            more = f" and {len(several) - MOST_LINES} more" if len(several) > MOST_LINES else ""
            findings.warnings.append(
                f"tokenizers: added tokens of {pre.label} have other names in {other.label} ({listed}{more}); "
                "their rows are merged all the same"
            )
        findings.problems += [f"{line}; {advice}" for line in lines]


def vocabulary_sized(name: str, shapes: Iterable[tuple[int, ...]]) -> bool:
    """Whether `name` is a table of tokens whose `shapes` differ in the number of rows alone."""
    distinct = set(shapes)
    known = tied.is_embedding(name) or tied.is_head(name)
    return known and all(distinct) and len({shape[1:] for shape in distinct}) == 1


def note_ignored(checkpoint: Checkpoint, findings: Findings) -> None:
    """Note tensors that are stored and left out."""
    if not isinstance(checkpoint, OnDisk):
        return
    for reason in dict.fromkeys(checkpoint.ignored.values()):
        names = [name for name, why in checkpoint.ignored.items() if why == reason]
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        findings.warnings.append(f"{checkpoint.label}: {names[0]}{more} is ignored: {reason}")


def note_companions(start: Checkpoint, findings: Findings) -> None:
    """Note what beside the weights of the model that the merge starts from does not go with the result."""
    if isinstance(start, OnDisk):
        found = start.companions
        findings.problems += [f"{start.label}: {line}" for line in found.refused]
        findings.warnings += [f"{start.label}: {line}" for line in found.missing]


def compare_integers(pre: Checkpoint, others: Iterable[Checkpoint], findings: Findings) -> None:
    """Note tensors of whole numbers that differ between models: they are copied, so the result would be of neither.

    They are read whole; in a plain model they are a few positions and masks.

    Raises:
        ValueError: one cannot be read.
    """
    for other in others:
        names = [
            name
            for name, info in pre.tensors.items()
            if not info.is_float and info.count and other.tensors.get(name) == info
        ]
        ours, theirs = tensor_digests(pre, names), tensor_digests(other, names)
        differing = [name for name in names if ours[name] != theirs[name]]
        if differing:
            more = f" and {len(differing) - 1} more" if len(differing) > 1 else ""
            findings.problems.append(
                f"{differing[0]}{more}: its {pre.tensors[differing[0]].dtype} values differ between {pre.label} and "
                f"{other.label}, and only floats can be merged; give unquantised models of one family"
            )


def note_incomplete(checkpoint: Checkpoint, findings: Findings, container: str | None = None) -> None:
    """Note a checkpoint with fewer blocks than its config says."""
    said, found = configs.layers(checkpoint.config), count_blocks(checkpoint, container)
    if container is None and said is not None and 0 < found < said:
        findings.problems.append(
            f"{checkpoint.label}: config.json says {said} layers, the weights have {found}; fetch the missing files"
        )


def _compare_names(pre: Checkpoint, other: Checkpoint, findings: Findings) -> None:
    missing, extra = pre.tensors.keys() - other.tensors.keys(), other.tensors.keys() - pre.tensors.keys()
    for longer, shorter, names, bare in ((pre, other, missing, extra), (other, pre, extra, missing)):
        prefix = _prefix(names, bare)
        if prefix:
            findings.problems.append(
                f"tensors of {longer.label} are named {prefix}…, those of {shorter.label} are not; load and save "
                f"{shorter.label} with transformers"
            )
            return
    for names, there, absent in ((missing, pre, other), (extra, other, pre)):
        ignored = absent.ignored if isinstance(absent, OnDisk) else {}
        lines = [
            f"{name}: {_shape(there.tensors[name])} in {there.label}, missing from {absent.label}"
            + (f" ({ignored[name]})" if name in ignored else "")
            for name in sorted(names)
            if there.tensors[name].is_float
        ]
        what = f"tensors are missing from {absent.label}"
        findings.problems += _few(lines, what, "give models of one family, complete")
        buffers = [name for name in sorted(names) if not there.tensors[name].is_float]
        findings.warnings += [f"{name}: only in {there.label}; it is not merged" for name in buffers]


def _compare_shapes(pre: Checkpoint, other: Checkpoint, findings: Findings, common: bool) -> None:
    shapes, kinds, rows = [], [], []
    for name in sorted(pre.tensors.keys() & other.tensors.keys()):
        ours, theirs = pre.tensors[name], other.tensors[name]
        both = f"{name}: {_shape(ours)} in {pre.label}, {_shape(theirs)} in {other.label}"
        if ours.is_float != theirs.is_float:
            kinds.append(both)
        elif ours.shape != theirs.shape and not vocabulary_sized(name, (ours.shape, theirs.shape)):
            shapes.append(both)
        elif ours.shape != theirs.shape and not common:
            shared = min(ours.shape[0], theirs.shape[0])
            rows.append(f"{both}; set vocab=common to merge the {shared} rows that both have")
    findings.problems += _few(shapes, "tensors differ in shape", "give models of one family")
    findings.problems += _few(kinds, "tensors differ in kind", "only floats can be merged; give models of one family")
    findings.problems += rows


def _vocabulary(checkpoint: Checkpoint, findings: Findings) -> Vocabulary | None:
    if not isinstance(checkpoint, OnDisk):
        return None
    found = vocabulary(checkpoint.tokenizer_files())
    if found is None:
        findings.warnings.append(f"{checkpoint.label} has no tokenizer beside its weights: tokens are not compared")
    return found


def _prefix(names: Iterable[str], bare: Iterable[str]) -> str:
    """What stands in front of every one of `bare` to make `names`, or nothing."""
    names, bare = set(names), set(bare)
    if not bare or len(names) != len(bare):
        return ""
    first = min(bare)
    prefixes = [name.removesuffix(first) for name in names if name.endswith(f".{first}")]
    return next((prefix for prefix in sorted(prefixes) if {prefix + name for name in bare} == names), "")


def _kind(checkpoint: Checkpoint) -> str:
    return str((checkpoint.config.get("architectures") or [checkpoint.config.get("model_type") or "unknown kind"])[0])


def _shape(info: TensorInfo) -> str:
    return f"{info.dtype} {list(info.shape)}"


def _few(lines: list[str], what: str, advice: str) -> list[str]:
    if len(lines) > MOST_LINES:
        lines = [*lines[:MOST_LINES], f"and {len(lines) - MOST_LINES} more {what}"]
    return [*lines[:-1], f"{lines[-1]}; {advice}"] if lines else []
