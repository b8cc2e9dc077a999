"""What is said of a choice that a group of `conf/` has not."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from experiments.commands.pages import choices
from lata.methods import suggest


def no_choice(group: str, choice: str, known: Sequence[str]) -> str:
    """One line on a choice that a group has not: with what to say instead, where that can be told.

    Args:
        group: such as ``experiment``.
        choice: what was said.
        known: what can be.
    """
    near = suggest(choice, list(known))
    if group == "experiment":
        found = difflib.get_close_matches(choice, spelled := _spelled(), n=1)
        near = f"; did you mean {spelled[found[0]]}?" if found else ""
    return f"{group}={choice} does not exist{near} (there are: {', '.join(known)})"


def _spelled() -> dict[str, str]:
    """Name of a study, of an experiment or of a family → the words that choose it."""
    experiments, families = choices("experiment"), choices("family")
    forgetting = {f"forgetting_{name}": f"forgetting language={name}" for name in choices("language")}
    parts = {name: name for name in experiments} | forgetting
    return (
        {
            f"{family}_{name}": f"experiment={said} family={family}"
            for family in families
            for name, said in parts.items()
        }
        | {family: f"family={family}" for family in families}
        | {name: f"experiment={said}" for name, said in parts.items()}
    )
