"""The model that is scored: found by what a user names, named by its weights, and loaded for a backend."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.store import key_of
from lata.output.facts import public_source

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from eval.settings import EvalSettings
    from eval.vllm import Engine
    from lata.checkpoints import FolderCheckpoint
    from lata.checkpoints.lora import AdapterCheckpoint

#: What is decided here counts in the key of an evaluation.
CODE = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()

# What transformers raises for a folder that it cannot make a model or a tokenizer of.
_LOADING = (OSError, ValueError, KeyError, TypeError, AttributeError, ImportError, RuntimeError)


@dataclass(frozen=True)
class Scored:
    """A model by its headers.

    Attributes:
        source: what the user named.
        checkpoint: its weights, an adapter's update included.
        tokenizer_folder: where its tokenizer is.
    """

    source: str
    checkpoint: FolderCheckpoint | AdapterCheckpoint
    tokenizer_folder: Path

    @property
    def public_name(self) -> str:
        """What finds the model again, hub ids with their commit, without the names of somebody's folders."""
        return public_source(self.checkpoint.source)

    @property
    def digest(self) -> str:
        """Names the weights; remembered by the files' sizes and times."""
        from lata.checkpoints.digests import digest

        return digest(self.checkpoint)

    @property
    def reads(self) -> str:
        """A digest of what an evaluation reads beside weights: configuration, tokenizer, chat template."""
        model, text = self.checkpoint.folder, self.tokenizer_folder
        return key_of(model=_digests([model / "config.json", *_beside(model)]), tokenizer=_digests(_beside(text)))

    def tokenizer(self) -> PreTrainedTokenizerBase:
        """Load the tokenizer; ValueError where it is damaged or of a kind that needs code of its own."""
        from transformers import AutoTokenizer
        from transformers.utils import logging

        # Long documents are cut into windows; what a model lacks is refused below.
        logging.set_verbosity_error()
        try:
            loaded: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(self.tokenizer_folder)
        except _LOADING as error:
            raise _unloadable(f"the tokenizer of {self.source}", error) from error
        return loaded

    def model(self, settings: EvalSettings, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel | Engine:
        """Load the weights in the settings' dtype for the settings' backend.

        Raises:
            ValueError: transformers has no causal language model for it, weights are missing, or vLLM is.
        """
        from lata.checkpoints import FolderCheckpoint

        folder = self.checkpoint.folder
        plain = isinstance(self.checkpoint, FolderCheckpoint)
        if settings.backend == "vllm":
            from eval.vllm import Engine

            engine = Engine(folder, settings, tokenizer)
            if not plain:
                engine.load(self.tensors(settings.dtype))
            return engine
        import torch
        from transformers import AutoConfig, AutoModelForCausalLM
        from transformers.utils import logging

        logging.disable_progress_bar()
        options: dict[str, Any] = {"dtype": settings.dtype, "output_loading_info": True}
        if settings.device_map is not None:
            options["device_map"] = settings.device_map
        kind: Any = AutoModelForCausalLM
        try:
            if plain:
                model, found = kind.from_pretrained(folder, **options)
            else:
                config = AutoConfig.from_pretrained(folder)
                tensors = dict(self.tensors(settings.dtype))
                config.get_text_config().vocab_size = _rows(tensors) or config.get_text_config().vocab_size
                with torch.device("meta"):
                    kind = type(kind.from_config(config))
                model, found = kind.from_pretrained(None, config=config, state_dict=tensors, **options)
                model.generation_config = _generation(folder, model)
        except _LOADING as error:
            raise _unloadable(self.source, error) from error
        lacking = sorted(found["missing_keys"]) + sorted(str(name) for name, *_ in found["mismatched_keys"])
        if lacking:
            raise ValueError(f"{self.source} lacks {lacking[0]}, which its config.json asks for; fetch it again")
        loaded: PreTrainedModel = model.eval()
        return loaded

    def tensors(self, dtype: str) -> Iterator[tuple[str, torch.Tensor]]:
        """All parameters; floats in `dtype`."""
        import numpy as np
        import torch

        from lata.memory import DTYPES

        kinds = {short: getattr(torch, name.removeprefix("torch.")) for name, short in DTYPES.items()}
        for name, info in self.checkpoint.tensors.items():
            if info.dtype not in kinds:
                continue  # a buffer; the model makes its own
            raw = np.empty(info.nbytes, np.uint8)
            self.checkpoint.read(name, 0, raw)
            yield name, torch.from_numpy(raw).view(kinds[info.dtype]).reshape(info.shape).to(getattr(torch, dtype))


def find(source: str, tokenizer: str | None) -> Scored:
    """Open a model by its headers.

    Args:
        source: a folder, a hub id, or either with an adapter; see `lata.checkpoints.open_checkpoint`.
        tokenizer: a folder; the model's own (an adapter's before its model's) where None.

    Raises:
        ValueError: it cannot be found or is damaged, or has no tokenizer.
    """
    from lata.checkpoints import open_checkpoint

    checkpoint = open_checkpoint(source)
    if tokenizer is not None:
        folder = Path(tokenizer).expanduser().resolve()
        if not _is_tokenizer(folder):
            raise ValueError(
                f"tokenizer={tokenizer} is no folder with a tokenizer's files; name the one that has them"
            )
        return Scored(source, checkpoint, folder)
    folders = [getattr(checkpoint, "adapter", checkpoint.folder), checkpoint.folder]
    for folder in folders:
        if _is_tokenizer(folder):
            return Scored(source, checkpoint, folder)
    raise ValueError(f"{source} has no tokenizer beside its weights; give tokenizer=DIR, a folder that has its files")


def _is_tokenizer(folder: Path) -> bool:
    names = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")
    return any((folder / name).is_file() for name in names)


def _beside(folder: Path) -> list[Path]:
    """Files of a folder that say how text becomes tokens and how generation ends."""
    from lata.checkpoints.folder import COMPANIONS

    return sorted({path for pattern in COMPANIONS for path in folder.glob(pattern) if path.is_file()})


def _digests(files: list[Path]) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _rows(tensors: dict[str, torch.Tensor]) -> int | None:
    """Size of the vocabulary; an adapter can enlarge it."""
    from lata.checkpoints.tied import is_embedding

    return next((len(tensor) for name, tensor in tensors.items() if is_embedding(name)), None)


def _generation(folder: Path, model: Any) -> Any:
    from transformers import GenerationConfig

    has_own = (folder / "generation_config.json").is_file()
    return GenerationConfig.from_pretrained(folder) if has_own else model.generation_config


def _unloadable(what: str, error: Exception) -> ValueError:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reason = lines[0] if lines else type(error).__name__
    return ValueError(f"{what} cannot be loaded by transformers: {reason}")
