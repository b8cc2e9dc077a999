"""What runs in the sandbox's two processes for each program: the program in one, its test in the other.

The test's process alone says whether a program passed. All that it takes from the program's process are values
(``calls.py``), so nothing that a program does to its own interpreter changes the verdict. Standard library only.
"""

from __future__ import annotations

import contextlib
import json
import os
from types import CodeType
from typing import Any

from calls import Broken, Connection, raised


def serve(refusal: str, text: dict[str, str], calls: int, answer: int) -> None:
    """The program's process: run ``text["code"]``, then answer calls of its function ``text["entry_point"]``.

    The first message says whether this process could be confined. It is written before the program runs.
    """
    connection = Connection(calls, answer)
    connection.send("refused" if refusal else "confined", refusal)
    if refusal:
        return
    namespace: dict[str, Any] = {}
    connection.functions.append(lambda *arguments, **named: namespace[text["entry_point"]](*arguments, **named))
    try:
        exec(compile(text["code"], "<program>", "exec"), namespace)
        connection.send("value", None, None)
    except BaseException as error:  # the program may raise anything, SystemExit included
        connection.send(*raised(error))
    connection.serve()


def check(refusal: str, text: dict[str, str], answers: int, call: int, verdict: int) -> None:
    """The test's process: wait for the program, run ``text["test"]`` on its function, and write the verdict.

    As in HumanEval's reference, an exception fails the program. The prompt, which is the data set's, is run here as
    well, for tests use what it imports and defines; the entry point alone is the program's.
    """
    connection = Connection(answers, call)
    try:
        first, why = connection.receive()
        if refusal or first == "refused":
            status, reason = "refused", refusal or str(why)
        else:
            status, reason = _tested(connection, text)
    except Broken:
        status, reason = "failed", ""
    if connection.broken:
        status, reason = ("gone", "") if connection.broken == "gone" else ("failed", "an answer that is no value")
    os.write(verdict, json.dumps([status, reason]).encode())


def _tested(connection: Connection, text: dict[str, str]) -> tuple[str, str]:
    try:
        connection.result()  # it has been run
        namespace: dict[str, Any] = {}
        exec(_alone(text["prompt"]), namespace)
        namespace[text["entry_point"]] = connection.function(0)
        exec(compile(text["test"], "<test>", "exec"), namespace)
    except BaseException as error:
        return "failed", f"{type(error).__name__}: {error}"[:200]
    return "passed", ""


def _alone(prompt: str) -> CodeType:
    """A prompt as a program of its own. It ends where the body goes on, or begins if there is no docstring."""
    for whole in (prompt, f"{prompt}\n    pass\n"):
        with contextlib.suppress(SyntaxError):
            return compile(whole, "<prompt>", "exec")
    return compile("", "<prompt>", "exec")
