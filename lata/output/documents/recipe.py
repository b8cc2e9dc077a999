"""The recipe that lies beside every merge and makes it again, byte for byte."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from lata.names import for_line
from lata.output.documents.facts import Facts, public_source


def recipe(facts: Facts, settings: Mapping[str, Any], *, public: bool = False) -> str:
    """The text of ``recipe.yaml``: data, which `lata.merging.recipes` reads.

    Its sources are those of `facts`, and ``digests`` what their weights and the result's must be.

    Args:
        facts: the merge.
        settings: other keys that decide the result, such as ``vocab`` and ``shard_bytes``.
        public: whether others will read it. Folders then go by their last part only, and must be put in again.
    """
    where = {role: public_source(source) if public else source for role, source in facts.sources.items()}
    single = {role: source for role, source in where.items() if not role.startswith("experts.")}
    lam = dict(facts.lam) if isinstance(facts.lam, Mapping) else facts.lam
    content = {
        "family": {**single, "experts": {task: where[f"experts.{task}"] for task in facts.tasks}},
        "merge": facts.tasks,
        "method": {"name": facts.method, **{key: _plain(value) for key, value in facts.parameters.items()}},
        "lam": lam,
        "mode": facts.mode,
        **({} if facts.seed is None else {"seed": facts.seed}),
        **settings,
        "digests": dict(facts.digests),
    }
    return (
        f"# {for_line(facts.summary)}, the same bytes again:\n"
        "#   python -m experiments.merge recipe=THIS_FILE output=NEW_FOLDER\n"
        + yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=1000)
    )


def _plain(value: Any) -> Any:
    """A parameter as configurations give it: a profile (`lata.methods.rules`) is a mapping there."""
    return {task: list(numbers) for task, numbers in value} if isinstance(value, tuple) else value
