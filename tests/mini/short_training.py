"""The digest of a short training at the family's real size: ``python -m tests.mini.short_training``.

Three stages of a few steps. The same on every x86-64 processor; CI prints it, so that machines can be compared.
"""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

from experiments.mini import folders
from experiments.mini.family import WEIGHTS, MiniFamily


def digest() -> str:
    """Of the weights of all three, in hex."""
    with tempfile.TemporaryDirectory() as cache:
        family = MiniFamily(cache=Path(cache), base_documents=200, pre_requests=60, ua_examples=60)
        sums = [folders.sums(path)[WEIGHTS] for path in family.ensure(["ua"], progress=False).values()]
    return hashlib.sha256("".join(sums).encode()).hexdigest()


if __name__ == "__main__":
    print(digest())
