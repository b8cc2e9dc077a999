"""Whether two models mean the same by a token's number, read from tokenizer files without a tokenizer.

Only what gives rows of the embeddings their meaning counts: which token has which number, and how text is cut into
them (merges, scores). Padding, truncation and templates do not.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from blake3 import blake3

from lata.untrusted.json_files import read_bytes, read_json, read_text

FAST = "tokenizer.json"
#: What says the same where there is no `FAST`.
SLOW = (
    "vocab.json",
    "added_tokens.json",
    "merges.txt",
    "vocab.txt",
    "tokenizer.model",
    "spiece.model",
    "tekken.json",
)
# Files that are compared as they are.
_OPAQUE = (".model", ".tiktoken", "tekken.json")


# What else belongs to a tokenizer, and must not be mixed with another one's.
_NAMES = (
    *("tokenizer", "special_tokens_map", "added_tokens", "vocab.", "merges.", "tekken."),
    *("chat_template", "additional_chat_templates/"),
)
_ENDS = (".model", ".spm", ".tiktoken")


def of_tokenizer(name: str) -> bool:
    """Whether a file of this name is part of a tokenizer."""
    return name.startswith(_NAMES) or name.endswith(_ENDS)


@dataclass(frozen=True)
class Vocabulary:
    """Files that define a vocabulary.

    Attributes:
        files: name → path.
        digest: of their bytes.
    """

    files: Mapping[str, Path]
    digest: str

    @cached_property
    def tokens(self) -> Mapping[int, str]:
        """Number → token; empty where only a binary file knows."""
        if FAST in self.files:
            return self._fast[0]
        if "vocab.txt" in self.files:
            return dict(enumerate(read_text(self.files["vocab.txt"]).splitlines()))
        tables = [read_json(self.files[name]) for name in ("vocab.json", "added_tokens.json") if name in self.files]
        return {number: token for table in tables for token, number in table.items()}

    @cached_property
    def added(self) -> frozenset[int]:
        """Numbers of tokens that were added to the trained vocabulary, such as ``<|im_end|>``."""
        if FAST in self.files:
            return frozenset(entry["id"] for entry in read_json(self.files[FAST]).get("added_tokens") or [])
        return frozenset(
            read_json(self.files["added_tokens.json"]).values() if "added_tokens.json" in self.files else ()
        )

    @cached_property
    def rules(self) -> Mapping[str, str]:
        """What cuts text into tokens (``merges``, ``scores``, ``tokenizer.model``, …) → digest."""
        if FAST in self.files:
            return self._fast[1]
        found = {name: _digest(read_bytes(file)) for name, file in self.files.items() if name.endswith(_OPAQUE)}
        if "merges.txt" in self.files:
            lines = read_text(self.files["merges.txt"]).splitlines()
            found["merges"] = _of_merges(line for line in lines if line and not line.startswith("#version"))
        return found

    @cached_property
    def _fast(self) -> tuple[dict[int, str], dict[str, str]]:
        content = read_json(self.files[FAST])
        model = content.get("model") or {}
        vocabulary, rules = model.get("vocab"), {}
        if vocabulary is None:
            raise ValueError(f"{self.files[FAST]} is not a tokenizer's file: it has no vocab; fetch it again")
        if isinstance(vocabulary, list):
            tokens = {number: token for number, (token, _) in enumerate(vocabulary)}
            rules["scores"] = _digest(json.dumps([score for _, score in vocabulary]).encode())
        else:
            tokens = {number: token for token, number in vocabulary.items()}
        if "merges" in model:
            # Older files join the two parts of a merge by a space, newer ones list them.
            rules["merges"] = _of_merges(
                pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"] or []
            )
        return tokens | {entry["id"]: entry["content"] for entry in content.get("added_tokens") or []}, rules


def vocabulary(files: Iterable[Path]) -> Vocabulary | None:
    """The vocabulary among the files beside a model's weights; None where there is none."""
    present = {file.name: file for file in files}
    wanted = (
        [FAST]
        if FAST in present
        else [name for name in sorted(present) if name in SLOW or name.endswith(".tiktoken")]
    )
    if not wanted:
        return None
    digest = blake3()
    for name in wanted:
        data = read_bytes(present[name])
        digest.update(f"{name}\0{len(data)}\0".encode() + data)
    return Vocabulary({name: present[name] for name in wanted}, digest.hexdigest())


def differences(
    a: Vocabulary, b: Vocabulary, names: tuple[str, str] = ("the one", "the other"), shared_rows: int | None = None
) -> list[str]:
    """What differs between two vocabularies, one line each; what only one of them tells is not compared.

    Args:
        a, b: the vocabularies.
        names: what messages call them.
        shared_rows: compare only the numbers under this one that both vocabularies have, `renamed` ones aside.

    Raises:
        ValueError: a file is damaged.
    """
    if a.digest == b.digest:
        return []
    lines = []
    known = set() if shared_rows is None else set(renamed(a, b, shared_rows))
    other = [number for number in _other(a, b, shared_rows) if number not in known]
    if other:
        first = other[0]
        more = f", and {len(other) - 1} more numbers differ" if len(other) > 1 else ""
        one, two = a.tokens[first], b.tokens[first]
        lines.append(f"tokenizers: number {first} is {one!r} in {names[0]} and {two!r} in {names[1]}{more}")
    if shared_rows is None:
        if a.tokens and b.tokens:
            lines += _extra(a, b, names) + _extra(b, a, names[::-1])
        for rule in sorted(a.rules.keys() & b.rules.keys()):
            if a.rules[rule] != b.rules[rule]:
                lines.append(f"tokenizers: {rule} of {names[0]} and {names[1]} differ")
    return lines


def renamed(a: Vocabulary, b: Vocabulary, shared_rows: int) -> list[int]:
    """The numbers under `shared_rows` of added tokens that have other names in the other vocabulary."""
    if a.digest == b.digest:
        return []
    return [number for number in _other(a, b, shared_rows) if number in a.added and number in b.added]


def _other(a: Vocabulary, b: Vocabulary, shared_rows: int | None) -> list[int]:
    """The numbers that both have, with other tokens."""
    return sorted(
        number
        for number in a.tokens.keys() & b.tokens.keys()
        if a.tokens[number] != b.tokens[number] and (shared_rows is None or number < shared_rows)
    )


def _extra(a: Vocabulary, b: Vocabulary, names: tuple[str, str]) -> list[str]:
    extra = sorted(a.tokens.keys() - b.tokens.keys())
    examples = ", ".join(f"{a.tokens[number]!r} ({number})" for number in extra[:3])
    more = f" and {len(extra) - 3} more" if len(extra) > 3 else ""
    return [f"tokenizers: {names[0]} has {examples}{more}, which {names[1]} lacks"] if extra else []


def _of_merges(merges: Iterable[str]) -> str:
    return _digest("\n".join(merges).encode())


def _digest(data: bytes) -> str:
    return blake3(data).hexdigest()
