"""A model of either backend as lm-eval sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from eval.backends.hf import CausalLM
from eval.backends.requests import Requests
from eval.backends.vllm import Engine

if TYPE_CHECKING:
    from lm_eval.api.model import TemplateLM
    from transformers import PreTrainedModel

    from eval.settings import EvalSettings


def language_model(model: PreTrainedModel | Engine, requests: Requests, settings: EvalSettings) -> TemplateLM:
    """A model as lm-eval sees it, on the settings' device.

    Args:
        model: for ``backend="hf"`` a causal language model in the settings' dtype, which is moved to the device and
            left there (one that accelerate has spread over devices stays as it is); for ``"vllm"`` an open
            `eval.backends.vllm.Engine`.
        requests: what models with one tokenizer share.
        settings: ``backend``, ``device``, ``batch_size`` and ``seed`` count here.

    Raises:
        ValueError: a device that this machine has not, or a model that does not belong to the backend.
    """
    if (settings.backend == "vllm") != isinstance(model, Engine):
        wanted = "an open eval.backends.vllm.Engine" if settings.backend == "vllm" else "a model of transformers"
        raise ValueError(f"eval.backend={settings.backend} scores {wanted}, not {type(model).__name__}")
    if isinstance(model, Engine):
        from eval.backends.vllm_lm import EngineLM

        return EngineLM(model, requests, settings.seed)
    device = settings.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"eval.device={device}: there is no GPU that this PyTorch can use; set eval.device=cpu")
    loaded: Any = model
    placed = loaded if getattr(model, "hf_device_map", None) else loaded.to(device)
    return CausalLM(placed, requests, settings.batch_size)
