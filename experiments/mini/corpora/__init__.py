"""Generators of the family's text: arithmetic, code, an encyclopedia of towns, and requests.

Every generator takes a `random.Random` and returns text, so that a corpus is a function of its seed alone. What the
evaluation asks is held out by construction; `heldout` says how.
"""
