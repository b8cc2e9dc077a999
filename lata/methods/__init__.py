"""The registry of merge methods: one file a method, one name everywhere (file, registry, YAML, table row).

A method is a pure function that makes the *direction* D of a merge θ = θ_pre + λ·D from task vectors. Its
positional arguments say what it needs: ``vectors`` (every method; `lata.vectors.TaskVectors`) and ``similarity`` (the
methods that weight layers by it; ``granularity`` and ``outside`` say how it is measured). It may take statistics of
the vectors, and returns the function that makes D of one block. Its keyword-only arguments are its parameters, and
`register` gives each a rule that its values must obey; ``seed``, where there is one, is the study's seed and not a
parameter. A wrong name or value is refused before anything is loaded.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lata.layers import GRANULARITIES, OUTSIDE

if TYPE_CHECKING:
    from lata.vectors import Direction, TaskVectors


@dataclass(frozen=True)
class Interval:
    """A parameter that is a finite number from `low` to `high`.

    `open_low` and `open_high` leave out the ends; `optional` allows None as well.
    """

    low: float
    high: float
    open_low: bool = False
    open_high: bool = False
    optional: bool = False

    def problem(self, value: object) -> str | None:
        """What is wrong with `value`, or None."""
        if value is None and self.optional:
            return None
        if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
            above = value > self.low if self.open_low else value >= self.low
            below = value < self.high if self.open_high else value <= self.high
            if above and below:
                return None
        left, right = "(" if self.open_low else "[", ")" if self.open_high else "]"
        return f"must be a number in {left}{self.low:g}, {self.high:g}{right}"


@dataclass(frozen=True)
class OneOf:
    """A parameter that is one of some words."""

    choices: tuple[str, ...]

    def problem(self, value: object) -> str | None:
        """What is wrong with `value`, or None."""
        return None if value in self.choices else f"must be one of {', '.join(self.choices)}"


@dataclass(frozen=True)
class Method:
    """One registered method.

    Attributes:
        name: the one name of the method.
        function: ``(vectors[, similarity], *, seed?, **parameters) → direction``.
        paper: where the method was published; empty for the controls of this project.
        equation: the direction D as a formula.
        defaults: parameter name → default value.
        rules: parameter name → the rule its value must obey.
        needs_similarity: whether the method weights layers and so needs θ_base.
        passes: variant (empty for a method that has none) → passes over the experts for its statistics.
        one_lambda: the variants that take one λ for all tasks and no other for each.
        random: whether its result depends on the seed.
        control: whether it is a control of this project rather than a published method.
    """

    name: str
    function: Callable[..., Direction]
    paper: str
    equation: str
    defaults: Mapping[str, Any]
    rules: Mapping[str, Interval | OneOf]
    needs_similarity: bool
    passes: Mapping[str, int]
    one_lambda: tuple[str, ...]
    random: bool
    control: bool

    def parameters(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """`given` completed by the defaults; ValueError names an unknown parameter or a value out of range."""
        for key, value in given.items():
            if key not in self.defaults:
                raise ValueError(f"method {self.name!r} has no parameter {key!r}{suggest(key, self.defaults)}")
            problem = self.rules[key].problem(value)
            if problem:
                raise ValueError(f"method {self.name!r}: {key}={value!r} {problem}")
        # A number that came as an integer (density: 1) must not make another key than 1.0 does.
        typed = {k: float(v) if isinstance(v, int) else v for k, v in given.items()}
        return {**self.defaults, **typed}

    def count_passes(self, parameters: Mapping[str, Any]) -> int:
        """How often the experts are read, the merge itself included."""
        return 1 + int(self.needs_similarity) + self.passes.get(str(parameters.get("variant", "")), 0)

    def takes_scales(self, parameters: Mapping[str, Any]) -> bool:
        """Whether every task can have a λ_t of its own."""
        return parameters.get("variant") not in self.one_lambda

    def direction(self, vectors: TaskVectors, seed: int, parameters: Mapping[str, Any]) -> Direction:
        """D as this method makes it, with statistics taken; ValueError where it needs θ_base and there is none."""
        own = dict(parameters)
        if self.random:
            own["seed"] = seed
        if not self.needs_similarity:
            return self.function(vectors, **own)
        similarity = vectors.similarity(own.pop("granularity"), own.pop("outside"))
        return self.function(vectors, similarity, **own)


#: Parameters that every method with a similarity has: they say how it is measured (`lata.similarities.measure`).
_MEASUREMENT: dict[str, tuple[str, OneOf]] = {
    "granularity": ("block", OneOf(GRANULARITIES)),
    "outside": ("keep", OneOf(OUTSIDE)),
}

_REGISTRY: dict[str, Method] = {}

#: The modules that register methods, in the order that tables show them.
_MODULES = (
    "ta",
    "ties",
    "dare",
    "dare_ties",
    "lata_linear",
    "lata_log",
    "lata_threshold",
    "ta_norm_matched",
    "ta_half",
    "lata_shuffled",
    "lata_reversed",
    "depth_linear",
)


def register(
    *,
    paper: str,
    equation: str,
    passes: Mapping[str, int] | None = None,
    one_lambda: tuple[str, ...] = (),
    **rules: Interval | OneOf,
) -> Callable[[Callable[..., Direction]], Callable[..., Direction]]:
    """Decorator: register a method under its function's name. `rules` has one entry a parameter."""

    def add(function: Callable[..., Direction]) -> Callable[..., Direction]:
        signature = inspect.signature(function).parameters.values()
        options = {p.name: p.default for p in signature if p.kind is p.KEYWORD_ONLY}
        random = options.pop("seed", None) is not None
        assert options.keys() == rules.keys(), f"{function.__name__}: rules and parameters differ"
        needs_similarity = "similarity" in {p.name for p in signature}
        measurement = _MEASUREMENT if needs_similarity else {}
        _REGISTRY[function.__name__] = Method(
            name=function.__name__,
            function=function,
            paper=paper,
            equation=equation,
            defaults={**options, **{key: default for key, (default, _) in measurement.items()}},
            rules={**rules, **{key: rule for key, (_, rule) in measurement.items()}},
            needs_similarity=needs_similarity,
            passes=passes or {},
            one_lambda=one_lambda,
            random=random,
            control=not paper,
        )
        return function

    return add


def methods() -> dict[str, Method]:
    """All methods by name, in the order that tables show them."""
    for module in _MODULES:
        importlib.import_module(f"lata.methods.{module}")
    return {name: _REGISTRY[name] for name in _MODULES}


def get(name: str) -> Method:
    """The method called `name`; ValueError names the nearest ones."""
    known = methods()
    if name not in known:
        raise ValueError(f"unknown method {name!r}{suggest(name, known)} (known: {', '.join(known)})")
    return known[name]


def suggest(word: object, known: Mapping[str, Any] | list[str]) -> str:
    """``; did you mean 'x'?`` for the nearest of `known`, or nothing where none is near."""
    near = difflib.get_close_matches(str(word), [str(k) for k in known], n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else ""
