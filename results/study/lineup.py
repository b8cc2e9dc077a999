"""Who takes part in a study: names, order, groups, and which direction of a score is better where."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from eval.schema import METRICS, PRIMARY
from results.study.run import KEY, Study, rows_of
from results.study.selection import UNSTABLE_RATIO
from results.study.sweep import point_key

TASKS = tuple(PRIMARY)
#: Short headings for the terminal and for narrow tables; other tasks stand there with their names.
SHORT = {"wikitext": "ppl", "gsm8k": "math", "humaneval": "code", "humaneval_instruct": "code chat", "refusal": "ua"}


class Model(NamedTuple):
    """The key of a model: kind (model, learn, forget), merge, label, and its λ where a line-up tells them apart."""

    kind: str
    merge: str
    label: str
    setting: str = ""

    @property
    def words(self) -> str:
        """`learn math+code ta at λ = 0.6`."""
        return " ".join(filter(None, self[:3])) + f" at λ = {self.setting}" * bool(self.setting)


def short_of(task: str) -> str:
    """The short heading of a task."""
    return SHORT.get(task, task)


def base_name(label: str) -> str:
    """`ties(density=0.3)` → `ties`."""
    return label.split("(", 1)[0]


class Lineup:
    """The models of one study, in the order of every table, with their facts.

    Attributes:
        columns: the columns of a score table that name a model.
        models: all keys, sorted: family members, learning merges, forgetting merges.
        position: key → place in `models`, the model axis of every array.
        seeds: sorted seeds.
    """

    def __init__(self, study: Study, settings: bool = False) -> None:
        """Read who takes part.

        Args:
            study: the scores.
            settings: whether every λ of a method is a model of its own.
        """
        self.columns = (*KEY, *["point"] * settings)
        self.meta: dict[str, Any] = study.meta
        self._scores = study.scores
        self._groups: Mapping[str, str] = study.meta.get("groups", {})
        self._controls = {*self.meta.get("controls", ()), *self.of_group("control")}
        keys = {Model(*row) for row in study.scores[list(self.columns)].drop_duplicates().itertuples(index=False)}
        merges = list(self.meta.get("merges", {})) + list(self.meta.get("forgets", {}))
        family = list(self.meta.get("models", []))

        def place(key: Model) -> tuple[Any, ...]:
            kind = ("model", "learn", "forget").index(key.kind) if key.kind in ("model", "learn", "forget") else 3
            merge = merges.index(key.merge) if key.merge in merges else len(merges)
            if key.kind == "model":
                label = family.index(key.label) if key.label in family else len(family)
                return kind, 0, "", label, 0, key.label
            return (kind, merge, key.merge, *self._rank(key.label), point_key(key.setting))

        self.models = sorted(keys, key=place)
        self.position = {key: place for place, key in enumerate(self.models)}
        # A study of layers has no scores.
        seeds = next((f["seed"] for f in (study.scores, study.similarity, study.granular) if len(f)), ())
        self.seeds = sorted({int(seed) for seed in seeds})

    @property
    def baseline(self) -> str:
        """The method that marks compare with."""
        return str(self.meta.get("baseline", "ta"))

    @property
    def tasks(self) -> list[str]:
        """Tasks whose primary metric was scored, in table order."""
        have = set(self._scores["task"].unique())
        return [task for task in TASKS if task in have]

    @property
    def family_models(self) -> list[Model]:
        """base, pre, experts and targets."""
        return [key for key in self.models if key.kind == "model"]

    def of_group(self, group: str) -> list[str]:
        """Methods that were registered as ``baseline``, ``lata`` or ``control``, in the order of tables."""
        return [name for name, its in self._groups.items() if its == group]

    def is_lata(self, label: str) -> bool:
        """Whether a row is one of the LATA schedules."""
        return base_name(label) in self.of_group("lata")

    def merges(self, kind: str) -> list[str]:
        """Names of the merges of a kind, in order."""
        return list(dict.fromkeys(key.merge for key in self.models if key.kind == kind))

    def labels(self, kind: str, merge: str | None = None) -> list[str]:
        """Method labels of a merge, or of all merges of a kind: methods first, then controls."""
        found = {key.label for key in self.models if key.kind == kind and merge in (None, key.merge)}
        return sorted(found, key=self._rank)

    def named(self, kind: str, name: str, schedule: str = "") -> str | None:
        """The label of the row that a claim calls `name`: exactly that, or else the only one of that method.

        `schedule` is the LATA method whose control is meant: a control ``of`` another, or one that has to ``match``
        another, is none. None where there is no such row, or several that could be meant.
        """
        known = self.meta.get("methods", {})
        labels = []
        for label in self.labels(kind):
            given = known.get(label, {})
            target = given.get("of", given.get("match")) if schedule else None
            if base_name(label) == name and target in (None, base_name(schedule)):
                labels.append(label)
        return name if name in labels else labels[0] if len(labels) == 1 else None

    def without_other_outside(self, kind: str) -> list[str]:
        """Rows of ta and of LATA schedules beside which no row differs in ``outside`` alone."""
        known = self.meta.get("methods", {})

        def parts(label: str) -> tuple[str, str, dict[str, Any]]:
            own = dict(known.get(label, {}))
            return base_name(label), str(own.pop("outside", "keep")), own

        rows = {label: parts(label) for label in self.labels(kind) if base_name(label) == "ta" or self.is_lata(label)}
        return [
            label
            for label, (name, outside, own) in rows.items()
            if not any(name == other and own == rest and outside != its for other, its, rest in rows.values())
        ]

    def method_notes(self, kind: str, merge: str | None = None) -> list[str]:
        """What a reader must know of the methods of a merge, or of all merges of a kind, a line each."""
        known = self.meta.get("method_notes", {})
        names = dict.fromkeys(base_name(label) for label in self.labels(kind, merge))
        return [f"{name}: {known[name]}" for name in names if name in known]

    def group_of(self, label: str) -> str:
        """`lata`, `control`, or `baseline` for every other method."""
        return "control" if self.is_control(label) else "lata" if self.is_lata(label) else "baseline"

    def is_control(self, label: str) -> bool:
        """Whether a row is a control, which stands apart in tables and is never best."""
        return label in self._controls or base_name(label) in self._controls

    def _rank(self, label: str) -> tuple[int, int, str]:
        """Methods, those that are not registered, controls; labels with parameters follow their method."""
        name, known = base_name(label), list(self._groups)
        if self.is_control(label):
            return 2, known.index(name) if self._groups.get(name) == "control" else len(known), label
        return (0, known.index(name), label) if name in known else (1, 0, label)

    def experts(self, merge: str) -> list[str]:
        """The experts of a learning merge."""
        return list(self.meta.get("merges", {}).get(merge, merge.split("+")))

    def members(self, merge: str) -> list[str]:
        """Tasks that the experts of a learning merge were trained on."""
        of = self.meta.get("expert_task", {})
        return [task for task in self.tasks if task in {of.get(expert) for expert in self.experts(merge)}]

    def target(self, merge: str) -> Model | None:
        """The model that a forgetting merge starts from, where it was scored."""
        entry = self.meta.get("forgets", {}).get(merge, {})
        key = Model("model", "", str(entry.get("target", "")))
        return key if key in self.position else None

    def harm_task(self, merge: str) -> str:
        """The task whose score a forgetting merge should lower."""
        forget = self.meta.get("forgets", {}).get(merge, {}).get("forget", "ua")
        return str(self.meta.get("expert_task", {}).get(forget, "refusal"))

    def direction(self, kind: str, merge: str, task: str) -> int:
        """+1 where higher is better, −1 where lower is, 0 where neither is wanted.

        Compliance with restricted requests is wanted only where `ua` is learned, unwanted where it is forgotten.
        """
        if task == "refusal":
            if kind == "forget":
                return -1
            return 1 if task in self.members(merge) else 0
        return 1 if METRICS[task, PRIMARY[task][0]].higher_is_better else -1

    @cached_property
    def _unstable(self) -> dict[tuple[Model, int], bool]:
        """The rule of instability: flagged by the run, not finite, or a perplexity over 10 × that of pre.

        A forgetting is unstable also over 10 × that of its target, which it starts from.
        """
        scores = self._scores
        flagged = (
            scores["unstable"].fillna(False).astype(bool) if "unstable" in scores else pd.Series(False, scores.index)
        )
        ppl = (scores["task"] == "wikitext") & (scores["metric"] == "word_perplexity")
        own = scores[ppl & (scores["kind"] == "model")]
        limits = {(row.label, row.seed): UNSTABLE_RATIO * float(row.value) for row in rows_of(own)}
        targets = {name: str(entry.get("target", "")) for name, entry in self.meta.get("forgets", {}).items()}
        starts = (
            (targets.get(merge, "pre"), seed) for merge, seed in zip(scores["merge"], scores["seed"], strict=True)
        )
        limit = np.fmin(
            [limits.get(("pre", seed), np.nan) for seed in scores["seed"]],
            [limits.get(start, np.nan) for start in starts],
        )
        value = scores["value"].astype(float)
        bad = flagged | ~np.isfinite(value) | (ppl & (value > limit))
        found: dict[tuple[Model, int], bool] = {}
        for *key, seed in scores.loc[bad, [*self.columns, "seed"]].itertuples(index=False):
            found[Model(*key), int(seed)] = True
        return found

    def unstable_seeds(self, key: Model) -> list[int]:
        """Seeds for which this model is unstable."""
        return [seed for seed in self.seeds if (key, seed) in self._unstable]

    @cached_property
    def _distances(self) -> tuple[pd.Series, pd.Series]:
        if "distance" not in self._scores:
            return pd.Series(dtype=float), pd.Series(dtype=float)
        scores, columns = self._scores.assign(distance=self._scores["distance"].astype(float)), list(self.columns)
        return scores.groupby(columns)["distance"].mean(), scores.groupby([*columns, "seed"])["distance"].first()

    def distance(self, key: Model, seed: int | None = None) -> float:
        """‖merged − start‖₂ for one seed, or the mean over seeds; NaN where there is none."""
        mean, of_seed = self._distances
        name = key[: len(self.columns)]
        return float(mean.get(name, np.nan) if seed is None else of_seed.get((*name, seed), np.nan))


_SCHEDULES = {"learn": "lata_linear", "forget": "lata_threshold"}


def schedule_of(lineup: Lineup, job: str) -> str:
    """The LATA schedule that decides claims about learning or forgetting: the study's own.

    What the study names, where it made it; else the only schedule that it made, or the first of several.
    """
    named = {**_SCHEDULES, **lineup.meta.get("schedule", {})}[job]
    made = [label for label in lineup.labels(job) if lineup.is_lata(label)]
    asked = [label for label in made if label == named] or [label for label in made if base_name(label) == named]
    return str((asked or made or [named])[0])
