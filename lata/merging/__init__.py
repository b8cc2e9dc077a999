"""Merges of checkpoints on disk: the request, its job, recipes, and numbers about checkpoints without a merge."""
