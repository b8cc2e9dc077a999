"""What crosses between a program and its test: plain values of exact types, calls both ways, changes in place."""

from __future__ import annotations

import collections
import importlib
import json
import math
import os
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import eval.sandbox

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.complex_numbers(allow_nan=False)
    | st.decimals(allow_nan=False)
    | st.fractions()
)
HASHABLE = st.recursive(
    SCALARS, lambda parts: st.tuples(parts, parts) | st.frozensets(parts, max_size=3), max_leaves=5
)
VALUES = st.recursive(
    HASHABLE,
    lambda parts: st.lists(parts, max_size=3) | st.dictionaries(HASHABLE, parts, max_size=3) | st.sets(HASHABLE),
    max_leaves=10,
)


@pytest.fixture(scope="module")
def modules() -> Iterator[dict[str, ModuleType]]:
    """`values` and `calls` as the sandbox's processes import them: by themselves, without the package."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(eval.sandbox.__file__).parent))
        yield {name: importlib.import_module(name) for name in ("values", "calls")}


def unnamed(_: Any) -> Any:
    raise AssertionError("no function was expected")


@settings(max_examples=100, deadline=None)
@given(value=VALUES)
def test_a_plain_value_arrives_as_it_is(modules: dict[str, ModuleType], value: Any) -> None:
    values = modules["values"]
    arrived = values.decode(json.loads(json.dumps(values.encode(value, unnamed))), unnamed)
    assert (arrived, type(arrived)) == (value, type(value))


@pytest.mark.parametrize(
    "value",
    [range(2, 9, 3), collections.deque([1, 2]), bytearray(b"ab"), 2**4000, -(2**63), Decimal("0.10"), Fraction(1, 3)],
)
def test_kinds_that_a_test_may_compare_arrive_equal(modules: dict[str, ModuleType], value: Any) -> None:
    values = modules["values"]
    arrived = values.decode(json.loads(json.dumps(values.encode(value, unnamed))), unnamed)
    assert (arrived, type(arrived)) == (value, type(value))


def test_a_nan_stays_one_and_a_view_keeps_its_order(modules: dict[str, ModuleType]) -> None:
    values = modules["values"]

    def cross(value: Any) -> Any:
        return values.decode(json.loads(json.dumps(values.encode(value, unnamed))), unnamed)

    assert math.isnan(cross(math.nan))
    assert list(cross({"b": 1, "a": 2}.keys())) == ["b", "a"]
    assert list(cross({"b": 1, "a": 2}.values())) == [1, 2]
    assert list(cross({"b": 1}.items())) == [("b", 1)]
    assert list(cross(iter([3, 1]))) == [3, 1]


class Anything(int):
    """Says that it equals everything."""

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = int.__hash__


def test_what_claims_to_equal_everything_arrives_without_the_claim(modules: dict[str, ModuleType]) -> None:
    values = modules["values"]
    number = values.decode(json.loads(json.dumps(values.encode(Anything(3), unnamed))), unnamed)
    other = values.decode(json.loads(json.dumps(values.encode(object(), unnamed))), unnamed)
    assert type(number) is int
    assert number == 3
    assert number != 4
    assert bool(other) is True
    assert other not in (None, True, 0, "object")


@pytest.fixture
def joined(modules: dict[str, ModuleType]) -> Iterator[tuple[Any, Any]]:
    """Two ends of a connection, the test's and the program's."""
    to_program, to_test = os.pipe(), os.pipe()
    ours, theirs = (
        modules["calls"].Connection(incoming, outgoing)
        for incoming, outgoing in ((to_test[0], to_program[1]), (to_program[0], to_test[1]))
    )
    yield ours, theirs
    for descriptor in (to_program[1], to_test[1]):
        os.close(descriptor)
    for end in (ours, theirs):
        end._incoming.close()


def served(end: Any, function: Callable[..., Any]) -> threading.Thread:
    """A thread that answers the calls of `function` until it is told to stop."""
    end.functions.append(function)
    thread = threading.Thread(target=end.serve, daemon=True)
    thread.start()
    return thread


def test_a_call_returns_changes_its_argument_in_place_and_calls_back(joined: tuple[Any, Any]) -> None:
    ours, theirs = joined

    def program(items: list[int], key: Callable[[int], int], *, more: int) -> tuple[str, int]:
        items.sort(key=key)
        items.append(more)
        return "done", key(more)

    thread = served(theirs, program)
    items = [1, 3, 2]
    assert ours.function(0)(items, lambda x: -x, more=7) == ("done", -7)
    assert items == [3, 2, 1, 7]
    ours.send("stop")
    thread.join(10)
    assert not thread.is_alive()


@pytest.mark.parametrize(
    ("error", "arrives"),
    [
        (ZeroDivisionError("by nothing"), ZeroDivisionError),
        (type("Mine", (KeyError,), {})("k"), KeyError),
        (SystemExit(3), SystemExit),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), UnicodeDecodeError),
    ],
)
def test_an_error_arrives_as_the_nearest_built_in_one(
    joined: tuple[Any, Any], error: BaseException, arrives: type[BaseException]
) -> None:
    ours, theirs = joined

    def program() -> None:
        raise error

    thread = served(theirs, program)
    with pytest.raises(arrives) as caught:
        ours.function(0)()
    assert type(caught.value) is arrives
    ours.send("stop")
    thread.join(10)


@pytest.mark.parametrize(
    "line",
    [
        b"5\n",
        b"null\n",
        b"[]\n",
        b"{}\n",
        b"[3]\n",
        b'["value"]\n',
        b'["value",["eval","1"],null]\n',
        b'["value",["range",[1,"a",2]],null]\n',
        b'["raised","open","x"]\n',
        b'["raised","nothing","x"]\n',
        b"[" * 100_000 + b"\n",
        b"\xff\xfe\n",
    ],
)
def test_a_malformed_answer_ends_the_connection_and_nothing_else(
    modules: dict[str, ModuleType], joined: tuple[Any, Any], line: bytes
) -> None:
    ours, theirs = joined
    writer = threading.Thread(target=os.write, args=(theirs._outgoing, line))
    writer.start()
    with pytest.raises(modules["calls"].Broken):
        ours.result()
    assert ours.broken == "malformed"
    writer.join(10)
