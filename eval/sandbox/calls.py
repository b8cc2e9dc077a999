"""Calls between two interpreters over a pair of pipes: one JSON line a message, plain values only (``values.py``).

Each side may call the functions that the other handed to it, so a test can pass a callback and a program can return
a function.
Standard library only, for it is imported inside the sandbox's own processes.
"""

from __future__ import annotations

import builtins
import contextlib
import json
import os
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from values import decode, encode

#: The longest message that is read.
LINE_BYTES = 16 * 2**20
_MUTABLE = (list, dict, set, bytearray)


class Broken(BaseException):
    """The other side is gone, or does not keep to the rules; no answer of it counts from here on."""


class Connection:
    """One end of a pair of pipes. ``broken`` says how it ended: empty, ``gone`` or ``malformed``."""

    def __init__(self, incoming: int, outgoing: int) -> None:
        self._incoming = os.fdopen(incoming, "rb")
        self._outgoing = outgoing
        self.functions: list[Callable[..., Any]] = []
        self.broken = ""

    def send(self, *message: Any) -> None:
        rest = memoryview(json.dumps(message).encode() + b"\n")
        try:
            while rest:
                rest = rest[os.write(self._outgoing, rest) :]
        except BrokenPipeError:
            self._break("gone")

    def receive(self) -> list[Any]:
        """The next message, a list that begins with a text.

        Raises:
            Broken: there is none, or it is something else.
        """
        line = self._incoming.readline(LINE_BYTES)
        if not line:
            self._break("gone")
        with self._rules():
            message = json.loads(line)
            if not (line.endswith(b"\n") and isinstance(message, list) and isinstance(message[0], str)):
                raise ValueError
        return message

    def serve(self) -> list[Any]:
        """Answer the other side's calls until it sends something else, and return that."""
        while (message := self.receive())[0] == "call":
            with self._rules():
                _, number, *data = message
                function = self.functions[number]
                arguments, named = (decode(part, self.function) for part in data)
            try:
                before = self._changeable(arguments)
                reply = ["value", encode(function(*arguments, **named), self._number), None]
                if (after := self._changeable(arguments)) != before:
                    reply[2] = after
            except Broken:
                raise
            except BaseException as error:  # a program may raise anything
                reply = raised(error)
            self.send(*reply)
        return message

    def function(self, number: int) -> Callable[..., Any]:
        """The other side's function of that number."""

        def remote(*arguments: Any, **named: Any) -> Any:
            self.send("call", number, encode(arguments, self._number), encode(named, self._number))
            return self.result(arguments)

        return remote

    def result(self, arguments: tuple[Any, ...] = ()) -> Any:
        """What the other side answers: a value, or an exception that is raised here.

        ``arguments`` that were changed there in place are changed here.
        """
        message = self.serve()
        with self._rules():
            if message[0] == "raised":
                value: Any = _rebuilt(*message[1:])
            else:
                status, data, changed = message
                if status != "value":
                    raise ValueError
                value = decode(data, self.function)
                for argument, now in zip(arguments, decode(changed, self.function) or (), strict=False):
                    _change(argument, now)
        if message[0] == "raised":
            raise value
        return value

    def _break(self, how: str) -> NoReturn:
        self.broken = self.broken or how
        raise Broken(how)

    @contextlib.contextmanager
    def _rules(self) -> Iterator[None]:
        """Whatever goes wrong inside is the fault of the other side's message."""
        try:
            yield
        except Exception:
            self._break("malformed")

    def _number(self, function: Callable[..., Any]) -> int:
        """The number by which the other side can call ``function``."""
        for number, known in enumerate(self.functions):
            if known is function:
                return number
        self.functions.append(function)
        return len(self.functions) - 1

    def _changeable(self, arguments: tuple[Any, ...]) -> Any:
        """The arguments that a function can change in place, as data; None for the others."""
        return encode([one if isinstance(one, _MUTABLE) else None for one in arguments], self._number)


def raised(error: BaseException) -> list[str]:
    """A message that has the other side raise the nearest built-in exception."""
    kinds = (kind.__name__ for kind in type(error).__mro__ if getattr(builtins, kind.__name__, None) is kind)
    try:
        return ["raised", next(kinds), str(error)[:1000]]
    except BaseException:  # it may raise that again
        return ["raised", "Exception", "the program broke the interpreter"]


def _rebuilt(kind: str, text: str) -> BaseException:
    found = getattr(builtins, kind)
    if not issubclass(found, BaseException):
        raise ValueError
    try:
        return found(str(text))
    except TypeError:  # it wants more than a text
        return found.__new__(found)


def _change(argument: Any, now: Any) -> None:
    """Make ``argument``, if it can be changed in place, equal to ``now`` of its type."""
    if isinstance(argument, (list, bytearray)):
        argument[:] = now
    elif isinstance(argument, (dict, set)):
        argument.clear()
        argument.update(now)
