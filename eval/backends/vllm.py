"""Models on vLLM, from a folder or from memory.

    engine = Engine(folder, settings, tokenizer)    # any number of models of one architecture, one after another:
    evaluator(engine)                               # the weights of the folder
    engine.load(merged.items())                     # a merge that exists only in memory
    evaluator(engine)

An optional extra: ``pip install 'lata-bench[vllm]'``. vLLM wants a window's last target in the prompt and room for
one new token behind it, so lm-evaluation-harness makes its windows two tokens shorter there. Here the engine gets two
positions more than the model's context instead, and both backends score the same windows. That changes nothing else:
what the model makes of the token on the last position is not used, and the angles of the other positions stay.

Weights go to vLLM's workers through shared memory in pieces (``collective_rpc`` to `WeightLoader`, then the model's
own ``load_weights``), whatever the number of GPUs. Nothing heavy is imported before an engine is opened.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

    from eval.settings import EvalSettings

#: Bytes of weights that are handed over at a time.
PIECE = 2**30

# Kinds of rotary positions whose angles do not depend on the length that the config names.
_FIXED_ROPE = {"default", "linear", "llama3", "yarn"}


class Engine:
    """An open vLLM engine.

    Attributes:
        dtype: of the weights, as the settings say.
        max_length: the model's context in tokens, as the Hugging Face backend has it.
        batch_size: most rows that are computed at once.
        rows: tokens that the model's embeddings have.
    """

    def __init__(self, folder: str | Path, settings: EvalSettings, tokenizer: PreTrainedTokenizerBase) -> None:
        """Load the model in `folder`.

        Raises:
            ValueError: vLLM is not installed.
        """
        try:
            from vllm import LLM, SamplingParams
        except ImportError as error:
            raise ValueError(
                "eval.backend=vllm needs the package vllm and a GPU that it can use: pip install 'lata-bench[vllm]', "
                "or set eval.backend=hf"
            ) from error
        from lm_eval.models.utils import resolve_max_length
        from transformers import AutoConfig

        self._parameters = SamplingParams
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        self.dtype, self.batch_size = settings.dtype, settings.batch_size
        self.max_length = resolve_max_length(config, tokenizer)
        self.rows = int(config.get_text_config().vocab_size)
        self._room = self.max_length
        longer: dict[str, Any] = {}
        if _is_rotary(config):
            self._room += 2
            longer = {"hf_overrides": {"max_position_embeddings": self._room}}
            # A tokenizer's model_max_length would forbid what the override allows.
            os.environ.setdefault("VLLM_ALLOW_LONG_MAX_MODEL_LEN", "1")
        self._engine = LLM(
            model=str(folder),
            tokenizer=tokenizer.name_or_path or str(folder),
            dtype=settings.dtype,
            seed=settings.seed,
            max_model_len=self._room,
            max_num_seqs=settings.batch_size,
            tensor_parallel_size=settings.tensor_parallel,
            gpu_memory_utilization=settings.gpu_memory,
            trust_remote_code=False,
            worker_extension_cls=f"{WeightLoader.__module__}.{WeightLoader.__qualname__}",
            **longer,
        )

    def load(self, tensors: Iterable[tuple[str, torch.Tensor]]) -> None:
        """Replace the weights by others of the same names and shapes, as a checkpoint of the model stores them."""
        from safetensors.torch import save_file

        shared = Path("/dev/shm")
        with tempfile.TemporaryDirectory(prefix="lata-", dir=shared if shared.is_dir() else None) as folder:
            file = Path(folder) / "piece.safetensors"
            for piece in _pieces(tensors):
                save_file({name: tensor.detach().cpu().contiguous() for name, tensor in piece}, file)
                self._engine.collective_rpc("receive_weights", args=(str(file),))
        # Keys and values of prompts that the former weights read.
        self._engine.reset_prefix_cache()

    def run(self, prompts: Sequence[list[int]], options: Sequence[dict[str, Any]]) -> list[Any]:
        """vLLM's ``RequestOutput`` for every prompt, under `SamplingParams` of its options.

        Raises:
            ValueError: a prompt and one new token are more than the model's positions.
        """
        longest = max(map(len, prompts), default=0)
        if longest >= self._room:
            raise ValueError(
                f"eval.backend=vllm cannot score a window of {longest} tokens: this model's positions end at "
                f"{self._room}, and vLLM wants room for one more. Set eval.backend=hf"
            )
        return list(
            self._engine.generate(
                [{"prompt_token_ids": prompt} for prompt in prompts],
                sampling_params=[self._parameters(**option) for option in options],
                use_tqdm=False,
            )
        )


class WeightLoader:
    """What vLLM mixes into its workers (``worker_extension_cls``)."""

    model_runner: Any

    def receive_weights(self, file: str) -> None:
        """Put the tensors of a safetensors file into the model; parts that vLLM fuses or shards find their place."""
        from safetensors.torch import load_file

        self.model_runner.model.load_weights(iter(load_file(file).items()))


def _is_rotary(config: Any) -> bool:
    """Whether positions after the config's last one mean what they would in a config that names more."""
    text = config.get_text_config()
    if not hasattr(text, "max_position_embeddings") or text is not config:
        return False
    rope = getattr(text, "rope_parameters", None) or {}
    kinds = [rope, *(value for value in rope.values() if isinstance(value, dict))]
    names = {kind["rope_type"] for kind in kinds if "rope_type" in kind}
    return bool(names) and names <= _FIXED_ROPE


def _pieces(tensors: Iterable[tuple[str, torch.Tensor]]) -> Iterator[list[tuple[str, torch.Tensor]]]:
    """`tensors` in groups of about `PIECE` bytes."""
    piece: list[tuple[str, torch.Tensor]] = []
    size = 0
    for name, tensor in tensors:
        piece.append((name, tensor))
        size += tensor.nbytes
        if size >= PIECE:
            yield piece
            piece, size = [], 0
    if piece:
        yield piece
