"""The way back from a tensor that was made of others: a put through its regions gives what the steps give."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from lata.checkpoints.recorded import Recorded, followed
from lata.numerics.tensors import TensorInfo

Step = Callable[..., torch.Tensor]


def interleaved(x: torch.Tensor) -> torch.Tensor:
    return x.reshape(4, 3, 2, 5).transpose(1, 2).reshape(4, 6, 5).contiguous()


#: How something is made → shapes of what it is made of, and the steps.
MADE: dict[str, tuple[list[tuple[int, ...]], Step]] = {
    "as it is": ([(4, 6)], lambda a: a[...].detach().clone().to(torch.float64)),
    "scalar": ([()], lambda a: a.clone()),
    "stacked": ([(2, 3)] * 4, lambda *a: torch.stack(a)),
    "stacked inside": ([(2, 3)] * 4, lambda *a: torch.stack(a, dim=-1)),
    "experts": ([(2, 3)] * 4, lambda *a: torch.cat([torch.stack(a[:2]), torch.stack(a[2:])], dim=1)),
    "turned": ([(4, 6)], lambda a: a.transpose(0, 1).contiguous()),
    "turned inside": ([(4, 6, 5)], lambda a: a.transpose(1, 2).contiguous()),
    "permuted": ([(4, 6, 5)], lambda a: a.permute(2, 0, 1).contiguous()),
    "first of three": ([(6, 4)], lambda a: a.chunk(3)[0]),
    "last of three inside": ([(4, 6)], lambda a: a.chunk(3, dim=1)[2].contiguous()),
    "uneven": ([(7, 4)], lambda a: a.split([2, 4, 1])[1]),
    "sliced": ([(7, 4)], lambda a: a[2:5, 1:]),
    "selected": ([(7, 4)], lambda a: a[3].unsqueeze(0)),
    "unbound": ([(7, 4)], lambda a: a.unbind(1)[2]),
    "rotary halves": ([(8, 5)], lambda a: a.view(2, 2, 2, 5).transpose(1, 2).reshape(8, 5)),
    "rotary halves of some": ([(16, 5)], lambda a: a.chunk(2)[1].view(2, 2, 2, 5).transpose(1, 2).reshape(8, 5)),
    "a column": ([(4, 3, 5)], lambda a: torch.cat([a.reshape(12, 5)]).reshape(4, 3, 5)[1:3, 1]),
    "interleaved": ([(4, 6, 5)], interleaved),
    "interleaved and split": ([(4, 6, 5)], lambda a: interleaved(a).chunk(2, dim=1)[1].contiguous()),
    "flattened": ([(4, 3, 2, 2)], lambda a: a.reshape(4, -1).contiguous()),
    "flattened back": ([(4, 12)], lambda a: torch.stack([a.reshape(4, 3, 2, 2)] * 1).squeeze(0)),
}


@pytest.mark.parametrize("kind", MADE)
@pytest.mark.parametrize("piece", [1, 3, 1000])
def test_puts_in_pieces_give_what_the_steps_give(kind: str, piece: int) -> None:
    shapes, steps = MADE[kind]
    sources = [torch.randn(shape) for shape in shapes]
    expected = steps(*sources)
    recorded = steps(*(Recorded.stored(str(i), TensorInfo("F32", shape)) for i, shape in enumerate(shapes)))
    assert isinstance(recorded, Recorded)
    assert recorded.shape == expected.shape
    live = torch.full(expected.shape, torch.nan, dtype=expected.dtype)
    for source, region in followed(recorded, (0,) * live.ndim, live):
        values = sources[int(source)].flatten()
        for start in range(0, len(values), piece):
            region.put(start, values[start : start + piece])
    assert torch.equal(live, expected)


def test_a_name_is_known_of_what_is_loaded_as_it_is() -> None:
    a = Recorded.stored("a", TensorInfo("F32", (2, 2)))
    assert a[...].to(torch.bfloat16).unchanged == "a"
    assert a.transpose(0, 1).unchanged is None


def test_steps_that_change_elements_are_refused() -> None:
    a = Recorded.stored("a", TensorInfo("F32", (2, 2)))
    with pytest.raises(ValueError, match="a step that is not known here"):
        list(followed(a + 1, (0, 0), torch.zeros(2, 2)))  # type: ignore[arg-type]
