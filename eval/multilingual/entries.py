"""lm-eval's multilingual tasks that the suite knows: where their YAML lies, and what their rows hold.

One entry a task. Prompts, choices, filters and metrics are lm-eval's (`eval.documents.stock`);
``eval/tasks/multilingual`` says what each task is. Nothing heavy is imported: the fingerprint needs this, and a run
that finds all its scores needs no more.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eval.multilingual.scores import mc2, squad
from eval.schema import TRUTHFULQA, XNLI, XQUAD

#: What a field of a row must be: a text; texts or whole numbers; a whole number in a range; one of some texts.
Kind = type[str] | list[type] | range | tuple[str, ...]
TEXT: Kind = str
TEXTS: Kind = [str]
NUMBERS: Kind = [int]


@dataclass(frozen=True)
class StockEntry:
    """One of lm-eval's tasks.

    Attributes:
        title: what it measures.
        stock: its YAML under lm-eval's task folder.
        hub: data set and configuration on the hub, as that YAML names them; no configuration where the rows say it.
        fields: field → what it must be; a dot leads into an object.
        scored: the hub's split that is scored.
        dev: the hub's split for choosing λ; None where there is no second one.
        shots: solved rows before each question, the first ones of ``train``.
        cluster: the field that rows share which are not independent, as questions about one paragraph.
        script: whether the hub has a program that makes the rows, which ``datasets`` no longer runs.
        changed: keys that take the place of the YAML's.
        revision: of this entry, the end of the task's version.
    """

    title: str
    stock: str
    hub: tuple[str, str | None]
    fields: Mapping[str, Kind]
    scored: str = "validation"
    dev: str | None = None
    shots: int = 0
    cluster: str | None = None
    script: bool = False
    changed: Mapping[str, Any] = field(default_factory=dict)
    revision: int = 1

    @property
    def folder(self) -> Path:
        """lm-eval's folder of the task, found without importing lm-eval."""
        found = importlib.util.find_spec("lm_eval")
        assert found is not None
        assert found.submodule_search_locations is not None
        return Path(found.submodule_search_locations[0]) / "tasks" / Path(self.stock).parent

    def content(self) -> Iterator[tuple[str, bytes]]:
        """Name and content of lm-eval's files that decide what the task is, for the fingerprint."""
        for path in sorted(self.folder.iterdir()):
            if path.suffix in (".py", ".yaml") or path.name.endswith("_yaml"):
                yield f"{self.stock}/{path.name}", path.read_bytes()

    def group(self, row: Mapping[str, Any]) -> str | None:
        """A short name of what `row` shares with others, from the content of `cluster`."""
        if self.cluster is None:
            return None
        return hashlib.blake2b(row[self.cluster].encode(), digest_size=6).hexdigest()


#: lm-eval's default, which the stock tasks rely on.
GENERATED = {"generation_kwargs": {"max_gen_toks": 256}}
#: Of the tasks that exist in several.
LANGUAGES = {"de": "German", "ru": "Russian", "th": "Thai", "zh": "Chinese"}
_SQUAD = {"context": TEXT, "question": TEXT, "answers.text": TEXTS}
_JGLUE = "Rakuten/JGLUE"
_OKAPI = "okapi/truthfulqa_multilingual"

MULTILINGUAL: dict[str, StockEntry] = {
    "tmmluplus": StockEntry(
        title="exam questions in Traditional Chinese, four choices",
        stock="tmmluplus/default/_tmmluplus_template_yaml",
        hub=("ikala/tmmluplus", None),
        fields={"subject": TEXT, **dict.fromkeys(("question", *"ABCD"), TEXT), "answer": tuple("ABCD")},
        scored="test",
        dev="validation",
        changed={"description": "{{description}}"},
    ),
    "ja_leaderboard_jaqket_v2": StockEntry(
        title="quiz questions with paragraphs in Japanese",
        stock="japanese_leaderboard/ja_leaderboard_jaqket_v2.yaml",
        hub=("kumapo/JAQKET", "v2.0"),
        fields={"question": TEXT, "ctxs.text": TEXTS, "answers.text": TEXTS},
        dev="train",
        shots=1,
        script=True,
        changed=GENERATED,
    ),
    "ja_leaderboard_jsquad": StockEntry(
        title="questions about a paragraph in Japanese",
        stock="japanese_leaderboard/ja_leaderboard_jsquad.yaml",
        hub=(_JGLUE, "JSQuAD"),
        fields=_SQUAD,
        dev="train",
        shots=2,
        cluster="context",
        script=True,
        changed=GENERATED,
    ),
    "ja_leaderboard_jcommonsenseqa": StockEntry(
        title="common sense in Japanese, five choices",
        stock="japanese_leaderboard/ja_leaderboard_jcommonsenseqa.yaml",
        hub=(_JGLUE, "JCommonsenseQA"),
        fields={"question": TEXT, **{f"choice{number}": TEXT for number in range(5)}, "label": range(5)},
        dev="train",
        shots=3,
        script=True,
    ),
    **{
        f"xquad_{code}": StockEntry(
            title=f"questions about a paragraph in {LANGUAGES[code]}",
            stock=f"xquad/xquad_{code}.yaml",
            hub=("google/xquad", f"xquad.{code}"),
            fields=_SQUAD,
            cluster="context",
            changed={**GENERATED, "process_results": squad},
        )
        for code in XQUAD
    },
    **{
        f"xnli_{code}": StockEntry(
            title=f"does one sentence follow from another, in {LANGUAGES[code]}",
            stock=f"xnli/xnli_{code}.yaml",
            hub=("facebook/xnli", code),
            fields={"premise": TEXT, "hypothesis": TEXT, "label": range(3)},
            dev="train",
            cluster="premise",
        )
        for code in XNLI
    },
    **{
        f"truthfulqa_{code}_mc2": StockEntry(
            title=f"questions that invite a false belief, in {LANGUAGES[code]}",
            stock=f"{_OKAPI}/truthfulqa_{code}_mc2.yaml",
            hub=("alexandrainst/m_truthfulqa", code),
            fields={
                "question": TEXT,
                "mc1_targets_choices": TEXTS,
                "mc2_targets_choices": TEXTS,
                "mc2_targets_labels": NUMBERS,
            },
            scored="val",
            changed={"process_results": mc2},
        )
        for code in TRUTHFULQA
    },
}
