"""What will not work on the machine that was named, each with the override that would help."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from eval.multilingual.entries import MULTILINGUAL
from experiments.config.family import missing_source
from experiments.planning import cost as cost
from experiments.planning.config import Planning
from experiments.planning.documents import Documents
from experiments.planning.hub import MISSING, Model


@dataclass(frozen=True)
class Stage:
    """One part of a study.

    Attributes:
        name: of the stage.
        what: how much there is to do, in words.
        cpu: peak bytes of the machine's memory, of all workers together; None where unknown, 0 where it is little.
        gpu: peak bytes of each GPU; 0 where it uses none.
        seconds: expected; None where unknown.
        most: seconds if every answer ran to its limit.
    """

    name: str
    what: str
    cpu: float | None
    gpu: float | None
    seconds: float | None
    most: float | None


def room(planning: Planning, served: cost.Served | None, group: int) -> float:
    """Bytes for batches beside the weights on the GPUs of one model; infinite on a CPU.

    Args:
        planning: names the machine.
        served: the model; None where its shape is unknown.
        group: GPUs that share it.
    """
    if served is None or planning.machine.is_cpu:
        return math.inf
    memory = planning.machine.memory
    if served.vllm:
        return memory * planning.study.config.eval.gpu_memory * group - served.weights
    # A model that is spread is computed by one GPU after another: a batch has the room of one.
    return memory - cost.CONTEXT - served.weights / group


def warn_of_gpu(
    planning: Planning, served: cost.Served | None, tasks: Sequence[Documents], group: int
) -> Iterator[str]:
    """Weights or batches that the GPUs cannot hold."""
    machine, settings = planning.machine, planning.study.config.eval
    if machine.is_cpu:
        return
    if group > planning.options.gpus:
        yield f"eval.tensor_parallel={group} needs as many GPUs; set plan.gpus={group}, or lower it"
    if served is None:
        return
    free = room(planning, served, group)
    narrower = "eval.dtype=bfloat16, or " if served.item == 4 else ""
    if free <= 0:
        needed = math.ceil(served.weights * 1.3 / machine.memory)
        spread = (
            f"plan.gpus={needed} with eval.backend=vllm eval.tensor_parallel={needed} or with eval.device_map=auto"
            if needed > group
            else "a GPU with more memory"
        )
        yield (
            f"the weights take {served.weights / 1e9:.0f} GB and each GPU has {machine.memory / 1e9:.0f}: "
            f"set {narrower}{spread}"
        )
        return
    if settings.backend == "vllm":
        return
    for task in tasks:
        fits = cost.fitting_batch(served, task, free)
        if fits == served.batch:
            continue
        if fits:
            advice = f"set eval.batch_size={fits}; a run tries the larger ones first, and halves them"
        else:
            whole = math.ceil((machine.memory - free + cost.working_bytes(served, task, 1)) / 1e9)
            advice = (
                f"not even eval.batch_size=1 fits; set {narrower}eval.backend=vllm, leave {task.task} out of "
                f"eval.tasks, or take a GPU with {whole} GB"
            )
        taken = cost.working_bytes(served, task, served.batch) / 1e9
        yield (
            f"{task.task}: a batch of {served.batch} takes {taken:.1f} GB beside the weights, and there are "
            f"{free / 1e9:.1f}: {advice}"
        )


def warn_of_memory(ram_gb: float | None, stages: Iterable[Stage], workers: int) -> Iterator[str]:
    """Stages that the machine's memory cannot hold; none where it was not said."""
    for stage in stages:
        if ram_gb is None or stage.cpu is None or stage.cpu <= ram_gb * 1e9:
            continue
        if workers > 1 and stage.cpu / workers <= ram_gb * 1e9:
            advice = f"set workers={int(ram_gb * 1e9 * workers // stage.cpu)}"
        else:
            advice = (
                "merge to disk instead, in under 1 GB (experiments.merge), and score the results "
                "(experiments.evaluate)"
            )
        yield f"{stage.name} needs {stage.cpu / 1e9:.0f} GB of memory, plan.ram_gb says {ram_gb:g}: {advice}"


def warn_of_inputs(
    models: Collection[Model], tasks: Sequence[Documents], served: cost.Served | None, source: str
) -> Iterator[str]:
    """Models and documents that are still to be given, prompts that are too long, licences to accept.

    Args:
        models, tasks: of the study.
        served: the model; None where its shape is unknown.
        source: where documents come from, ``eval.source``.
    """
    for model in models:
        if model.place == MISSING:
            yield f"{missing_source(model.name)}; planned as large as pre"
    for task in tasks:
        if task.how == "unknown":
            yield f"{task.task} has no documents here and is not counted; name their folder with eval.data_dir"
        if served is not None and task.limit and task.longest + task.limit > served.shape.context:
            yield (
                f"{task.task}: the longest prompts with their answers outgrow the model's context, and a run refuses "
                "them; lower eval.num_fewshot, or leave it out of eval.tasks"
            )
        if source == "hub" and task.task in MULTILINGUAL and MULTILINGUAL[task.task].script:
            yield (
                f"{task.task} cannot be loaded from the hub any more; write its rows to files, as "
                "eval/tasks/multilingual says, and set eval.source=local eval.data_dir=DIR"
            )
    gated = sorted({model.source for model in models if model.gated and model.download != 0})
    if gated:
        yield f"gated: {', '.join(gated)}; accept the licence on each model's page on the hub, then `hf auth login`"
