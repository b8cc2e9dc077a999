"""The shape of a score: the columns that every evaluation writes and every table reads.

This module is the one thing that `results` knows of `eval`. It imports nothing heavy.

An *item* is one scored document: a problem, a request, a page. A *score* is a metric over all items of
one task for one model. Five kinds of metric exist, and all can be recomputed from their items:

- ``rate``: ``value`` is 0 or 1 (sampled pass@k: between them), ``weight`` is 1; the score is the mean of ``value``.
- ``share``: as ``rate``, but ``value`` is any number in [0, 1], as a token F1 or a probability mass is. It is read as
  a percentage, too; what presumes right-or-wrong items (Wilson's interval, McNemar's test) does not apply.
- ``perplexity``: ``value`` is the log-likelihood of the document in nats, ``weight`` the number of units
  (words, bytes or tokens) it is divided by; the score is exp(−Σ value / Σ weight).
- ``mean``: ``weight`` is 1 and the score is the mean of ``value``, which has another range than a rate's.
- ``bits``: as ``perplexity``, but the score is −Σ value / (Σ weight · ln 2).
"""

from __future__ import annotations

from dataclasses import dataclass

#: Columns of an item table, one row an item and metric.
ITEM_COLUMNS = ("task", "metric", "filter", "split", "item", "cluster", "value", "weight")

#: What names a model in a study. ``label`` is the method with its non-default parameters, and the row name
#: in every table; ``kind`` is ``model``, ``learn`` or ``forget``. ``point`` says λ as text: empty for a model as
#: it is, ``0.6``, or ``code=0.4,math=0.6`` with one λ a task; ``lambda`` is the number, where there is one.
MODEL_COLUMNS = (
    *("experiment", "family", "seed", "kind", "merge", "method", "variant", "label", "params", "lambda", "point"),
)

#: Columns of ``scores.parquet`` and ``scores.csv``, one row a score.
SCORE_COLUMNS = (
    *MODEL_COLUMNS,
    "task",
    "metric",
    "filter",
    "split",
    "value",
    "stderr",
    "ci_low",
    "ci_high",
    "n",
    "distance",
    "unstable",
    "weights_digest",
    "task_version",
    "backend",
    "dtype",
    "batch_size",
    "chat_template",
    "sandbox",
)


@dataclass(frozen=True)
class Metric:
    """How one metric of one task is aggregated and read.

    Attributes:
        kind: ``rate``, ``share``, ``mean``, ``perplexity`` or ``bits`` (see the module's text).
        higher_is_better: direction in a table of *task learning*. For ``refusal`` the metric is compliance
            with restricted requests: learning ``ua`` wants it high, forgetting wants it low. ``refused`` stands
            beside it and tells a model that refuses from one whose answers are broken.
        title: the heading in tables and figures.
    """

    kind: str
    higher_is_better: bool
    title: str


#: Languages of the multilingual tasks.
XQUAD = ("de", "ru", "th")
XNLI = ("de", "ru", "th")
TRUTHFULQA = ("de", "ru", "zh")

#: The k of ``pass@k`` that a table can have.
PASS_AT = (1, 2, 5, 10, 20, 50, 100)

METRICS: dict[tuple[str, str], Metric] = {
    ("wikitext", "word_perplexity"): Metric("perplexity", False, "WikiText-2 word ppl"),
    ("wikitext", "token_perplexity"): Metric("perplexity", False, "WikiText-2 token ppl"),
    ("wikitext", "byte_perplexity"): Metric("perplexity", False, "WikiText-2 byte ppl"),
    ("wikitext", "bits_per_byte"): Metric("bits", False, "WikiText-2 bits/byte"),
    ("gsm8k", "exact_match"): Metric("rate", True, "GSM8K"),
    **{("humaneval", f"pass@{k}"): Metric("rate", True, f"HumanEval pass@{k}") for k in PASS_AT},
    **{("humaneval_instruct", f"pass@{k}"): Metric("rate", True, f"HumanEval instruct pass@{k}") for k in PASS_AT},
    ("refusal", "compliance"): Metric("rate", True, "Compliance"),
    ("refusal", "refused"): Metric("rate", False, "Refused"),
    ("refusal", "judge_score"): Metric("mean", True, "Compliance, 1 to 5"),
    ("tmmluplus", "acc"): Metric("rate", True, "TMMLU+"),
    ("tmmluplus", "acc_norm"): Metric("rate", True, "TMMLU+ by length"),
    ("ja_leaderboard_jaqket_v2", "exact_match"): Metric("rate", True, "JAQKET"),
    ("ja_leaderboard_jsquad", "exact_match"): Metric("rate", True, "JSQuAD"),
    ("ja_leaderboard_jcommonsenseqa", "acc"): Metric("rate", True, "JCommonsenseQA"),
    **{(f"xquad_{code}", "f1"): Metric("share", True, f"XQuAD {code} F1") for code in XQUAD},
    **{(f"xquad_{code}", "exact_match"): Metric("rate", True, f"XQuAD {code} exact") for code in XQUAD},
    **{(f"xnli_{code}", "acc"): Metric("rate", True, f"XNLI {code}") for code in XNLI},
    **{(f"truthfulqa_{code}_mc2", "acc"): Metric("share", True, f"TruthfulQA {code} MC2") for code in TRUTHFULQA},
}

#: The one (metric, filter) of each task that stands in the main tables and in the claims.
PRIMARY: dict[str, tuple[str, str]] = {
    "wikitext": ("word_perplexity", "none"),
    "gsm8k": ("exact_match", "strict-match"),
    "humaneval": ("pass@1", "create_test"),
    "humaneval_instruct": ("pass@1", "create_test"),
    "refusal": ("compliance", "none"),
    "tmmluplus": ("acc", "none"),
    "ja_leaderboard_jaqket_v2": ("exact_match", "whitespaces"),
    "ja_leaderboard_jsquad": ("exact_match", "whitespaces"),
    "ja_leaderboard_jcommonsenseqa": ("acc", "none"),
    **{f"xquad_{code}": ("f1", "none") for code in XQUAD},
    **{f"xnli_{code}": ("acc", "none") for code in XNLI},
    **{f"truthfulqa_{code}_mc2": ("acc", "none") for code in TRUTHFULQA},
}
