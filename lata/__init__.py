"""Layer-Aware Task Arithmetic and the baselines it is compared with: weights in, weights out.

>>> lata.merge(pre=…, experts={"math": …, "code": …}, base=…, method="lata_linear", lam=1.0, output=…)
>>> lata.merge_recipe("recipe.yaml", output=…)
>>> lata.hold(pre=…, experts=…, base=…, method="lata_linear").write(0.6, model)
>>> lata.similarity(base=…, pre=…, experts={"math": …})

Paper: Chen et al., "Layer-Aware Task Arithmetic: Disentangling Task-Specific and Instruction-Following
Knowledge", arXiv 2502.20186. The library knows nothing of configs, experiment tracking or evaluation.

Notation (used in code, configs and tables alike):

===================  ==================================================================================
``base``             θ_base, the raw pretrained model
``pre``              θ_pre, the instruction-tuned model that every expert was fine-tuned from
``experts[t]``       θ_ft,t, the model fine-tuned on task t
``task_vector``      τ_t = θ_ft,t − θ_pre
``instruction_vector``  τ_instr = θ_pre − θ_base
``complex_vector``   τ_comp,t = θ_ft,t − θ_base
``similarity_LT``    s_t[l] = cos(τ_comp,t[l], τ_instr[l]), L layers × T tasks
``weights_LT``       w_t[l], the layer weights that a schedule makes of the similarities
``lam``              λ, the scaling coefficient: θ = θ_pre + λ·D, D = Σ_t w_t·τ_t for LATA
===================  ==================================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lata.merging.in_memory.load import hold
    from lata.merging.on_disk import merge, similarity, similarity_tables
    from lata.merging.recipes import merge_recipe

__all__ = ["hold", "merge", "merge_recipe", "similarity", "similarity_tables"]

_MODULES = {"hold": "lata.merging.in_memory.load", "merge_recipe": "lata.merging.recipes"}


def __getattr__(name: str) -> Any:
    # Imported when they are used: configurations are checked with `lata.methods` alone.
    if name in __all__:
        from importlib import import_module

        return getattr(import_module(_MODULES.get(name, "lata.merging.on_disk")), name)
    raise AttributeError(f"module 'lata' has no attribute {name!r}")
