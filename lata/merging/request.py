"""What decides a merge, checked as far as that goes without a checkpoint, and the opening of what it names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from lata.checkpoints import open_checkpoint
from lata.engine.stream import expert
from lata.methods import Method, get
from lata.methods.rules import lam_problem

if TYPE_CHECKING:
    from lata.checkpoints.folder import FolderCheckpoint
    from lata.checkpoints.lora.checkpoint import AdapterCheckpoint

    Opened: TypeAlias = FolderCheckpoint | AdapterCheckpoint

#: Bytes of data in a file of the merged model, the hub's own default.
SHARD_BYTES = 5_000_000_000


@dataclass(frozen=True)
class Request:
    """Everything that decides a merge.

    Attributes:
        sources: role → folder, hub id or either with an adapter: ``pre``, ``experts.TASK``, and where they are needed
            ``base`` and ``target``.
        method: registered name.
        parameters: of the method; defaults complete them.
        lam: λ, or one for each task.
        mode: ``learn`` (θ_pre + λ·D) or ``forget`` (θ_target − λ·D).
        seed: of random methods.
        vocab: ``error`` or ``common``, see `lata.planning.make_plan`.
        blocks: container of the decoder's blocks, such as ``model.layers``; None finds it (`lata.engine.layers`).
        shard_bytes: most bytes of data in one file.
        allow_unstable: write a merge that holds values that are not finite.
        digests: role → digest that a source must have, ``merged`` for the result; from a recipe.
    """

    sources: Mapping[str, str]
    method: str = "ta"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    lam: float | Mapping[str, float] = 1.0
    mode: str = "learn"
    seed: int = 0
    vocab: str = "error"
    blocks: str | None = None
    shard_bytes: int = SHARD_BYTES
    allow_unstable: bool = False
    digests: Mapping[str, str] = field(default_factory=dict)

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the experts, sorted."""
        return tuple(sorted(role.partition(".")[2] for role in self.sources if role.startswith("experts.")))


def checked(request: Request) -> tuple[Method, dict[str, Any]]:
    """The method and its complete parameters; ValueError for anything that can be refused without a checkpoint."""
    method = get(request.method)
    parameters = method.parameters(request.parameters)
    if not request.tasks:
        raise ValueError("no expert is given: name at least one, such as experts={'math': FOLDER}")
    method.check_tasks(parameters, request.tasks)
    check_lam(request.lam, request.tasks)
    if request.mode not in ("learn", "forget"):
        raise ValueError(f"mode is {request.mode!r}; choose learn or forget")
    if (request.mode == "forget") != ("target" in request.sources):
        raise ValueError("mode=forget takes a target, the model that is to forget; mode=learn takes none")
    if request.vocab not in ("error", "common"):
        raise ValueError(f"vocab is {request.vocab!r}; choose error or common")
    if request.seed < 0:
        raise ValueError(f"seed is {request.seed}; it must not be negative")
    if request.shard_bytes < 1:
        raise ValueError(f"shard_bytes is {request.shard_bytes}; it must be a positive number of bytes")
    if method.needs_similarity and "base" not in request.sources:
        raise ValueError(f"method {method.name!r} compares layers with θ_base: give the base model")
    return method, parameters


def check_lam(lam: float | Mapping[str, float], tasks: Sequence[str]) -> None:
    """ValueError where λ is no finite number from 0 on, or is not given for exactly these tasks."""
    numbers = lam if isinstance(lam, Mapping) else {"": lam}
    for task, value in numbers.items():
        if problem := lam_problem(value):
            raise ValueError(f"lam{f' of {task}' if task else ''} is {value!r}; it {problem}")
    if isinstance(lam, Mapping) and lam.keys() != set(tasks):
        raise ValueError(f"lam has numbers for {', '.join(sorted(lam))}, but the experts are {', '.join(tasks)}")


def sources_of(
    pre: str | Path, experts: Mapping[str, str | Path], base: str | Path | None, target: str | Path | None
) -> dict[str, str]:
    """Role → model, as `Request` has them."""
    given = {"pre": pre, **{expert(task): source for task, source in experts.items()}, "base": base, "target": target}
    return {role: str(source) for role, source in given.items() if source is not None}


#: Of the roles in what is written of a merge, which does not depend on the order in which they were given.
_ORDER = {role: place for place, role in enumerate(("pre", "experts", "base", "target"))}


@contextmanager
def opened(request: Request) -> Iterator[dict[str, Opened]]:
    """The request's checkpoints by role, in one order; ValueError lists everything that cannot be opened."""
    with ExitStack() as stack:
        found: dict[str, Opened] = {}
        problems: list[str] = []
        for role, source in sorted(
            request.sources.items(), key=lambda item: (_ORDER[item[0].partition(".")[0]], item[0])
        ):
            try:
                checkpoint = open_checkpoint(source, role)
                stack.callback(checkpoint.close)
                found[role] = checkpoint
            except ValueError as error:
                problems.append(str(error))
        if problems:
            raise ValueError("\n".join(problems))
        yield found
