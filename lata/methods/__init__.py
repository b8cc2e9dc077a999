"""The registry of merge methods: one file a method, one name everywhere (file, registry, YAML, table row).

A method is a pure function that makes the *direction* D of a merge θ = θ_pre + λ·D from task vectors. Its
positional arguments say what it needs: ``vectors`` (every method; `lata.engine.vectors.TaskVectors`) and
``similarity`` (the methods that weight layers by it; ``granularity`` says what a layer is). It may take statistics of
the vectors, and returns the function that makes D of one block. Its keyword-only arguments are its parameters, and
`register` gives each a rule that its values must obey; ``seed``, where there is one, is the study's seed and not a
parameter. Every method also takes ``outside``: ``drop`` leaves the parameters outside the decoder's blocks as they
are. A wrong name or value is refused before anything is loaded.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import pkgutil
import reprlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lata.engine.layers import GRANULARITIES, OUTSIDE
from lata.methods.rules import Cosines, OneOf, Rule

if TYPE_CHECKING:
    from lata.engine.vectors import Direction, TaskVectors


#: What a method is in tables and claims, in the order of tables: published methods that LATA is compared with, LATA's
#: schedules, and controls of this project, which stand apart and are never best.
GROUPS = ("baseline", "lata", "control")


@dataclass(frozen=True)
class Method:
    """One registered method.

    Attributes:
        name: the one name of the method.
        function: ``(vectors[, similarity], *, seed?, **parameters) → direction``.
        group: one of `GROUPS`.
        order: its place in its group, in every table; those with the same are sorted by name.
        paper: where the method was published; empty for what is of this project.
        equation: the direction D as a formula.
        note: what a reader of the result must know of it, as a sentence; empty for most.
        defaults: parameter name → default value; one that must be given has one that its rule refuses.
        rules: parameter name → the rule its value must obey.
        needs_similarity: whether the method weights layers and so needs θ_base.
        passes: variant (empty for a method that has none) → passes over the experts for its statistics.
        one_lambda: the variants that take one λ for all tasks and no other for each.
        random: whether its result depends on the seed.
    """

    name: str
    function: Callable[..., Direction]
    group: str
    order: int
    paper: str
    equation: str
    note: str
    defaults: Mapping[str, Any]
    rules: Mapping[str, Rule]
    needs_similarity: bool
    passes: Mapping[str, int]
    one_lambda: tuple[str, ...]
    random: bool

    @property
    def control(self) -> bool:
        """Whether it is a control."""
        return self.group == "control"

    @property
    def modules(self) -> list[str]:
        """The module of this package that makes it, for `lata.code_version`; none for a method from elsewhere."""
        module = self.function.__module__
        return [module] if module.startswith(f"{__name__}.") else []

    def parameters(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """`given` completed by the defaults; ValueError names an unknown parameter or a value out of range."""
        for key in given:
            if key not in self.defaults:
                raise ValueError(f"method {self.name!r} has no parameter {key!r}{suggest(key, self.defaults)}")
        complete = {**self.defaults, **given}
        for key, value in complete.items():
            problem = self.rules[key].problem(value)
            if problem:
                raise ValueError(f"method {self.name!r}: {key}={reprlib.repr(value)} {problem}")
        return {key: self.rules[key].normal(value) for key, value in complete.items()}

    def check_tasks(self, parameters: Mapping[str, Any], tasks: Iterable[str]) -> None:
        """ValueError where a parameter that gives tasks something lacks one of the merged `tasks`."""
        for key, rule in self.rules.items():
            if not isinstance(rule, Cosines):
                continue
            known = dict(parameters[key])
            for task in tasks:
                if task not in known:
                    raise ValueError(
                        f"method {self.name!r}: {key} has no task {task!r} (it has {', '.join(known)}); give one "
                        "that was measured with an expert of that name"
                    )

    def count_passes(self, parameters: Mapping[str, Any]) -> int:
        """How often the experts are read, the merge itself included."""
        return 1 + int(self.needs_similarity) + self.passes.get(str(parameters.get("variant", "")), 0)

    def takes_scales(self, parameters: Mapping[str, Any]) -> bool:
        """Whether every task can have a λ_t of its own."""
        return parameters.get("variant") not in self.one_lambda

    def direction(self, vectors: TaskVectors, seed: int, parameters: Mapping[str, Any]) -> Direction:
        """D as this method makes it, with statistics taken.

        Raises:
            ValueError: it needs θ_base and there is none, or a parameter lacks a merged task.
        """
        self.check_tasks(parameters, vectors.tasks)
        own = dict(parameters)
        if self.random:
            own["seed"] = seed
        outside = own.pop("outside")
        if self.needs_similarity:
            return self.function(vectors, vectors.similarity(own.pop("granularity"), outside), **own)
        if outside == "keep":
            return self.function(vectors, **own)
        # As if the model had its blocks alone: statistics of the whole vector are of them, too.
        from lata.methods.sums import widened

        inside = vectors.inside()
        return widened(self.function(inside, **own), inside.names, vectors.names)


#: Parameters that the registry gives to methods: those with a similarity (`lata.engine.similarities`), and others.
_MEASUREMENT: dict[str, tuple[str, OneOf]] = {
    "granularity": ("block", OneOf(GRANULARITIES)),
    "outside": ("keep", OneOf(OUTSIDE)),
}
_PLAIN: dict[str, tuple[str, OneOf]] = {"outside": ("keep", OneOf(("keep", "drop")))}

_REGISTRY: dict[str, Method] = {}


def register(
    *,
    group: str,
    order: int = 100,
    paper: str = "",
    equation: str,
    note: str = "",
    passes: Mapping[str, int] | None = None,
    one_lambda: tuple[str, ...] = (),
    **rules: Rule,
) -> Callable[[Callable[..., Direction]], Callable[..., Direction]]:
    """Decorator: register a method under its function's name.

    Args:
        group, order, paper, equation, note, passes, one_lambda: as in `Method`; without `order` it comes last.
        rules: one entry a parameter.
    """

    def add(function: Callable[..., Direction]) -> Callable[..., Direction]:
        signature = inspect.signature(function).parameters.values()
        options = {p.name: p.default for p in signature if p.kind is p.KEYWORD_ONLY}
        random = options.pop("seed", None) is not None
        assert options.keys() == rules.keys(), f"{function.__name__}: rules and parameters differ"
        assert group in GROUPS, f"{function.__name__}: the group is one of {GROUPS}"
        needs_similarity = "similarity" in {p.name for p in signature}
        given = _MEASUREMENT if needs_similarity else _PLAIN
        _REGISTRY[function.__name__] = Method(
            name=function.__name__,
            function=function,
            group=group,
            order=order,
            paper=paper,
            equation=equation,
            note=note,
            defaults={**options, **{key: default for key, (default, _) in given.items()}},
            rules={**rules, **{key: rule for key, (_, rule) in given.items()}},
            needs_similarity=needs_similarity,
            passes=passes or {},
            one_lambda=one_lambda,
            random=random,
        )
        return function

    return add


def methods() -> dict[str, Method]:
    """All methods by name, in the order that tables show them."""
    for module in pkgutil.walk_packages(__path__, f"{__name__}."):
        importlib.import_module(module.name)
    known = sorted(_REGISTRY.values(), key=lambda method: (GROUPS.index(method.group), method.order, method.name))
    return {method.name: method for method in known}


def get(name: str) -> Method:
    """The method called `name`; ValueError names the nearest ones."""
    known = methods()
    if name not in known:
        raise ValueError(f"unknown method {name!r}{suggest(name, known)} (known: {', '.join(known)})")
    return known[name]


def suggest(word: object, known: Mapping[str, Any] | list[str]) -> str:
    """``; did you mean 'x'?`` for the nearest of `known`, or nothing where none is near."""
    names = {str(name).casefold(): str(name) for name in known}
    near = difflib.get_close_matches(str(word).casefold(), names, n=1, cutoff=0.5)
    return f"; did you mean {names[near[0]]!r}?" if near else ""
