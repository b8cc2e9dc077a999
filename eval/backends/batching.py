"""Which tokens are scored together: windows of a document, batches that cost alike, and batches that fit the memory.

The windows are those of lm-evaluation-harness (``lm_eval.utils.get_rolling_token_windows`` with ``context_len=1``):
disjoint, each of as many targets as the model's context holds, and predicted from what stands before them in the
same window. Both backends score these, so that a perplexity does not depend on the backend. (lm-eval's own vLLM model
takes windows that are two tokens shorter than those of its Hugging Face model.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    pass


#: Most logits that are held at a time (see `eval.backends.logits`): 262 positions of Gemma 2's vocabulary, 0.7 GB in
#: bf16 with what normalising them takes.
LOGITS = 2**26

#: Most tokens of texts that are read together, padding included: attention over whole contexts of Gemma 2 fills a GPU
#: of 24 GB with two of them, and more would not make it faster. A single text may be longer.
READ_TOKENS = 2**14

#: The tokens before a window's first target, and its targets.
Window = tuple[list[int], list[int]]


def rolling_windows(tokens: list[int], prefix: int, length: int) -> list[Window]:
    """A document in disjoint windows.

    Args:
        tokens: of the document, without special tokens.
        prefix: the token that stands before the first one (BOS, or EOS where there is none).
        length: most tokens that a window feeds to the model; the model's context.

    Returns:
        (context, targets) pairs; the targets together are `tokens`. The model is fed context and targets but for the
        last one, at most `length` tokens.
    """
    from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

    rolling = get_rolling_token_windows(token_list=tokens, prefix_token=prefix, max_seq_len=length, context_len=1)
    return [make_disjoint_window(window) for window in rolling]


def cut_window(context: list[int], target: list[int], length: int) -> Window:
    """The end of a window that is too long for a model's context of `length` tokens; the last target is not fed."""
    return context[-max(1, length + 1 - len(target)) :], target[-length:]


def scored_documents(
    documents: Iterable[list[Window]], batch_size: int, score: Callable[[list[Window]], Sequence[float]]
) -> list[float]:
    """log P of each document in nats: windows of all of them sorted by length, in batches.

    Args:
        documents: their windows.
        batch_size: most windows in a batch.
        score: log P(targets | context) for each window of one batch.
    """
    windows, owners = [], []
    count = 0
    for count, own in enumerate(documents, 1):
        windows += own
        owners += [count - 1] * len(own)
    totals = [0.0] * count
    for batch in longest_first(windows, batch_size, lambda window: len(window[0]) + len(window[1])):
        for index, value in zip(batch, score([windows[index] for index in batch]), strict=True):
            totals[owners[index]] += value
    return totals


def longest_first(items: Sequence[Any], batch_size: int, length: Callable[[Any], int]) -> Iterator[list[int]]:
    """Places of `items` in batches, the longest first: little padding, and memory runs out at once or not at all.

    A batch has at most `batch_size` items, and `READ_TOKENS` tokens if all of them were as long as its longest.
    """
    order = sorted(range(len(items)), key=lambda index: -length(items[index]))
    start = 0
    while start < len(order):
        end = start + min(batch_size, max(1, READ_TOKENS // max(1, length(items[order[start]]))))
        yield order[start:end]
        start = end
