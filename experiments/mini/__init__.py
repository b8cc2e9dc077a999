"""The embedded family: a small Llama, its instruction model, experts and forgetting targets, trained on first use.

Everything is generated: the text (`corpora`), the weights (`family`), the evaluation data (`data`). No download.
"""
