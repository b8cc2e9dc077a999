"""Two scores that stand in the place of lm-eval's own, with the same values: SQuAD's F1, and TruthfulQA's MC2.

`squad`: exact match and token F1 (Rajpurkar et al., https://arxiv.org/abs/1606.05250, in the wording of their script
for version 2). lm-eval's ``xquad`` takes them from a module that transformers 5 no longer has, and imports
``evaluate``, which it does not use. Words are what stands between blanks: a Thai answer is a single word.

`mc2`: the share of probability that falls on the true answers (https://arxiv.org/abs/2109.07958). lm-eval divides 0
by 0 where answers are so long that the exponential of every log-likelihood is 0, and for models that have come apart.
"""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from collections.abc import Sequence
from typing import Any

_PUNCTUATION = set(string.punctuation)


def words(answer: str) -> list[str]:
    """The words of an answer: in lower case, without ASCII punctuation and the English articles."""
    plain = "".join(character for character in answer.lower() if character not in _PUNCTUATION)
    return re.sub(r"\b(a|an|the)\b", " ", plain).split()


def f1(reference: str, answer: str) -> float:
    """The harmonic mean of precision and recall of the words; where one has none, whether both have none."""
    wanted, given = words(reference), words(answer)
    if not wanted or not given:
        return float(wanted == given)
    common = (Counter(wanted) & Counter(given)).total()
    return 2 * common / (len(wanted) + len(given))


def squad(doc: dict[str, Any], results: Sequence[str]) -> dict[str, float]:
    """lm-eval's hook, against the first of the document's answers as in the stock task."""
    reference = doc["answers"]["text"][0]
    return {"exact_match": float(words(reference) == words(results[0])), "f1": f1(reference, results[0])}


def mass(log_likelihoods: Sequence[float], labels: Sequence[int]) -> float:
    """Σ exp(log P) over the true answers, divided by Σ over all.

    Args:
        log_likelihoods: of the answers, in nats.
        labels: 1 for each true answer.

    Returns:
        In [0, 1]; 0 where no log-likelihood is a finite number.
    """
    known = [value if math.isfinite(value) else -math.inf for value in log_likelihoods]
    highest = max(known)
    if highest == -math.inf:
        return 0.0
    shares = [math.exp(value - highest) for value in known]
    return math.fsum(share for share, label in zip(shares, labels, strict=True) if label == 1) / math.fsum(shares)


def mc2(doc: dict[str, Any], results: Sequence[tuple[float, bool]]) -> dict[str, float]:
    """lm-eval's hook."""
    return {"acc": mass([value for value, _ in results], doc["mc2_targets"]["labels"])}
