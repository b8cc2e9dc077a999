"""Tasks that start from one of lm-eval's own YAML files and change only what they say they change.

lm-eval resolves ``include`` against the folder of the file that includes, so a file in our tree cannot name
one inside the installed package. A YAML here says ``class: !function eval.documents.stock.StockTask`` and
``stock: gsm8k/gsm8k.yaml`` instead: the class reads that file with lm-eval's loader and puts the local keys
on top. It works the same in-process and for ``lm_eval --include_path eval/tasks``.

The class also keeps what does not depend on the model: requests and rendered targets are built once, however
many models are evaluated.

From the task's ``metadata`` (``--metadata`` of lm-eval's command) it reads ``num_fewshot``, for tasks that have
shots: the command's own ``--num_fewshot`` comes too late for the documents, of which the shots are a part.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lm_eval.tasks
from lm_eval.api.metrics import weighted_perplexity
from lm_eval.api.task import ConfigurableTask
from lm_eval.tasks._yaml_loader import _import_fun_from_str, load_yaml

from eval.documents import multilingual_rows as multilingual_rows
from eval.multilingual.entries import MULTILINGUAL

if TYPE_CHECKING:
    from eval.settings import EvalSettings

STOCK_ROOT = Path(lm_eval.tasks.__file__).resolve().parent

#: Keys that are merged key by key; for all others the local value replaces the stock one.
DEEP_KEYS = ("generation_kwargs", "metadata")

#: Keys of the stock YAML that say where its data come from and in which listing it stands.
SOURCE_KEYS = ("dataset_path", "dataset_name", "dataset_kwargs", "tag")


def merged_config(stock: str, local: dict[str, Any]) -> dict[str, Any]:
    """The stock task's configuration with ``local`` on top.

    Functions of the stock YAML are imported after the merge, so one that ``local`` replaces is never
    imported (stock ``humaneval`` would fetch a metric from the hub).

    Args:
        stock: path of the YAML under lm-eval's task folder.
        local: keys of our own YAML.
    """
    path = STOCK_ROOT / stock
    base = load_yaml(path, resolve_func=False)
    for key in SOURCE_KEYS:
        base.pop(key, None)
    for key in DEEP_KEYS:
        if key in base and key in local:
            base[key] = {**base[key], **local[key]}
    merged = {**local, **{key: base[key] for key in DEEP_KEYS if key in base}}
    return {**_with_functions(base, path.parent, skip=set(merged)), **merged}


def _with_functions(value: Any, folder: Path, skip: frozenset[str] | set[str] = frozenset()) -> Any:
    """``value`` with every unresolved ``!function`` of a YAML in ``folder`` replaced by the function."""
    if isinstance(value, dict):
        return {key: _with_functions(item, folder) for key, item in value.items() if key not in skip}
    if isinstance(value, list):
        return [_with_functions(item, folder) for item in value]
    if isinstance(value, str) and value.startswith(f"{folder}/"):
        return _import_fun_from_str(value)
    return value


def registered_task(name: str, settings: EvalSettings) -> StockTask:
    """One of lm-eval's multilingual tasks, with its rows.

    Args:
        name: of ``MULTILINGUAL``.
        settings: where the rows come from, and how many are shots.

    Raises:
        ValueError: rows that are missing or wrong.
    """
    entry = MULTILINGUAL[name]
    solved = "train" if settings.shots(name) else None
    version = load_yaml(STOCK_ROOT / entry.stock, resolve_func=False)["metadata"]["version"]
    config: dict[str, Any] = {
        "task": f"{name}_{settings.source}",
        "stock": entry.stock,
        "custom_dataset": multilingual_rows.hub if settings.source == "hub" else multilingual_rows.local,
        "dataset_kwargs": {"name": name},
        "validation_split": None,
        "test_split": "test",
        "training_split": solved,
        "fewshot_split": solved,
        "num_fewshot": settings.shots(name),
        "fewshot_config": {"sampler": "first_n"},
        "metadata": {**settings.metadata(), "version": f"{version}-{settings.source}.{entry.revision}"},
    }
    return StockTask({**config, **entry.changed})


class StockTask(ConfigurableTask):
    """An lm-eval task that is configured by a stock YAML and ours, and that keeps its requests."""

    def __init__(self, config: dict[str, Any]) -> None:
        local = {key: value for key, value in config.items() if key not in ("class", "stock")}
        if "stock" in config:
            local = merged_config(config["stock"], local)
        self._texts: dict[tuple[Any, str], Any] = {}
        self._targets: dict[tuple[Any, str], Any] = {}
        self._documents: Any = None
        self._built_for: dict[str, Any] | None = None
        super().__init__(config=self.adjusted(local, local.get("metadata") or {}))

    def adjusted(self, config: dict[str, Any], metadata: dict[str, Any]) -> dict[str, Any]:
        """The configuration with what ``metadata`` asks of it."""
        if config.get("num_fewshot") and "num_fewshot" in metadata:
            config = {**config, "num_fewshot": int(metadata["num_fewshot"])}
        return config

    def doc_to_text(self, doc: Any, doc_to_text: Any = None) -> Any:
        """As lm-eval's, remembered: it compiles the template again for every document, and for every shot of it."""
        key = (doc_to_text, repr(doc))
        if key not in self._texts:
            self._texts[key] = super().doc_to_text(doc, doc_to_text)
        return self._texts[key]

    def doc_to_target(self, doc: Any, doc_to_target: Any = None) -> Any:
        """As lm-eval's, remembered."""
        key = (doc_to_target, repr(doc))
        if key not in self._targets:
            self._targets[key] = super().doc_to_target(doc, doc_to_target)
        return self._targets[key]

    def test_docs(self) -> Any:
        """As lm-eval's, remembered: it processes the documents again whenever it is asked."""
        if self._documents is None:
            self._documents = super().test_docs()
        return self._documents

    def aggregation(self) -> dict[str, Callable[[Sequence[Any]], float]]:
        """As lm-eval's, but a perplexity too large for a float is infinite, not an error that ends the run."""
        return {
            name: perplexity_or_infinity if function is weighted_perplexity else function
            for name, function in super().aggregation().items()
        }

    @property
    def asks(self) -> bool:
        """Whether there is a prompt that a chat template can wrap.

        Pages have none, nor has XNLI: its choices are whole sentences, which behind an empty turn of a user would be
        taken for an answer to nothing.
        """
        return self.OUTPUT_TYPE != "loglikelihood_rolling" and self.config.doc_to_text != ""

    def build_all_requests(self, *, chat_template: Any = None, tokenizer_name: str = "", **kwargs: Any) -> None:
        """As lm-eval's, but a second call with the same arguments reuses the requests, emptied of answers.

        A task that asks nothing is built without the chat template. What comes from the model's wrapper (its way to
        apply the template) does not count: a task serves one tokenizer.
        """
        if self._built_for == kwargs:
            for instance in self._instances:
                instance.resps, instance.filtered_resps = [], {}
            return
        plain = {} if self.asks else {"apply_chat_template": False, "fewshot_as_multiturn": False}
        super().build_all_requests(chat_template=chat_template, tokenizer_name=tokenizer_name, **{**kwargs, **plain})
        self._built_for = kwargs


def perplexity_or_infinity(items: Sequence[tuple[float, float]]) -> float:
    """lm-eval's ``weighted_perplexity``; infinite where exp overflows, as for a merge that has come apart."""
    try:
        return float(weighted_perplexity(items))
    except OverflowError:
        return math.inf
