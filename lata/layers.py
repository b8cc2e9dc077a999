"""Parameter names → layers: which block, and which module of it, a parameter belongs to.

The paper ranks *layers* (arXiv 2502.20186) without saying what one is; here a layer is one transformer block
by default, and finer or coarser choices are options (a choice of this project, not of the paper).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

GRANULARITIES = ("block", "module", "tensor")
OUTSIDE = ("keep", "drop", "rank")

# The block number is the first all-digit component of a dotted name: `model.layers.10.mlp.up_proj.weight`,
# `transformer.h.3.attn.c_attn.weight`, `gpt_neox.layers.0.…`. Matching a whole component is what keeps
# `layers.1` from also meaning `layers.10`.
_BLOCK = re.compile(r"(?:^|\.)(\d+)\.")
# Models that see or hear have numbered blocks for that as well; they are no layers of the decoder.
_SENSES = re.compile(r"vision|visual|image|audio|speech", re.IGNORECASE)
_ATTENTION = re.compile(r"attn|attention", re.IGNORECASE)
_NORM = re.compile(r"norm|ln_\d|layernorm", re.IGNORECASE)


def block_of(name: str) -> int | None:
    """Number of the decoder's block that parameter `name` belongs to, or None for one outside all of them."""
    found = _BLOCK.search(name)
    return int(found.group(1)) if found and not _SENSES.search(name[: found.start()]) else None


def depth_of(layer: str) -> int:
    """Number of the block that a layer key (see `layer_map`) belongs to; −1 for a layer outside all blocks."""
    block = int(layer) if layer.isdecimal() else block_of(layer)
    return -1 if block is None else block


def module_of(name: str) -> str:
    """``attention``, ``mlp`` or ``norm``: the part of its block that parameter `name` belongs to."""
    inside = name[_BLOCK.search(name).end() :] if _BLOCK.search(name) else name  # type: ignore[union-attr]
    top = inside.split(".")[0]
    if _NORM.search(top):
        return "norm"
    return "attention" if _ATTENTION.search(top) else "mlp"


def layer_map(names: Iterable[str], granularity: str = "block", outside: str = "keep") -> dict[str, str | None]:
    """Assign every parameter to the layer it is ranked with.

    Args:
        names: parameter names of one checkpoint.
        granularity: ``block`` (one layer a transformer block), ``module`` (attention, MLP and norms of a
            block apart) or ``tensor`` (every parameter by itself).
        outside: what happens to parameters outside every block (embeddings, final norm, lm_head):
            ``keep`` and ``drop`` leave them unranked (weight 1 and 0), ``rank`` makes each a layer.

    Returns:
        Parameter name → layer key, or None where it is not ranked; keys in order of depth, parameters
        before the blocks first. Keys read ``12``, ``12.mlp``, or the name itself.
    """
    if granularity not in GRANULARITIES:
        raise ValueError(f"granularity is {granularity!r}; choose one of {', '.join(GRANULARITIES)}")
    if outside not in OUTSIDE:
        raise ValueError(f"outside is {outside!r}; choose one of {', '.join(OUTSIDE)}")

    def key(name: str) -> str | None:
        block = block_of(name)
        if block is None:
            return name if outside == "rank" else None
        return {"block": str(block), "module": f"{block}.{module_of(name)}", "tensor": name}[granularity]

    def depth(name: str) -> tuple[int, int, str]:
        block = block_of(name)
        if block is None:
            return (0 if "embed" in name or "wte" in name or "wpe" in name else 2, 0, name)
        return (1, block, name)

    return {name: key(name) for name in sorted(names, key=depth)}


def layers_in_order(layer_of: dict[str, str | None]) -> list[str]:
    """The distinct layer keys of a `layer_map`, in its order."""
    return list(dict.fromkeys(key for key in layer_of.values() if key is not None))
