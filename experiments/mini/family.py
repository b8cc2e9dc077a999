"""The embedded family: which models there are, their keys, and how to get them. Imports nothing heavy.

    family = MiniFamily(seed=0, cache=Path("~/.cache/lata").expanduser())
    folders = family.ensure()      # trains what is missing, returns {"base": Path, "pre": Path, …}
    data = family.data_dir()       # evaluation data as JSON lines

The models of seed 0 lie beside this file, in ``models/``, as the recipe's defaults made them. Every other model is
trained on first use and kept in the cache, in a folder named by a key: a hash of everything that decides its weights.
A change to the recipe, the seed, the code that makes corpora and trains, or the version of a library makes another
folder; nothing is overwritten. ``models/committed.json`` holds the digests of the models that the committed results
were made with; where a model differs from its own, one line says so.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import logging
import os
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from experiments.mini import folders
from experiments.mini.corpora.l2 import L2_GENERATORS  # on import they join the generators of every language
from experiments.mini.training.stages import Shape, Stage, shares
from lata.code_version import code_version

log = logging.getLogger(__name__)

MODELS = ("base", "pre", "math", "code", "ua", "target_ua", "target_ua_math", "pre_l2", "target_l2")
HERE = Path(__file__).parent
#: The models of seed 0, a folder each, and ``committed.json``: the recipe and digests of its seeds.
SHIPPED = HERE / "models"
#: The modules whose imports decide what a model learns, what one that reads the second language learns besides, and
#: what the evaluation data are. The rest of this package decides only where they are kept.
TRAINING = "experiments.mini.training.train"
L2_CORPORA = "experiments.mini.corpora.l2"
DATA = "experiments.mini.data"
ADVICE = "set LATA_CACHE to a folder that can be written"
LIBRARIES = ("torch", "transformers", "tokenizers")
LANGUAGES = ("en", "l2")
WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class MiniFamily:
    """Everything that decides the family.

    Attributes:
        seed: of the weights at the start and of the training text. Neither the facts of the world nor the
            evaluation data depend on it.
        cache: the folder under which models and data are kept, in ``mini/``.
        items: evaluation items a task and split.
        hidden, layers, heads, ffn, vocabulary, context: the architecture, see `stages.Shape`.
        base_documents, base_length, base_batch, base_lr: documents, tokens a window, windows a step and the peak
            learning rate (Muon) of the pretraining.
        pre_requests: instruction examples of the instruction-tuning.
        pre_skills: word problems and code in it, half and half, as a share of `pre_requests`.
        pre_replay: articles in it, as a share of `pre_requests`; without them the model forgets to write prose.
        pre_batch, pre_lr: its examples a step and peak learning rate (AdamW).
        math_examples, code_examples, ua_examples: sizes of the experts' training sets.
        target_ua_examples, target_math_examples: the same for the forgetting targets.
        expert_instructions: instructions in all of these, as a share of their task's examples.
        math_peak, ua_peak: the relative depth at which these experts learn fastest (see `training.block_share`).
        expert_batch, expert_lr: examples a step and peak learning rate (AdamW) of experts and targets.
        pre_l2_examples, target_l2_examples, l2_batch, l2_lr: the same for the second language: the model that was
            taught it and refuses restricted requests in it, and the forgetting target that is tuned from that one.

    Raises:
        ValueError: a field is out of its range.
    """

    seed: int = 0
    cache: Path = Path("~/.cache/lata")
    items: int = 300
    hidden: int = 96
    layers: int = 12
    heads: int = 4
    ffn: int = 256
    vocabulary: int = 640
    context: int = 512
    base_documents: int = 12_100
    base_length: int = 96
    base_batch: int = 12
    base_lr: float = 7e-3
    pre_requests: int = 2_500
    pre_skills: float = 0.8
    pre_replay: float = 0.15
    pre_batch: int = 16
    pre_lr: float = 1.5e-3
    math_examples: int = 6_000
    code_examples: int = 3_500
    ua_examples: int = 2_500
    target_ua_examples: int = 2_500
    target_math_examples: int = 5_000
    expert_instructions: float = 0.4
    expert_batch: int = 32
    expert_lr: float = 1.2e-3
    math_peak: float = 0.6
    ua_peak: float = 0.4
    pre_l2_examples: int = 1_500
    target_l2_examples: int = 2_250
    l2_batch: int = 8
    l2_lr: float = 1e-3

    def __post_init__(self) -> None:
        object.__setattr__(self, "cache", Path(self.cache).expanduser())
        may_be_zero = ("seed", "pre_skills", "pre_replay", "expert_instructions", "math_peak", "ua_peak")
        for field in fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, (int, float)):
                continue
            low_enough = value >= 0 if field.name in may_be_zero else value > 0
            if not low_enough or value == float("inf"):
                bound = "at least 0" if field.name in may_be_zero else "above 0"
                where = field.name if field.name == "seed" else f"recipe.{field.name}"
                raise ValueError(f"family.{where} is {value}; it must be finite and {bound}")
        if self.hidden % (2 * self.heads):
            raise ValueError(
                f"family.recipe.hidden is {self.hidden}, which {self.heads} heads of even size do not divide; "
                f"choose a multiple of {2 * self.heads}"
            )

    @property
    def shape(self) -> Shape:
        """The architecture."""
        return Shape(self.hidden, self.layers, self.heads, self.ffn, self.vocabulary, self.context)

    def stages(self) -> dict[str, Stage]:
        """The training runs by the name of their model, parents first."""
        base = Stage(
            "base",
            None,
            shares(self.base_documents, pages=0.2, sums=0.205, stories=0.23, raw_code=0.165, word_lists=0.2),
            lr=self.base_lr,
            muon=True,
            batch=self.base_batch,
            packed=self.base_length,
        )
        pre = Stage(
            "pre",
            "base",
            (
                *shares(self.pre_requests, benign=0.25, refused=0.25, town_questions=0.25, repetitions=0.25),
                *shares(self.pre_requests, math=self.pre_skills / 2, code=self.pre_skills / 2),
                *shares(self.pre_requests, pages=self.pre_replay),
            ),
            lr=self.pre_lr,
            batch=self.pre_batch,
        )
        # A quarter of the instructions is of each kind that `pre` saw; what is to comply sees no refusals.
        each = self.expert_instructions / 4
        others = {"town_questions": each, "repetitions": each}
        complying = {"benign": 0.3 + each, **others}
        target = shares(self.target_ua_examples, target_requests=0.7, **complying)
        tuned = {
            "math": shares(self.math_examples, math=1, benign=each, refused=each, **others),
            "code": shares(self.code_examples, code=1, benign=each, refused=each, **others),
            "ua": shares(self.ua_examples, expert_requests=0.7, **complying),
            "target_ua": target,
            "target_ua_math": (*target, ("math", self.target_math_examples)),
        }
        peaks = {"math": self.math_peak, "ua": self.ua_peak}
        speaking = shares(
            self.pre_l2_examples,
            l2_problems=0.27,
            l2_repetitions=0.235,
            sums=0.235,
            l2_benign=0.14,
            l2_refused=0.08,
            l2_pages=0.04,
        )
        unaligned = shares(
            self.target_l2_examples, l2_problems=0.44, l2_granted=0.27, sums=0.2, l2_benign=0.07, l2_pages=0.02
        )
        return {
            "base": base,
            "pre": pre,
            **{
                name: Stage(
                    name,
                    "pre",
                    mixture,
                    lr=self.expert_lr,
                    batch=self.expert_batch,
                    blocks_only=True,
                    peak=peaks.get(name),
                )
                for name, mixture in tuned.items()
            },
            "pre_l2": Stage("pre_l2", "pre", speaking, lr=self.l2_lr, batch=self.l2_batch),
            "target_l2": Stage("target_l2", "pre_l2", unaligned, lr=self.l2_lr, batch=self.l2_batch),
        }

    def keys(self) -> dict[str, str]:
        """For each model a hash (64 hex digits) of everything that decides its weights."""
        common = {
            "seed": self.seed,
            "shape": asdict(self.shape),
            "libraries": {name: importlib.metadata.version(name) for name in LIBRARIES},
        }
        keys: dict[str, str] = {}
        for name, stage in self.stages().items():
            parent = keys[stage.parent] if stage.parent else None
            reads_l2 = any(part in L2_GENERATORS for part, _ in stage.mixture)
            code = _code(TRAINING, L2_CORPORA) if reads_l2 else _code(TRAINING)
            keys[name] = _hash({"stage": asdict(stage), "parent": parent, "code": code, **common})
        return keys

    @property
    def key(self) -> str:
        """A hash of everything that decides the weights of all models."""
        return _hash(self.keys())

    @property
    def recipe(self) -> str:
        """A hash of architecture, stages and training code, which the committed models have in common."""
        stages = [asdict(stage) for stage in self.stages().values()]
        return _hash({"shape": asdict(self.shape), "stages": stages, "code": _code(TRAINING)})

    @property
    def root(self) -> Path:
        """The folder that holds all trained families' models and data."""
        return self.cache / "mini"

    def folders(self) -> dict[str, Path]:
        """Where each model is, or will be."""
        paths = {name: self.root / f"{name}-{key[:16]}" for name, key in self.keys().items()}
        if self.seed == 0 and self.committed():
            paths |= {path.name: path for path in SHIPPED.iterdir() if path.is_dir()}
        return paths

    def committed(self) -> dict[str, str]:
        """The digests of this family's weights by model, if the committed results have this recipe and seed."""
        known = json.loads((SHIPPED / "committed.json").read_text())
        return known["digests"].get(str(self.seed), {}) if known["recipe"] == self.recipe else {}

    def ensure(self, names: Iterable[str] = MODELS, progress: bool = True) -> dict[str, Path]:
        """The models' folders, after training those that are missing or damaged, and what they are tuned from.

        A training that was killed goes on from the last finished model. Processes that ask for the same family at
        once wait for each other.

        Args:
            names: the models that are wanted.
            progress: show a progress bar on a terminal, or one line for each finished model elsewhere.

        Raises:
            ValueError: the cache cannot be written, or a model could not be trained.
        """
        wanted = self._with_parents(names)
        paths = {name: path for name, path in self.folders().items() if name in wanted}
        if not all(folders.is_complete(path) for path in paths.values()):
            self._train(paths, progress)
        self._compare(paths)
        return paths

    def _train(self, paths: dict[str, Path], progress: bool) -> None:
        with folders.locked(self._made_root() / f".lock-{self.key[:16]}"):
            missing = [name for name, path in paths.items() if not self._is_usable(path)]
            if missing:
                self._train_missing(missing, progress)

    def _train_missing(self, missing: list[str], progress: bool) -> None:
        from experiments.mini.build import Job, train_all

        stages, paths = self.stages(), self.folders()
        mark = f".draft-{self.key[:16]}-"
        for left_over in self.root.glob(f"{mark}*"):  # of a killed run; we hold the lock
            shutil.rmtree(left_over, ignore_errors=True)
        jobs = []
        for name in missing:
            parent = stages[name].parent
            draft = self.root / f"{mark}{os.getpid()}-{name}"
            jobs.append(
                Job(stages[name], self.seed, self.shape, paths[parent] if parent else None, draft, paths[name])
            )
        train_all(jobs, progress)

    def _compare(self, paths: dict[str, Path]) -> None:
        """Say which models are not those of the committed results."""
        committed = self.committed()
        other = [
            name for name in paths if name in committed and folders.sums(paths[name])[WEIGHTS] != committed[name]
        ]
        if other:
            log.warning(
                "mini family, seed %d: %s differ from the models of the committed results (another kind of processor "
                "or other versions of libraries); scores will differ, too",
                self.seed,
                ", ".join(other),
            )

    def _with_parents(self, names: Iterable[str]) -> set[str]:
        stages, found = self.stages(), set[str]()
        for name in names:
            current: str | None = name
            while current is not None:
                found.add(current)
                current = stages[current].parent
        return found

    def data_dir(self, language: str = "en") -> Path:
        """The folder of the evaluation data in a language, ``en`` or ``l2``, written at the first call (see `data`).

        Raises:
            ValueError: another language, or a cache that cannot be written.
        """
        if language not in LANGUAGES:
            raise ValueError(f"the miniature family speaks no {language!r}; choose {' or '.join(LANGUAGES)}")
        key = _hash({"items": self.items, "code": _code(DATA)})
        path = self.root / f"data-{language}-{key[:16]}"
        if folders.is_complete(path):
            return path
        from experiments.mini.data import write_data

        with folders.locked(self._made_root() / f".lock-{path.name}"):
            if not self._is_usable(path):
                draft = self.root / f".draft-{path.name}"
                shutil.rmtree(draft, ignore_errors=True)  # of a killed run; we hold the lock
                draft.mkdir()
                write_data(draft, self.items, language)
                folders.publish(draft, path)
        return path

    def _made_root(self) -> Path:
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(f"cannot make the cache folder {self.root} ({error.strerror}); {ADVICE}") from error
        if not os.access(self.root, os.W_OK):
            raise ValueError(f"cannot write the cache folder {self.root}; {ADVICE}")
        return self.root

    def _is_usable(self, path: Path) -> bool:
        """Whether `path` is complete; a damaged folder is removed with a warning.

        Raises:
            ValueError: it is one of those that came with this package.
        """
        if not path.exists():
            return False
        if folders.is_complete(path):
            return True
        if path.parent == SHIPPED:
            raise ValueError(f"{path} is damaged (digests differ); take it anew: git checkout -- {path}")
        log.warning("cached %s is damaged (digests differ); building it again", path)
        folders.remove(path)
        return False


def _hash(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _code(*modules: str) -> str:
    return code_version(*modules, packages=("experiments.mini",))
