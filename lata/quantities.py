"""What is measured of layers, as tables and files call it."""

from __future__ import annotations

#: What there is of every layer and task: s = cos(τ_comp, τ_instr), cos(τ, τ_instr), the share of ‖τ‖².
MEASURED = ("similarity", "cosine", "share")
#: The row of a table of layers for everything outside the blocks.
OUTSIDE = "outside"
#: What a reader must know of them.
MEASURED_NOTE = (
    "similarity: s = cos(τ_comp, τ_instr) with τ_comp = τ_instr + τ, so near 1 wherever τ is short beside τ_instr. "
    "cosine: cos(τ, τ_instr), how much the task vector itself looks like instruction following. share: of ‖τ‖²; "
    "outside: what lies outside all blocks, where LATA's weights are 1 unless outside=drop."
)
