"""HumanEval with its programs in our sandbox, all of a model's in one batch.

``metadata`` with ``samples`` over 1 asks for that many sampled programs a problem instead of one greedy program, at
``temperature``, and for ``pass@k`` of every ``k``. Nucleus sampling with p = 0.95 as in Chen et al., arXiv
2107.03374, and no cut at the most likely tokens (transformers would keep 50 by default).
"""

from __future__ import annotations

from typing import Any

from eval.documents.stock import StockTask
from eval.sandbox import Outcome, Program, run_once

TEMPERATURE = 0.8
TOP_P = 0.95


class Checked(str):
    """A program text that has been run against its tests; ``outcome`` says how that ended."""

    outcome: Outcome

    def __new__(cls, text: str, outcome: Outcome) -> Checked:
        checked = super().__new__(cls, text)
        checked.outcome = outcome
        return checked


def build_predictions(resps: list[list[str]], docs: list[dict[str, Any]]) -> list[list[str]]:
    """The filter ``create_test``: prompt and answer put together, as in the stock task."""
    return [[doc["prompt"] + answer for answer in answers] for answers, doc in zip(resps, docs, strict=True)]


def pass_at_k(references: list[str], predictions: list[list[Checked]], k: list[int]) -> dict[str, float]:
    """The unbiased estimate of pass@k, 1 − C(n−c, k) / C(n, k), for n programs of which c pass.

    Chen et al., "Evaluating Large Language Models Trained on Code", arXiv 2107.03374, equation 1. As in the
    stock metric, a k larger than n is left out.
    """
    scores: dict[str, float] = {}
    for size in k:
        estimates = []
        for programs in predictions:
            n, passed = len(programs), sum(program.outcome.passed for program in programs)
            if n < size:
                break
            failing = 1.0
            for i in range(n - passed + 1, n + 1):
                failing *= max(0.0, 1.0 - size / i)
            estimates.append(1.0 - failing)
        else:
            scores[f"pass@{size}"] = sum(estimates) / len(estimates)
    return scores


class HumanEval(StockTask):
    """The stock task, except that the programs run in the sandbox once, after the filter."""

    def adjusted(self, config: dict[str, Any], metadata: dict[str, Any]) -> dict[str, Any]:
        """Sampling, if the metadata ask for it."""
        config = super().adjusted(config, metadata)
        samples = int(metadata.get("samples", 1))
        if samples == 1:
            return config
        sampling = {
            "do_sample": True,
            "temperature": float(metadata.get("temperature", TEMPERATURE)),
            "top_p": TOP_P,
            "top_k": 0,
        }
        return {
            **config,
            "repeats": samples,
            "generation_kwargs": {**config["generation_kwargs"], **sampling},
            "metric_list": [{**metric, "k": list(metadata.get("k", [1]))} for metric in config["metric_list"]],
        }

    def apply_filters(self) -> Any:
        """Filter the answers, run every program with its tests, and keep the outcome with the program."""
        instances = super().apply_filters() or self.instances
        metadata = self.config.metadata or {}
        for name in instances[0].filtered_resps:
            programs = [
                Program(code, doc["prompt"], self.doc_to_target(doc), doc["entry_point"])
                for doc, codes in ((instance.doc, instance.filtered_resps[name]) for instance in instances)
                for code in codes
            ]
            outcomes = iter(run_once(programs, allow_weaker=bool(metadata.get("allow_weaker_sandbox", False))))
            for instance in instances:
                instance.filtered_resps[name] = [
                    Checked(program, next(outcomes)) for program in instance.filtered_resps[name]
                ]
        return instances
