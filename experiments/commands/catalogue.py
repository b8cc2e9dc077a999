"""What ``lata`` can do: every subcommand with its line of help, its examples, and the options that stand for keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

#: How an option is read: its value is a path, a word, a comma-separated list, ``NAME=DIR``, or there is none.
PATH, WORD, LIST, NAMED, FLAG = "DIR", "VALUE", "A,B", "NAME=DIR", ""


@dataclass(frozen=True)
class Command:
    """One subcommand of ``lata``.

    Attributes:
        summary: what it does, in a line.
        usage: the command line in short, without ``lata NAME``.
        examples: command line without ``lata NAME`` → what it gives.
        options: option → key of the configuration and how its value is read.
        keys: files in ``conf/`` whose comments explain its keys.
        groups: folders in ``conf/`` from which ``group=choice`` chooses.
        note: what else its help says.
        main: whether a module of `experiments` runs it; else it is a list (`experiments.commands.listing`).
        hydra: whether Hydra composes its configuration.
    """

    summary: str
    usage: str = ""
    examples: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    keys: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    note: str = ""
    main: bool = True
    hydra: bool = True


_SOURCES = {
    "--base": ("family.base", PATH),
    "--pre": ("family.pre", PATH),
    "--expert": ("family.experts", NAMED),
}
_MODELS = (
    "A model is a folder, a hub id (org/name or org/name@revision), or either with a LoRA adapter (model+adapter)."
)
_STUDY = {
    "--experiment": ("experiment", WORD),
    "--family": ("family", WORD),
    "--methods": ("methods", LIST),
    "--merges": ("merges", LIST),
    "--seeds": ("seeds", LIST),
    "--out": ("out", PATH),
}
_STUDY_KEYS = ("config.yaml",)
_STUDY_GROUPS = ("experiment", "family", "language", "eval", "logger")
_SEVERAL = (
    "Several processes or machines: add --multirun, a launcher, and what tells the jobs apart; then run the same "
    "command without them, which writes the tables. Jobs share the cache, so no work is done twice."
)

COMMANDS: dict[str, Command] = {
    "reproduce": Command(
        "run a study: merges, scores, tables, claims, and a report",
        "[experiment=NAME] [family=NAME] [key=value …]",
        {
            "": "the whole study on the miniature family",
            "experiment=learning family=gemma2_2b": "task learning on Gemma-2-2b",
            "'seeds=[0,1,2]'": "the same with three trained seeds",
            "'methods=[ta, {name: ties, density: 0.3}]' 'merges=[math+code]'": "some methods, with parameters",
            "logger=none --out runs/mine": "without W&B, into another folder",
            "--multirun hydra/launcher=joblib 'process=range(0,4)' workers=1": "four processes on this machine",
            "--multirun hydra/launcher=slurm 'process=range(0,8)' workers=1": "eight SLURM jobs (keys: --cfg hydra)",
            "--cfg job": "show the composed configuration and stop",
        },
        _STUDY,
        _STUDY_KEYS,
        _STUDY_GROUPS,
        _SEVERAL,
    ),
    "sweep": Command(
        "score methods at many λ, choose λ, see where each method breaks",
        "[experiment=NAME] [family=NAME] ['lambdas=[…]'] [key=value …]",
        {
            "--merges math+code --methods ta,ties,lata_log --lambdas 0.2,0.6,1.0": "three methods, three λ",
            "'lambdas={start: 0.2, stop: 3, step: 0.2}'": "a range, both ends included",
            "'lambdas={math: [0.4,0.8], code: [0.4,0.8]}' 'methods=[ta]'": "a grid of one λ a task",
            "selection=search search.trials=30": "λ of each task by search",
            "mode=forget 'lambdas=[0.5,1,2,3]'": "λ at which harm passes its threshold",
            "'also=[fixed, metagpt]' 'methods=[ta, lata_log]'": "ways of choosing λ side by side",
            "'seeds=[0,1,2]'": "bands over trained seeds",
            "--multirun hydra/launcher=joblib 'process=range(0,2)' workers=1": "two processes",
        },
        {**_STUDY, "--lambdas": ("lambdas", LIST)},
        ("sweep.yaml", *_STUDY_KEYS),
        _STUDY_GROUPS,
        _SEVERAL,
    ),
    "compare": Command(
        "finished runs: which method is best, and is it more than noise",
        "RUN [RUN …] [--baseline ta] [--out DIR]",
        {
            "runs/mini": "against the run's own baseline",
            "runs/mini-sweep --baseline ties": "against TIES, with fronts over λ",
            "runs/a runs/b --baseline ta": "two runs that add seeds, methods, merges or λ",
        },
        hydra=False,
    ),
    "merge": Command(
        "merge checkpoints in bounded memory; the result loads in transformers",
        "--pre DIR --expert NAME=DIR [--expert NAME=DIR …] [--base DIR] [--method NAME] --out DIR [key=value …]",
        {
            "--base DIR --pre DIR --expert math=DIR --expert code=DIR --method lata_linear --out DIR": "LATA",
            "family.pre=DIR 'family.experts={math: DIR, code: DIR}' output=DIR": "the same in keys",
            "… --method ties method.density=0.3 method.variant=mergekit": "a method's parameters",
            "… 'merge=[math]' 'lam={math: 0.5}'": "some of the experts, λ for each",
            "… mode=forget --target DIR --method lata_threshold": "remove the experts' tasks from another model",
            "… --dry-run": "check everything, read headers only",
            "… export=mergekit --out FILE.yaml": "the same merge for mergekit",
            "--recipe FILE --out DIR": "a merge again, from the recipe.yaml beside it",
            "--recipe FILE --out DIR --pre DIR --expert math=DIR": "its models are elsewhere now",
        },
        {
            **_SOURCES,
            "--target": ("family.target", PATH),
            "--method": ("method", WORD),
            "--lam": ("lam", WORD),
            "--out": ("output", PATH),
            "--recipe": ("recipe", PATH),
            "--dry-run": ("dry_run", FLAG),
        },
        ("merge.yaml",),
        ("method",),
        _MODELS + " `lata methods` lists the methods and their parameters.",
    ),
    "analyze": Command(
        "measure how much each layer looks like instruction following",
        "--base DIR --pre DIR --expert NAME=DIR [--expert NAME=DIR …] [--out FILE.csv] [key=value …]",
        {
            "--base DIR --pre DIR --expert math=DIR --expert code=DIR --out FILE.csv": "layers × tasks",
            "family.base=DIR family.pre=DIR 'family.experts={math: DIR}' granularity=tensor": "in keys, by tensor",
        },
        {**_SOURCES, "--out": ("output", PATH)},
        ("analyze.yaml",),
        note=_MODELS,
    ),
    "evaluate": Command(
        "score a model: WikiText-2, GSM8K, HumanEval, refusal, and more",
        "--model DIR_OR_ID [--tasks A,B] [--out DIR] [key=value …]",
        {
            "--model DIR --tasks gsm8k,wikitext --out DIR": "two tasks",
            "model=org/name@revision": "from the hub",
            "model=DIR+ADAPTER": "a LoRA adapter, merged in memory",
            "… --data DIR eval.source=local": "offline, from a folder of the benchmarks' files",
            "… eval.limit=50": "a part of each task",
            "… --tasks humaneval eval.samples=20 'eval.k=[1,10]'": "pass@k by sampling",
            "… --tasks humaneval_instruct eval.chat_template=on": "HumanEval as chat models are asked",
            "… eval.backend=vllm eval.tensor_parallel=2": "with vLLM (pip install 'lata-bench[vllm]')",
            "… eval.judge.base_url=URL eval.judge.model=NAME": "a judge for refusal (key in OPENAI_API_KEY)",
        },
        {
            "--model": ("model", PATH),
            "--tokenizer": ("tokenizer", PATH),
            "--tasks": ("eval.tasks", LIST),
            "--data": ("eval.data_dir", PATH),
            "--out": ("out", PATH),
        },
        ("evaluate.yaml", "eval/paper.yaml"),
        ("eval",),
        _MODELS + " A second call with the same model and settings finds its scores in the cache. `lata tasks` lists "
        "the tasks and what they need.",
    ),
    "plan": Command(
        "what a study would take, before it is run: bytes, memory, hours",
        "[experiment=NAME] [family=NAME] [every key of reproduce] [plan.KEY=VALUE …]",
        {
            "experiment=learning family=gemma2_2b --gpu rtx4090": "one table on one card",
            "… --gpu a6000 plan.gpus=2 eval.backend=vllm eval.tensor_parallel=2": "two cards",
            "… 'lambdas=[0.2,0.6,1.0]'": "a sweep, as `lata sweep` would run it",
            "… plan.ram_gb=64": "warn where the machine's memory does not suffice",
            "… plan.answers=2 plan.compute_use=0.3": "other assumptions",
            "… --out DIR": "also write DIR/plan.json",
        },
        {**_STUDY, "--lambdas": ("lambdas", LIST), "--gpu": ("plan.gpu", WORD)},
        ("plan.yaml", "sweep.yaml", *_STUDY_KEYS),
        _STUDY_GROUPS,
    ),
    "methods": Command("list the merge methods and their parameters", main=False, hydra=False),
    "tasks": Command("list the evaluation tasks and what they need", main=False, hydra=False),
}
