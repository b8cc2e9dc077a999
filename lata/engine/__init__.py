"""Passes over checkpoints in blocks: task vectors, layers, similarities, layer weights, and the merge of a block."""
