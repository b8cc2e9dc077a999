"""The model that is scored: found by what a user names, named by its weights, and loaded for a backend."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.steps.store import key_of
from lata.checkpoints.companions import check_files
from lata.output.documents.facts import public_source
from lata.untrusted.json_files import read_bytes, shown

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from eval.backends.vllm import Engine
    from eval.settings import EvalSettings
    from lata.checkpoints import FolderCheckpoint
    from lata.checkpoints.lora.checkpoint import AdapterCheckpoint

# A stranger's folder can make transformers raise anything.
_LOADING = (Exception,)


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
        from lata.checkpoints.companions import matching

        model, text = self.checkpoint.folder, self.tokenizer_folder
        files = {"config.json": model / "config.json", **matching(model)}
        return key_of(model=_digests(files), tokenizer=_digests(matching(text)))

    def tokenizer(self) -> PreTrainedTokenizerBase:
        """Load the tokenizer; ValueError where it is damaged or of a kind that needs code of its own."""
        from transformers import AutoTokenizer
        from transformers.utils import logging

        # Long documents are cut into windows; what a model lacks is refused below.
        logging.set_verbosity_error()
        try:
            loaded: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
                self.tokenizer_folder, trust_remote_code=False
            )
        except _LOADING as error:
            raise _unloadable(f"the tokenizer of {self.source}", error) from error
        return loaded

    def model(self, settings: EvalSettings, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel | Engine:
        """Load the weights in the settings' dtype for the settings' backend.

        Raises:
            ValueError: transformers has no causal language model for it, weights are missing, or vLLM is.
        """
        from lata.checkpoints import FolderCheckpoint
        from lata.checkpoints.quantised import is_of_quantiser

        folder = self.checkpoint.folder
        plain = isinstance(self.checkpoint, FolderCheckpoint)
        if settings.backend == "vllm":
            from eval.backends.vllm import Engine

            if not isinstance(self.checkpoint, FolderCheckpoint) and self.checkpoint.vocabulary is not None:
                raise ValueError(
                    f"the adapter of {self.source} changes the size of the vocabulary, which vLLM takes from the "
                    "config.json of the model below; set eval.backend=hf, or merge it into a folder first"
                )
            engine = Engine(folder, settings, tokenizer)
            if not plain:
                engine.load(self.tensors(settings.dtype))
            return engine
        import torch
        from transformers import AutoConfig, AutoModelForCausalLM
        from transformers.utils import logging

        logging.disable_progress_bar()
        _refuse_unknown_codes(self)
        options: dict[str, Any] = {"dtype": settings.dtype, "output_loading_info": True}
        if settings.device_map is not None:
            options["device_map"] = settings.device_map
        kind: Any = AutoModelForCausalLM
        try:
            if plain:
                model, found = kind.from_pretrained(folder, trust_remote_code=False, **options)
            else:
                config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
                tensors = dict(self.tensors(settings.dtype))
                config.get_text_config().vocab_size = _rows(tensors) or config.get_text_config().vocab_size
                with torch.device("meta"):
                    kind = type(kind.from_config(config, trust_remote_code=False))
                model, found = kind.from_pretrained(
                    None, config=config, state_dict=tensors, trust_remote_code=False, **options
                )
                model.generation_config = _generation(folder, model)
        except _LOADING as error:
            raise _unloadable(self.source, error) from error
        lacking = sorted(found["missing_keys"]) + sorted(str(name) for name, *_ in found["mismatched_keys"])
        if lacking:
            raise ValueError(f"{self.source} lacks {lacking[0]}, which its config.json asks for; fetch it again")
        if codes := sorted(filter(is_of_quantiser, found["unexpected_keys"])):
            raise ValueError(
                f"{self.source} is quantised, and transformers does not use its {codes[0]}; give the model as it was "
                "before, or set eval.backend=vllm"
            )
        loaded: PreTrainedModel = model.eval()
        return loaded

    def tensors(self, dtype: str, like: Scored | None = None) -> Iterator[tuple[str, torch.Tensor]]:
        """All parameters.

        Args:
            dtype: of floats.
            like: a model whose tables of tokens have as many rows as are wanted; those that are not here are its own.

        Raises:
            ValueError: they are codes of a quantiser.
        """
        import torch

        from lata.planning.compare import vocabulary_sized

        if self.checkpoint.quantised:
            raise ValueError(
                f"{self.source} is quantised (quantization_config in config.json); give the model as it was before"
            )
        wanted = like.checkpoint.tensors if like is not None else self.checkpoint.tensors
        for name, info in self.checkpoint.tensors.items():
            if (tensor := self._tensor(name, dtype)) is None:
                continue  # a buffer; the model makes its own
            shape = wanted[name].shape if name in wanted else info.shape
            if like is not None and shape != info.shape and vocabulary_sized(name, (shape, info.shape)):
                rest = like._tensor(name, dtype)
                assert rest is not None
                tensor = torch.cat([tensor[: shape[0]], rest[len(tensor) :]])
            yield name, tensor

    def _tensor(self, name: str, dtype: str) -> torch.Tensor | None:
        """One parameter; None for what is no float."""
        import numpy as np
        import torch

        from lata.numerics.torch_views import DTYPES

        kinds = {short: getattr(torch, full.removeprefix("torch.")) for full, short in DTYPES.items()}
        info = self.checkpoint.tensors[name]
        if info.dtype not in kinds:
            return None
        raw = np.empty(info.nbytes, np.uint8)
        self.checkpoint.read(name, 0, raw)
        return torch.from_numpy(raw).view(kinds[info.dtype]).reshape(info.shape).to(getattr(torch, dtype))


def find(source: str, tokenizer: str | None) -> Scored:
    """Open a model by its headers.

    Args:
        source: a folder, a hub id, or either with an adapter; see `lata.checkpoints.open_checkpoint`.
        tokenizer: a folder; the model's own (an adapter's before its model's) where None.

    Raises:
        ValueError: it cannot be found or is damaged, or has no tokenizer.
    """
    from lata.checkpoints import open_checkpoint

    checkpoint = open_checkpoint(source, quantised=True)
    check_files(checkpoint.folder)
    if tokenizer is not None:
        folder = Path(tokenizer).expanduser().resolve()
        if not _is_tokenizer(folder):
            raise ValueError(
                f"tokenizer={tokenizer} is no folder with a tokenizer's files; name the one that has them"
            )
        check_files(folder)
        return Scored(source, checkpoint, folder)
    folders = [getattr(checkpoint, "adapter", checkpoint.folder), checkpoint.folder]
    for folder in folders:
        if _is_tokenizer(folder):
            check_files(folder)
            return Scored(source, checkpoint, folder)
    raise ValueError(f"{source} has no tokenizer beside its weights; give tokenizer=DIR, a folder that has its files")


def _is_tokenizer(folder: Path) -> bool:
    names = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "tekken.json")
    return any((folder / name).is_file() for name in names)


def _refuse_unknown_codes(scored: Scored) -> None:
    """ValueError for a model whose config.json says that it is quantised in a way that transformers passes over."""
    from transformers.quantizers import AutoHfQuantizer

    config = scored.checkpoint.config.get("quantization_config")
    if config is None:
        return
    try:
        known = AutoHfQuantizer.supports_quant_method(dict(config))
    except ValueError:
        known = False
    if not known:
        raise ValueError(
            f"{scored.source} is quantised by {shown(config.get('quant_method'))}, which transformers does not know; "
            "give the model as it was before, or set eval.backend=vllm"
        )


def _digests(files: Mapping[str, Path]) -> dict[str, str]:
    return {name: hashlib.sha256(read_bytes(path)).hexdigest() for name, path in files.items()}


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
