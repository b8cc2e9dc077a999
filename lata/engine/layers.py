"""Parameter names → layers: which block, and which module of it, a parameter belongs to.

The paper ranks *layers* (arXiv 2502.20186) without saying what one is; here a layer is one transformer block
by default, and finer or coarser choices are options (a choice of this project, not of the paper).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

GRANULARITIES = ("block", "module", "tensor")
OUTSIDE = ("keep", "drop", "rank")

# Numbered parts of a model that are no blocks of the decoder: what sees, hears or speaks, what leads from there to
# the decoder, heads that predict further tokens.
_FOREIGN = re.compile(
    r"vision|visual|image|audio|speech|vpm|apm|tts|talker|token2wav|code2wav|codec|code_predictor|mtp|nextn|eagle"
    r"|medusa|draft|projector|resampler|connector|perceiver|qformer|altup|tower|adapter",
    re.IGNORECASE,
)
_BLOCK_LIKE = frozenset({"layers", "layer", "h", "blocks", "block"})
_ATTENTION = re.compile(r"attn|attention", re.IGNORECASE)
_NORM = re.compile(r"norm|ln_\d|layernorm", re.IGNORECASE)


@dataclass(frozen=True)
class Blocks:
    """Which parameters are those of the decoder's blocks: the numbered children of one container.

    Attributes:
        container: what stands before the number, such as ``model.layers``.
        count: blocks are the children 0 … count − 1; None for all of them.
        problem: why there are none, in one line; empty where there are.
    """

    container: str = ""
    count: int | None = None
    problem: str = ""

    def of(self, name: str) -> int | None:
        """Number of the block that parameter `name` belongs to, or None for one outside all of them."""
        number, inside = self._apart(name)
        if self.problem or not number.isdecimal() or not inside:
            return None
        return int(number) if self.count is None or int(number) < self.count else None

    def depth(self, layer: str) -> int:
        """Number of the block that a layer key (see `layer_map`) belongs to; −1 for a layer outside all blocks."""
        first = layer.partition(".")[0]
        block = int(first) if first.isdecimal() else self.of(layer)
        return -1 if block is None else block

    def inside(self, name: str) -> str:
        """The name of a block's parameter without its block; other names as they are."""
        return name if self.of(name) is None else self._apart(name)[1]

    def _apart(self, name: str) -> tuple[str, str]:
        prefix = f"{self.container}." if self.container else ""
        number, _, inside = name.removeprefix(prefix).partition(".") if name.startswith(prefix) else ("", "", "")
        return number, inside


def find_blocks(names: Iterable[str], count: int | None = None, container: str | None = None) -> Blocks:
    """The decoder's blocks among the parameters of a checkpoint.

    They are the children 0 … `count` − 1 of a container that has all of them; where several have, the one whose name
    says that it is a decoder's. Further children (a head that predicts more tokens) are outside. Encoder-decoder
    models have their decoder's blocks. A checkpoint that lacks some has those that are there.

    Args:
        names: parameters of one checkpoint.
        count: what its configuration says; None where there is none, which leaves the name to decide.
        container: what the user says that it is.
    """
    numbers: dict[str, set[int]] = {}
    for name in names:
        parts = name.split(".")
        first = next((place for place, part in enumerate(parts[:-1]) if part.isdecimal()), None)
        if first is not None:
            numbers.setdefault(".".join(parts[:first]), set()).add(int(parts[first]))
        if container is not None and name.startswith(f"{container}."):
            number, _, inside = name.removeprefix(f"{container}.").partition(".")
            if number.isdecimal() and inside:
                numbers.setdefault(container, set()).add(int(number))
    if container is not None and container not in numbers:
        return Blocks(problem=f"blocks={container} has no numbered children{_listed(numbers)}")

    def preferred(candidates: Iterable[str]) -> list[str]:
        """Of the containers that are no foreign part's those with the best name."""
        own = [candidate for candidate in candidates if not _FOREIGN.search(candidate)]
        ranks = {c: ("encoder" in c and "decoder" not in c, c.split(".")[-1] not in _BLOCK_LIKE) for c in own}
        return [candidate for candidate in own if ranks[candidate] == min(ranks.values())]

    wanted = range(count or 0)
    found = preferred(candidate for candidate, children in numbers.items() if children.issuperset(wanted))
    if container is not None:
        return Blocks(container, count if found == [container] else None)
    if not found:
        found = [c for c in preferred(numbers) if c.split(".")[-1] in _BLOCK_LIKE]
    if len(found) == 1:
        return Blocks(found[0], count)
    if not numbers:
        return Blocks(problem="no tensor has a numbered block in its name, like model.layers.0.…")
    said = "" if count is None else f", {count} by config.json"
    return Blocks(problem=f"it is open which tensors are those of the decoder's blocks{said}{_listed(numbers)}")


def _listed(numbers: dict[str, set[int]]) -> str:
    """The containers, those with most children first."""
    most = sorted(numbers, key=lambda container: (-len(numbers[container]), container))[:8]
    if not most:
        return ""
    shown = ", ".join(f"{container or 'the model'} ({len(numbers[container])})" for container in most)
    return f"; numbered are the children of {shown}: give blocks=CONTAINER, such as blocks={most[0]}"


def module_of(inside: str) -> str:
    """``attention``, ``mlp`` or ``norm``: the part of its block that a parameter belongs to.

    Args:
        inside: its name inside the block.
    """
    top = inside.split(".")[0]
    if _NORM.search(top):
        return "norm"
    return "attention" if _ATTENTION.search(top) else "mlp"


def layer_map(
    names: Iterable[str], granularity: str = "block", outside: str = "keep", blocks: Blocks | None = None
) -> dict[str, str | None]:
    """Assign every parameter to the layer it is ranked with.

    Args:
        names: parameter names of one checkpoint.
        granularity: ``block`` (one layer a transformer block), ``module`` (attention, MLP and norms of a
            block apart) or ``tensor`` (every parameter by itself).
        outside: what happens to parameters outside every block (embeddings, final norm, lm_head):
            ``keep`` and ``drop`` leave them unranked (weight 1 and 0), ``rank`` makes each a layer.
        blocks: which the blocks are; None for what the names alone tell.

    Returns:
        Parameter name → layer key, or None where it is not ranked; keys in order of depth, parameters
        before the blocks first. Keys read ``12``, ``12.mlp``, or the name itself.

    Raises:
        ValueError: a word is unknown, or it is open which the blocks are.
    """
    if granularity not in GRANULARITIES:
        raise ValueError(f"granularity is {granularity!r}; choose one of {', '.join(GRANULARITIES)}")
    if outside not in OUTSIDE:
        raise ValueError(f"outside is {outside!r}; choose one of {', '.join(OUTSIDE)}")
    known = list(names)
    found = find_blocks(known) if blocks is None else blocks
    if known and found.problem:
        raise ValueError(found.problem)

    def key(name: str) -> str | None:
        block = found.of(name)
        if block is None:
            return name if outside == "rank" else None
        module = f"{block}.{module_of(found.inside(name))}"
        return {"block": str(block), "module": module, "tensor": name}[granularity]

    def depth(name: str) -> tuple[int, int, str]:
        block = found.of(name)
        if block is None:
            return (0 if "embed" in name or "wte" in name or "wpe" in name else 2, 0, name)
        return (1, block, name)

    return {name: key(name) for name in sorted(known, key=depth)}


def layers_in_order(layer_of: Mapping[str, str | None]) -> list[str]:
    """The distinct layer keys of a `layer_map`, in its order."""
    return list(dict.fromkeys(key for key in layer_of.values() if key is not None))
