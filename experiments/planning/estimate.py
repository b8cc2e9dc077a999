"""A study on paper: its stages with their memory and hours, its tokens and bytes, and what will not fit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from experiments.config.family import FamilyKind, mini_family
from experiments.config.sweep import Selection, SweepPlan
from experiments.mini.training.stages import Stage as Training
from experiments.planning import cost as cost
from experiments.planning.config import Planning
from experiments.planning.documents import Documents, documents
from experiments.planning.machines import MACHINES
from experiments.planning.models import Model, distinct_download, look
from experiments.planning.warnings import Stage, room, warn_of_gpu, warn_of_inputs, warn_of_memory
from experiments.steps.jobs import Entry
from experiments.steps.queue import MOST_WORKERS
from experiments.study.run import entries_of
from lata.methods import get
from lata.planning import Rates as MergeRates

#: Tokens of a training example of the miniature family, and the arithmetic of training in forward passes.
_TRAINED_TOKENS, _TRAINING_PASSES = 45, 3
#: How much longer it takes than the fastest kernels would on all cores: it runs on the kernels that every processor
#: has (2.7 times as long), in fp32 Muon, and nothing runs beside its first two stages.
#: Set by one training of seed 0: 23 minutes on two busy cores.
_TRAINING_LOSS = 4.5
#: Bytes that the store keeps of a token of a prompt or answer, and of an item's scores.
_TOKEN_RECORD, _ITEM_RECORD = 4, 60


@dataclass(frozen=True)
class Round:
    """Evaluations of many models on the same documents.

    Attributes:
        what: which.
        count: how many models.
        tasks: the documents of one of them.
    """

    what: str
    count: int
    tasks: Sequence[Documents]

    def prompt_tokens(self) -> float:
        """Tokens that all of them read."""
        return self.count * sum(task.prompt_tokens for task in self.tasks)

    def answer_tokens(self, most: bool = False) -> float:
        """Tokens that all of them generate; where every answer runs to its limit with `most`."""
        return self.count * sum(task.answer_tokens(most) for task in self.tasks)


@dataclass(frozen=True)
class Estimate:
    """What a study would take.

    Attributes:
        models: what is read.
        stages: in their order.
        rounds: the evaluations, the test split's first.
        merges: how many, at most: the store may have some.
        workers: processes that share the work.
        download, store, stored: bytes to fetch, of this study in the store, and finished steps that the store holds.
        warnings: what will not work as configured, each with the override that helps.
        notes: what is unknown or assumed.
    """

    models: Sequence[Model]
    stages: Sequence[Stage]
    rounds: Sequence[Round]
    merges: int
    workers: int
    download: int
    store: float
    stored: int
    warnings: Sequence[str]
    notes: Sequence[str]

    @property
    def tasks(self) -> Sequence[Documents]:
        """The documents of one evaluation on the test split."""
        return self.rounds[0].tasks if self.rounds else ()

    @property
    def evaluations(self) -> int:
        """How many, at most: equal weights are evaluated once, and the store may have some."""
        return sum(one.count for one in self.rounds)

    @property
    def seconds(self) -> float | None:
        """Of all stages; None where one is unknown."""
        return _total(stage.seconds for stage in self.stages)

    @property
    def most(self) -> float | None:
        """Of all stages if every answer ran to its limit."""
        return _total(stage.most for stage in self.stages)


def estimate(planning: Planning) -> Estimate:
    """Estimate a study; nothing is downloaded but a ``config.json``, and nothing is run."""
    return _Estimator(planning).estimate()


class _Estimator:
    """One study on one machine."""

    def __init__(self, planning: Planning) -> None:
        self.planning, self.study, self.options = planning, planning.study, planning.options
        self.settings = self.study.config.eval
        self.models = look(self.study)
        self.sweep = self.study if isinstance(self.study, SweepPlan) else None
        self.entries = list(entries_of(self.study, self.sweep.points if self.sweep else None))
        self.jobs = list(dict.fromkeys(entry.job for entry in self.entries))
        self.merges = [job for job in self.jobs if job.method]
        self.tasks = documents(self.study, self.models["pre"].tokenizer, self.options.answers)
        self.group = self.options.gpus if self.settings.device_map is not None else self.settings.tensor_parallel
        groups = 0 if planning.machine.is_cpu else self.options.gpus // self.group
        by_default = min(self.options.cores, MOST_WORKERS) if planning.machine.is_cpu else max(1, groups)
        self.workers = self.study.config.workers or by_default
        #: Cores that work at the same time, and the workers that they let work.
        self.busy_cores = min(self.workers * self.settings.threads, self.options.cores)
        on_cpu = max(1.0, self.busy_cores / self.settings.threads)
        self.side_by_side = on_cpu if planning.machine.is_cpu else min(self.workers, max(1, groups))
        self.served = self._served()

    def estimate(self) -> Estimate:
        rounds = self._rounds()
        stages = [stage for stage in (self._download(), self._train()) if stage is not None]
        stages += [self._merge(), self._evaluate(rounds)] if rounds else []
        stages += [self._similarity()] if "base" in self.models else []
        warnings = [
            *(warn_of_gpu(self.planning, self.served, self.tasks, self.group) if rounds else ()),
            *warn_of_memory(self.options.ram_gb, stages, self.workers),
            *warn_of_inputs(self.models.values(), self.tasks, self.served, self.settings.source.value),
        ]
        return Estimate(
            models=list(self.models.values()),
            stages=stages,
            rounds=rounds,
            merges=len(self.merges) + self._found(),
            workers=self.workers,
            download=distinct_download(self.models.values()),
            store=sum(one.count * _recorded(one.tasks) for one in rounds),
            stored=sum(1 for _ in (self.study.cache / "store" / "evaluation").glob("??/*/entry.json")),
            warnings=warnings,
            notes=list(dict.fromkeys(model.note for model in self.models.values() if model.note)),
        )

    def _found(self) -> int:
        """Points whose λ is found when the sweep runs: a search's trials, and MetaGPT's one."""
        if self.sweep is None:
            return 0
        each = {Selection.search: self.sweep.sweep.search.trials, Selection.metagpt: 1}
        return self._curves() * sum(each.get(way, 0) for way in self.sweep.ways)

    def _curves(self) -> int:
        """Methods of every combination and seed."""
        combinations = self.study.combinations.values()
        return len(self.study.seeds) * sum(len(self.study.methods_of(one)) for one in combinations)

    def _rounds(self) -> list[Round]:
        models = len(self.jobs) - len(self.merges)
        merges = len(self.merges) + self._found()
        again = _again(self.study.baseline, self.entries, self.settings.batch_size)
        if not self.jobs:
            return []
        if self.sweep is None:
            return [Round("test", len(self.jobs) + again, self.tasks)]
        tested = merges if self.sweep.sweep.hindsight else len(self.sweep.ways) * self._curves()
        rounds = [Round("test", models + tested + again, self.tasks)]
        if self.sweep.development:
            config = self.study.config
            limit = self.sweep.sweep.dev_limit or config.eval.limit
            tasks = ["wikitext", *self.sweep.development]
            own = replace(
                self.study, config=replace(config, eval=replace(config.eval, split="dev", tasks=tasks, limit=limit))
            )
            found = documents(own, self.models["pre"].tokenizer, self.options.answers)
            rounds.append(Round("development", models + merges, found))
        return rounds

    def _served(self) -> cost.Served | None:
        pre = self.models["pre"]
        if pre.shape is None or pre.parameters is None:
            return None
        item = cost.ITEM[self.settings.dtype]
        return cost.Served(pre.shape, pre.parameters, item, self.settings.batch_size, self.settings.backend == "vllm")

    def _stored(self, name: str) -> int:
        return self.models[name].stored or 0

    def _download(self) -> Stage | None:
        bytes_ = distinct_download(self.models.values())
        if not bytes_:
            return None
        count = sum(bool(model.download) for model in self.models.values())
        seconds = bytes_ / (self.options.download_mb_s * 1e6)
        return Stage("download", f"{count} models", 0, 0, seconds, seconds)

    def _train(self) -> Stage | None:
        if self.study.config.family.kind is not FamilyKind.mini or self.served is None:
            return None
        examples, missing = 0, 0
        for seed in self.study.seeds:
            family = mini_family(self.study.config.family, self.study.cache, seed)
            stages, folders = family.stages(), family.folders()
            for name in _with_parents(self.models, stages):
                if not folders[name].is_dir():
                    examples, missing = examples + stages[name].examples, missing + 1
        if not missing:
            return None
        tokens = examples * _TRAINED_TOKENS
        work = _TRAINING_PASSES * tokens * self.served.shape.token_flops(self.served.parameters, _TRAINED_TOKENS / 2)
        cpu = MACHINES["cpu"]  # wherever it is evaluated
        seconds = _TRAINING_LOSS * work / (cpu.fp32 * cpu.compute_use * self.options.cores)
        return Stage("train", f"{missing} models", cost.PROCESS, 0, seconds, seconds)

    def _merge(self) -> Stage:
        others = [job for job in self.jobs if not job.method]
        seconds = self._combining(self._made() + sum(2 * self._stored(job.start) for job in others))
        known = self._known()
        held = None if not known else self.workers * (cost.PROCESS + self._held_bytes())
        what = f"{len(self.merges) + self._found()} merges, {len(others)} models"
        return Stage("merge", what, held, 0, seconds if known else None, seconds if known else None)

    def _evaluate(self, rounds: Sequence[Round]) -> Stage:
        what = ", ".join(f"{one.count} on {one.what}" for one in rounds)
        if self.served is None:
            return Stage("evaluate", what, None, None, None, None)
        machine, use = self.planning.machine, self.planning.compute_use
        together = self.settings.threads if machine.is_cpu else self.group if self.served.vllm else 1
        rates = cost.Rates(
            flops=machine.flops(self.settings.dtype) * use * together,
            bandwidth=machine.bandwidth * self.options.memory_use * together,
            launch=self.planning.launch,
        )
        made = self._combining(self._made())
        expected, most = (
            sum(one.count * cost.evaluation_seconds(self.served, one.tasks, rates, longest) for one in rounds)
            / self.side_by_side
            + made
            for longest in (False, True)
        )
        free = room(self.planning, self.served, self.group)
        fitting = {task: cost.fitting_batch(self.served, task, free) or 1 for task in self.tasks}
        working = max(cost.working_bytes(self.served, task, batch) for task, batch in fitting.items())
        live = 0 if self.served.vllm else self.served.weights
        here = self.workers * (cost.PROCESS + self._held_bytes() + live + (working if machine.is_cpu else 0))
        if machine.is_cpu:
            gpu = 0.0
        elif self.served.vllm:
            gpu = machine.memory * self.settings.gpu_memory
        else:
            gpu = cost.CONTEXT + self.served.weights / self.group + working
        return Stage("evaluate", what, here, gpu, expected, most)

    def _similarity(self) -> Stage:
        names = ("base", "pre", *self.study.experts)
        seconds = self._combining(sum(map(self._stored, names)) * len(self.study.seeds))
        known = seconds if self._known() else None
        return Stage("similarity", f"{len(self.study.seeds)} tables", cost.PROCESS, 0, known, known)

    def _known(self) -> bool:
        return all(model.stored is not None for model in self.models.values())

    def _made(self) -> float:
        """Bytes that making all merges in memory reads and writes: the passes, then θ_start, D and the result.

        Those whose λ is not known yet take what the others take on average.
        """
        total = 0.0
        for job in self.merges:
            method, parameters = get(job.method), dict(job.parameters)
            models = sum(map(self._stored, ("pre", *job.experts)))
            total += method.count_passes(parameters) * models + (
                self._stored("base") if method.needs_similarity else 0
            )
            total += self._stored(job.start) * (2 if job.start == "pre" else 3) + self._direction_bytes()
        return total * (1 + self._found() / max(1, len(self.merges)))

    def _combining(self, read: float) -> float:
        """Seconds of `read` bytes of models on all cores; the disk does not get faster with them."""
        options = self.options
        rates = MergeRates(read=options.read_gb_s * 1e9, compute=options.combine_gb_s * 1e9 * self.busy_cores / 2)
        return cost.merge_seconds(read, 0, rates)

    def _direction_bytes(self) -> int:
        """D is held in fp32."""
        return 4 * (self.models["pre"].parameters or 0)

    def _held_bytes(self) -> float:
        """θ_start as it is stored, and D."""
        starts = {job.start for job in self.merges}
        return max(map(self._stored, starts), default=0) + (self._direction_bytes() if starts else 0)


def _recorded(tasks: Iterable[Documents]) -> float:
    """Bytes that the store keeps of one evaluation."""
    return sum(
        (task.prompt_tokens + task.answer_tokens()) * _TOKEN_RECORD * bool(task.limit)
        + task.count * task.samples * _ITEM_RECORD
        for task in tasks
    )


def _again(baseline: str, entries: Sequence[Entry], batch_size: int) -> int:
    """Evaluations that are repeated with half the batch, as `experiments.study.run.again` chooses them."""
    seeds = {entry.job.seed for entry in entries}
    merged = any(entry.kind != "model" and entry.label == baseline for entry in entries)
    return len(seeds) * (1 + merged) if batch_size > 1 else 0


def _with_parents(names: Iterable[str], stages: Mapping[str, Training]) -> list[str]:
    found: dict[str, None] = {}
    for name in names:
        current: str | None = name
        while current is not None:
            found[current] = None
            current = stages[current].parent
    return list(found)


def _total(values: Iterable[float | None]) -> float | None:
    known = list(values)
    return None if any(value is None for value in known) else sum(value or 0 for value in known)
