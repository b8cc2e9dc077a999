"""Which part of a loaded model every tensor of a checkpoint becomes, as transformers itself loads it.

transformers 5 renames, stacks, joins, splits, turns and permutes stored tensors as it loads them (the experts of
Mixtral and Qwen3-MoE, the prefixes of Gemma 3, rotary halves), and leaves some out (``mtp.…``). None of its rules is
repeated here: its own ``from_pretrained`` is given tensors without data that record what is done to them
(`lata.checkpoints.recorded`), and the record is followed back from the model's parameters. Every step moves elements
and changes none, so what a stored tensor becomes are views of the memory of a loaded model, into which a merge is
written straight.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from lata.checkpoints.recorded import Recorded, Region, followed

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from lata.numerics.tensors import TensorInfo

# A stranger's config can make transformers raise anything.
_LOADING = (Exception,)


class Naming:
    """How the tensors of a checkpoint become those of a model.

    Args:
        kind: the model's class.
        config: the model's configuration, of transformers.
        headers: of the checkpoint's tensors.

    Attributes:
        mismatched: name in the model → shape of what is stored for it, where that does not fit.
        ignored: stored tensors that the model has no place for, and so transformers leaves out.
        expected: those of them that the model's class says are to be left out.

    Raises:
        ValueError: transformers cannot load such a checkpoint, or does so by a step that is not known here.
    """

    def __init__(self, kind: type[PreTrainedModel], config: Any, headers: Mapping[str, TensorInfo]) -> None:
        stored = {name: Recorded.stored(name, info) for name, info in headers.items()}
        with _quiet():
            try:
                loader: Any = kind
                model, found = loader.from_pretrained(
                    None,
                    config=config,
                    state_dict=stored,
                    device_map={"": "meta"},
                    ignore_mismatched_sizes=True,
                    output_loading_info=True,
                )
            except _LOADING as error:
                reason = str(error).strip().partition("\n")[0]
                raise ValueError(f"transformers cannot load it into a {kind.__name__}: {reason}") from error
        self._made: dict[str, Recorded] = {}
        for name, tensor in model.state_dict(keep_vars=True).items():
            # A tensor that the model ties to another one has two names; the first is enough.
            if isinstance(tensor, Recorded) and all(tensor is not other for other in self._made.values()):
                self._made[name] = tensor
        self.mismatched = {str(name): tuple(shape) for name, shape, _ in found["mismatched_keys"]}
        reached = self.regions({name: recorded.meta for name, recorded in self._made.items()})
        self.ignored = tuple(name for name in headers if name not in reached)
        self.expected = frozenset(self.ignored) - {*found["unexpected_keys"]}

    def regions(self, live: Mapping[str, torch.Tensor]) -> dict[str, list[tuple[str, Region]]]:
        """Stored tensor → its parts in the tensors of a loaded model, with their names there."""
        result: dict[str, list[tuple[str, Region]]] = {}
        for name, recorded in self._made.items():
            tensor = live[name].detach()
            for source, region in followed(recorded, (0,) * tensor.ndim, tensor):
                result.setdefault(source, []).append((name, region))
        return result

    def renamed(self) -> dict[str, str]:
        """Name in the model → name in the checkpoint, for all that one stored tensor becomes as it is."""
        return {name: source for name, recorded in self._made.items() if (source := recorded.unchanged) is not None}


def naming_of(folder: Path, headers: Mapping[str, TensorInfo]) -> Naming:
    """How the checkpoint in `folder` is loaded as a causal language model; only its ``config.json`` is read.

    Raises:
        ValueError: transformers has no such model, or as `Naming`.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    auto: Any = AutoModelForCausalLM
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        with torch.device("meta"):
            kind = type(auto.from_config(config, trust_remote_code=False))
    except _LOADING as error:
        reason = " ".join(str(error).split())[:300]
        raise ValueError(f"{folder} cannot be loaded by transformers: {reason}") from error
    return Naming(kind, config, headers)


@contextmanager
def _quiet() -> Iterator[None]:
    """No bars and no reports of transformers: what they say of tensors without data is nobody's concern."""
    from transformers import utils

    logging: Any = utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
