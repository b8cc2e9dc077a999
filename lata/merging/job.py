"""One merge of opened checkpoints: its plan, its key, its passes."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lata.checkpoints.digests import remember, remembered, weights_digest
from lata.code_version import code_version
from lata.engine.stream import Stream, expert
from lata.engine.vectors import TaskVectors
from lata.merging.request import checked, opened
from lata.output.writing import ShardWriter
from lata.planning import Inputs, Plan, make_plan
from lata.planning.compare import blocks_of

if TYPE_CHECKING:
    from lata.engine.vectors import Direction, Journal
    from lata.merging.request import Opened, Request
    from lata.methods import Method
    from lata.numerics.tensors import TensorInfo
    from lata.output.writer import Output, Shard


@dataclass(frozen=True)
class Written:
    """What is known when every weight is written.

    Attributes:
        digests: role → digest of the weights; ``merged`` is the result's.
        distance: ‖merged − start‖₂ after rounding.
        unstable: parameters with values that are not finite.
    """

    digests: Mapping[str, str]
    distance: float
    unstable: tuple[str, ...]


@dataclass(frozen=True)
class Job:
    """A request with its method found and its checkpoints opened.

    Attributes:
        request: what to merge.
        method: its method.
        parameters: of the method, complete.
        checkpoints: role → checkpoint.
    """

    request: Request
    method: Method
    parameters: Mapping[str, Any]
    checkpoints: Mapping[str, Opened]

    @property
    def start(self) -> Opened:
        """The model that the merge starts from: the target, or θ_pre."""
        return self.checkpoints.get("target", self.checkpoints["pre"])

    @property
    def passes(self) -> int:
        """How often the experts are read."""
        return self.method.count_passes(self.parameters)

    def plan(self, output: Path | None) -> Plan:
        """What the merge would read, write and take, and everything that is wrong with it."""
        inputs = Inputs(
            self.checkpoints["pre"],
            {task: self.checkpoints[expert(task)] for task in self.request.tasks},
            self.checkpoints.get("base"),
            self.checkpoints.get("target"),
        )
        return make_plan(
            inputs,
            passes=self.passes,
            needs_base=self.method.needs_similarity,
            output=output,
            vocab=self.request.vocab,
            container=self.request.blocks,
        )

    def headers(self) -> Mapping[str, TensorInfo]:
        """Headers of the result: those that the start is stored with, so that an adapter's fp32 is rounded."""
        return self.start.stored

    def key(self) -> str:
        """What decides every byte of the result, as far as it is known before the weights are read."""
        modules = ["lata.merging.on_disk", *self.method.modules]
        facts = {
            "code": code_version(*modules, packages=("lata",), without=("lata.output.documents",)),
            "method": self.method.name,
            "parameters": dict(self.parameters),
            "lam": self.request.lam,
            "mode": self.request.mode,
            "seed": self.request.seed if self.method.random else None,
            "vocab": self.request.vocab,
            "blocks": self.request.blocks,
            "sources": {role: checkpoint.identity for role, checkpoint in self.checkpoints.items()},
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    @contextmanager
    def stream(self, made: Plan, threads: int | None, passes: int, block: int | None = None) -> Iterator[Stream]:
        """The checkpoints as a stream, with a progress bar over `passes`."""
        from tqdm import tqdm

        tensors = self.start.tensors
        shared = {name: rows * math.prod(tensors[name].shape[1:]) for name, rows in made.rows.items()}
        sources = {role: checkpoint for role, checkpoint in self.checkpoints.items() if role != "target"}
        total = passes * sum(tensors[name].count for name in made.merged)
        with tqdm(total=total, unit=" parameters", unit_scale=True, desc="merge", disable=None, leave=False) as bar:
            stream = Stream(
                {**sources, "start": self.start},
                made.merged,
                shared=shared,
                threads=threads,
                block=block,
                progress=bar.update,
                blocks=blocks_of(self.checkpoints["pre"], self.request.blocks),
            )
            try:
                yield stream
            finally:
                stream.close()

    def direction(self, stream: Stream, journal: Journal | None = None) -> tuple[TaskVectors, Direction]:
        """The task vectors and D, all statistics taken (or recalled from `journal`)."""
        scales = self.request.lam if isinstance(self.request.lam, Mapping) else {}
        vectors = TaskVectors(stream, self.request.tasks, scales, journal)
        return vectors, self.method.direction(vectors, self.request.seed, self.parameters)

    def recall(self, stream: Stream) -> None:
        """Take over the digests of sources that were made before, for the same files."""
        for role in stream.inspector.roles:
            stream.inspector.assume(role, remembered(self._of(role)) or {})

    def digests(self, stream: Stream) -> dict[str, dict[str, str]]:
        """Role → digests of a source's tensors, remembered; what no pass has read is read now."""
        known = {role: stream.inspector.complete(role) for role in stream.inspector.roles}
        for role, by_tensor in known.items():
            remember(self._of(role), by_tensor)
        return known

    def assume(self, stream: Stream, output: Output) -> None:
        """Take over the digests of sources that an interrupted run made."""
        for facts in output.finished.values():
            for role, digests in facts["sources"].items():
                stream.inspector.assume(role, digests)

    def write(self, stream: Stream, direction: Direction, shards: tuple[Shard, ...], output: Output) -> Written:
        """The last pass: every shard is written and noted, nothing is published.

        Raises:
            ValueError: an input holds values that are not finite, or the result does and may not; or a digest is not
                the one that the request asks for.
        """
        lam = 1.0 if isinstance(self.request.lam, Mapping) else self.request.lam
        writer = ShardWriter(stream, direction, -lam if self.request.mode == "forget" else lam, output)
        for shard in shards:
            if shard.file not in output.finished:
                writer.write(shard)
            self._refuse_unstable(output.finished[shard.file]["unstable"])
        found = list(output.finished.values())
        tensors = {name: digest for facts in found for name, digest in facts["digests"].items()}
        digests = {"merged": weights_digest({name: self.headers()[name] for name in tensors}, tensors)}
        for role, by_tensor in self.digests(stream).items():
            digests["target" if role == "start" else role] = weights_digest(self._of(role).tensors, by_tensor)
        self._refuse_other(digests)
        return Written(
            digests,
            math.sqrt(math.fsum(square for facts in found for square in facts["squares"].values())),
            tuple(name for facts in found for name in facts["unstable"]),
        )

    def _of(self, role: str) -> Opened:
        return self.start if role == "start" else self.checkpoints[role]

    def _refuse_unstable(self, names: list[str]) -> None:
        if names and not self.request.allow_unstable:
            shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
            raise ValueError(
                f"the merge is unstable: {shown} would hold values that are not finite; take a lam nearer to 0 than "
                f"{self.request.lam}, or allow_unstable=true to write it all the same"
            )

    def _refuse_other(self, digests: Mapping[str, str]) -> None:
        problems = [
            f"{role} has the weights {digests[role]}, but the recipe was made with {wanted}"
            for role, wanted in self.request.digests.items()
            if role in digests and digests[role] != wanted
        ]
        if problems:
            raise ValueError("\n".join(problems))


@contextmanager
def open_job(request: Request) -> Iterator[Job]:
    """A request's job; ValueError for everything that is wrong with it and can be told without reading weights."""
    method, parameters = checked(request)
    with opened(request) as checkpoints:
        yield Job(request, method, parameters, checkpoints)
