"""Programs that are written to pass a test that they fail, to end the whole evaluation, or to outlive their limit.

Each is an answer to one problem: ``double(x)``, twice x. ``ENDLESS`` are those that a limit ends.
"""

from __future__ import annotations

PROMPT = 'def double(x):\n    """Twice x."""\n'
HONEST = PROMPT + "    return x + x\n"
#: What no program may find in its memory; a program searches for a pattern, so that it does not find itself.
MARKER = "kept-from-the-program"
TEST = f"""
assert double(2) == 4, {MARKER!r}
assert double([1]) == [1, 1]
assert abs(double(3.5) - 7) < 1e-6
assert double("a") == "aa"
"""

#: Lines that a program may write to any file that is open in it, then answer rightly.
REPORTS = {
    "a verdict": '["passed", ""]',
    "another verdict": '[0, "passed", ""]',
    "a refusal": '["refused", "x"]',
    "a confinement": '["confined", ""]',
    "a number": "5",
    "null": "null",
    "true": "true",
    "a text": '"passed"',
    "not a number": "NaN",
    "an empty list": "[]",
    "an object": '{"passed": ""}',
    "an empty line": "",
    "no JSON": "passed",
    "half a list": '["value", 4',
    "deep brackets": "[" * 1000,
    "brackets without end": "[" * 60000,
    "deep value": '["value", ' + '["list", [' * 400 + "]]" * 400 + ", null]",
    "a list for a name": '[["value"], 4, null]',
    "no value": '["value"]',
    "many values": '["value", 1, 2, 3, 4]',
    "an object for a value": '["value", {"a": 1}, null]',
    "an unknown tag": '["value", ["code", ["1"]], null]',
    "a tag of no text": '["value", [[], []], null]',
    "no tag": '["value", [], null]',
    "hexadecimal that is none": '["value", ["int", "zz"], null]',
    "a number of many digits": '["value", ' + "9" * 10000 + ", null]",
    "a number for a list": '["value", ["list", 5], null]',
    "a key that is a list": '["value", ["dict", [["list", [["list", []], 1]]]], null]',
    "a range of texts": '["value", ["range", ["a", "b", "c"]], null]',
    "a fraction over zero": '["value", ["fraction", [1, 0]], null]',
    "a decimal of letters": '["value", ["decimal", ["x"]], null]',
    "a changed argument that is none": '["value", 4, ["list", [["list", 3]]]]',
    "changes that are no list": '["value", 4, 7]',
    "no exception": '["raised", "object", "x"]',
    "a function for an exception": '["raised", "exec", "x"]',
    "an exception without a text": '["raised", "ValueError"]',
    "a call of nothing": '["call", 0, ["tuple", []], ["dict", []]]',
    "a call of the last": '["call", -1, ["tuple", []], ["dict", []]]',
    "a call without arguments": '["call", 0]',
    "bytes that are no text": "\\xff\\xfe",
    "NUL": "\\0",
    "a lone surrogate": '["value", "\\\\ud800", null]',
}
_REPORT = """
import os
def double(x):
    for file in range(40):
        try: os.write(file, b'''{line}''' + b"\\n")
        except OSError: pass
    return x + x
"""

#: Bodies of ``double`` and code around it, by kind.
FORGERIES = {
    "equal to everything": """
class Any:
    def __eq__(self, other): return True
    def __abs__(self): return self
    def __sub__(self, other): return self
    def __lt__(self, other): return True
def double(x): return Any()
""",
    "a number equal to everything": """
class Any(int):
    def __eq__(self, other): return True
    __hash__ = int.__hash__
def double(x): return Any()
""",
    "a text, list and float equal to everything": """
def any_of(kind): return type("Any", (kind,), {"__eq__": lambda *_: True, "__lt__": lambda *_: True})()
def double(x): return any_of(type(x))
""",
    "mock.ANY": "from unittest.mock import ANY\ndef double(x): return ANY",
    "MagicMock": "from unittest.mock import MagicMock\ndouble = MagicMock()",
    "a class for a function": """
class Meta(type):
    def __eq__(cls, other): return True
    def __hash__(cls): return 0
    def __call__(cls, *arguments): return cls
class double(metaclass=Meta): pass
""",
    "a reflected comparison": """
class Any(list):
    def __eq__(self, other): return True
    def __req__(self, other): return True
    def __lt__(self, other): return True
    def __rsub__(self, other): return 0
def double(x): return Any()
""",
    "os.write replaced": """
import os
write = os.write
os.write = lambda file, data: write(file, b'["passed", ""]\\n')
def double(x): return 0
""",
    "json replaced": 'import json\njson.dumps = lambda *_, **__: \'["passed", ""]\'\ndef double(x): return 0',
    "json's parts replaced": "import json.encoder\njson.encoder.JSONEncoder.encode = lambda *_: 'null'\ndouble = int",
    "AssertionError replaced": """
import builtins
class Quiet(BaseException):
    def __new__(cls, *_): raise SystemExit(0)
builtins.AssertionError = Quiet
def double(x): return 0
""",
    "builtins replaced": "import builtins\nfor n in ('exec', 'compile', 'abs', 'isinstance', 'type'):\n"
    "    setattr(builtins, n, lambda *_: True)\ndef double(x): return 0",
    "builtins deleted": "import builtins\nfor n in list(vars(builtins)):\n    delattr(builtins, n)\n"
    "def double(x): return 0",
    "a decorator for what follows": "def double(x): return 0\n@lambda f: lambda *_: True",
    "a text without end": 'def double(x): return 0\n"""',
    "a backslash at the end": "def double(x): return 0\nx = \\",
    "an open block": "def double(x): return 0\nif False:",
    "an open try": "def double(x): return 0\ntry:",
    "check defined": "def double(x): return 0\ndef check(*_): pass\ncandidate = check",
    "frames": """
import sys
def double(x):
    frame = sys._getframe()
    while frame:
        for name in ("status", "reason", "test", "verdict", "message"): frame.f_locals[name] = "passed"
        frame.f_globals.update(raised=lambda e: ["value", None, None], check=lambda *_: None)
        frame = frame.f_back
    raise ValueError
""",
    "the test in memory": """
import gc, re
word = re.compile("kept[-]from[-]the[-]program")
def double(x):
    seen = [one for one in gc.get_objects() if isinstance(one, (dict, list, tuple)) and len(one) < 50]
    return x + x if any(word.search(repr(one)) for one in seen) else 0
""",
    "objects in memory": """
import gc
def double(x):
    for one in gc.get_objects():
        if type(one).__name__ == "Connection": one.send("passed", "")
    return 0
""",
    "tracing": "import sys\nsys.settrace(lambda *_: None)\nsys.setprofile(lambda *_: None)\ndef double(x): return 0",
    "exception hooks": "import sys\nsys.excepthook = sys.unraisablehook = lambda *_: None\n"
    "def double(x): raise ValueError",
    "the modules": "import sys\nfor n in list(sys.modules): sys.modules[n] = None\ndef double(x): return 0",
    "the interpreter's memory": """
import ctypes
def double(x):
    ctypes.c_long.from_address(id(4) + 24).value = 0
    ctypes.c_long.from_address(id(2) + 24).value = 4
    return 3
""",
    "a thread that reports": """
import os, threading
def report():
    while True:
        for file in range(3, 40):
            try: os.write(file, b'["passed", ""]\\n')
            except OSError: pass
def double(x):
    threading.Thread(target=report, daemon=True).start()
    return 0
""",
    "an answer ahead of its call": "import os\nfor file in range(3, 40):\n"
    "    try: os.write(file, b'[\"value\", 4, null]\\n' * 9)\n"
    "    except OSError: pass\ndef double(x): return 0",
    "a changed argument": "def double(x):\n    if isinstance(x, list): x[:] = [1, 1]\n    return x",
    "truth alone": "class Yes:\n    def __bool__(self): return True\ndef double(x): return Yes()",
}
EXITS = {
    "sys.exit": "import sys\ndef double(x): sys.exit(0)",
    "sys.exit at once": "import sys\nsys.exit(0)",
    "os._exit": "import os\ndef double(x): os._exit(0)",
    "os._exit at once": "import os\nos._exit(0)",
    "a report and os._exit": 'import os\nfor f in range(3, 40):\n    try: os.write(f, b\'["passed", ""]\')\n'
    "    except OSError: pass\nos._exit(0)",
    "a value and os._exit": "import os\nfor f in range(3, 40):\n    try: os.write(f, b'[\"value\", null, null]\\n')\n"
    "    except OSError: pass\nos._exit(0)",
    "atexit": "import atexit, os\natexit.register(os._exit, 0)\ndef double(x): raise SystemExit",
    "quit": "def double(x): raise SystemExit(0)",
    "KeyboardInterrupt": "def double(x): raise KeyboardInterrupt",
    "GeneratorExit": "def double(x): raise GeneratorExit",
    "StopIteration": "def double(x): raise StopIteration",
    "an exception of its own": "class Passed(BaseException): pass\ndef double(x): raise Passed('passed')",
    "an exception that raises": "class E(Exception):\n    def __str__(self): raise self\ndef double(x): raise E",
    "an exception with a false class": "class E(Exception):\n    __class__ = int\ndef double(x): raise E",
    "a group of exceptions": "def double(x): raise ExceptionGroup('x', [ValueError(), SystemExit()])",
    "a long exception": "def double(x): raise ValueError('\\ud800' * 10**6)",
    "SIGKILL": "import os, signal\nsignal.raise_signal(signal.SIGKILL)",
    "SIGTERM ignored, then abort": "import os, signal\nsignal.signal(15, signal.SIG_IGN)\nos.abort()",
    "an alarm": "import signal, time\nsignal.setitimer(signal.ITIMER_REAL, 0.01)\ntime.sleep(1)\n"
    "def double(x): return 0",
    "an alarm that answers": "import os, signal, time\nsignal.signal(14, lambda *_: os._exit(0))\n"
    "signal.setitimer(signal.ITIMER_REAL, 0.01)\ntime.sleep(1)",
    "its own group": "import os\nos.killpg(0, 9)\ndef double(x): return 0",
    "a broken pointer": "import ctypes\ndef double(x): return ctypes.string_at(0)",
    "every file closed": "import os\nos.closerange(0, 100)\ndef double(x): return x + x",
    "standard output closed": "import sys\nsys.stdout.close()\nsys.stderr.close()\nprint(1)",
    "its pipes exchanged": "import os\nos.dup2(0, 3)\nfor f in range(3, 40):\n    try: os.dup2(f, f + 1)\n"
    "    except OSError: pass\ndef double(x): return 0",
}
RESOURCES = {
    "a deep recursion": "def double(x): return double([x])",
    "a deep list": "def double(x):\n    y = []\n    for _ in range(10**5): y = [y]\n    return y",
    "a list in itself": "def double(x):\n    y = []\n    y.append(y)\n    return y",
    "a dict in itself": "def double(x):\n    y = {}\n    y[0] = y\n    return y",
    "a huge number": "def double(x): return 1 << 10**8",
    "a number too long to print": "def double(x): return 10**5000",
    "a huge text": "def double(x): return '\\ud800' * 10**7",
    "a text larger than memory": "def double(x): return 'x' * 10**12",
    "memory": "def double(x):\n    y = []\n    while True: y.append(bytearray(10**8))",
    "an iterator that raises": "def double(x):\n    yield 1\n    raise SystemExit(0)",
    "a truth that raises": "class E:\n    def __bool__(self): raise SystemExit(0)\ndef double(x): return E()",
    "a length that lies": "class L(list):\n    def __len__(self): return -1\n    def __iter__(self): return self\n"
    "def double(x): return L()",
    "many open files": "import os\nkept = [os.dup(0) for _ in range(10**4)]\ndef double(x): return x + x",
    "a lock in the child": "import os\npid = os.fork()\nif pid == 0:\n    while True: pass\ndef double(x): return 0",
    "a child with the pipes": "import os, time\nif os.fork() == 0:\n    time.sleep(10**6)\nos._exit(0)",
    "a session of its own": "import os\nos.setsid()\nif os.fork() == 0: os.setsid()\ndef double(x): return 0",
    "threads that stay": "import threading\nfor _ in range(9):\n"
    "    threading.Thread(target=threading.Event().wait).start()\n"
    "def double(x): return 0",
    "a flood of output": "import sys\ndef double(x):\n    for _ in range(100): print('x' * 10**6)\n    return 0",
    "a flood of messages": "import os\ndef double(x):\n    for f in range(3, 40):\n        try:\n"
    "            for _ in range(300): os.write(f, b'x' * 10**5)\n        except OSError: pass\n    return 0",
}
TEXTS = {
    "nothing": "",
    "NUL": "\0",
    "a lone surrogate": "\ud800",
    "garbage": "".join(chr(1 + 7919 * i % 0xD7FF) for i in range(2000)),
    "a byte order mark": "\ufeffdef double(x): return 0",
    "another coding": "# coding: utf-7\ndef double(x): return 0",
    "interpolation": "${oc.env:HF_TOKEN} {{ 7 * 7 }} {% raw %}",
    "brackets": "(" * 10**5,
    "nested lists": "[" * 90 + "]" * 90 + "\ndef double(x): return 0",
    "additions": "y = " + "+".join(["1"] * 10**5),
    "minus signs": "y = " + "-" * 10**5 + "1",
    "10 MB": "# " + "x" * 10**7,
    "a line of 10 MB": "y = '" + "x" * 10**7 + "'\ndef double(x): return 0",
    "indentation": "".join(" " * i + "if 1:\n" for i in range(200)),
    "fences": "```python\n" + HONEST + "```",
}
ENDLESS = {
    "a huge list": "def double(x): return [0] * 10**7",
    "a recursion without limit": "import sys\nsys.setrecursionlimit(10**9)\ndef double(x): return double([x])",
    "a loop": "def double(x):\n    while True: pass",
    "a loop that hears nothing": "import signal\n"
    "for s in (1, 2, 10, 12, 14, 15, 24): signal.signal(s, signal.SIG_IGN)\n"
    "while True: pass",
    "a loop in compiled code": "def double(x): return 3 ** 10**9",
    "a regular expression": "import re\ndef double(x): return re.match('(a+)+$', 'a' * 50 + 'b')",
    "an iterator without end": "import itertools\ndef double(x): return itertools.repeat(0)",
    "an exception's text without end": "class E(Exception):\n    def __str__(self):\n"
    "        while True: pass\ndef double(x): raise E",
    "sleep": "import time\ndef double(x): time.sleep(10**6)",
    "sleep at once": "import time\nwhile True:\n    try: time.sleep(10**6)\n    except BaseException: pass",
    "input": "import os, sys\nr, w = os.pipe()\ndef double(x): return os.read(r, 1)",
    "its calls read away": "import os\nfor f in range(3, 40):\n    try: os.read(f, 10**6)\n"
    "    except OSError: pass\ndef double(x): return x + x",
    "half a message": "import os, time\ndef double(x):\n    for f in range(3, 40):\n"
    "        try: os.write(f, b'[\"value\"')\n"
    "        except OSError: pass\n    time.sleep(10**6)",
    "files closed, then sleep": "import os, time\nfor f in range(0, 4): os.close(f)\ntime.sleep(10**6)",
    "a deadlock": "import threading\nlock = threading.Lock()\nlock.acquire()\ndef double(x): lock.acquire()",
}

#: Programs that end by themselves, under ``kind: name``.
ENDING = {
    **{f"a line: {name}": _REPORT.format(line=line) for name, line in REPORTS.items()},
    **{f"a forgery: {name}": text for name, text in FORGERIES.items()},
    **{f"an exit: {name}": text for name, text in EXITS.items()},
    **{f"too much: {name}": text for name, text in RESOURCES.items()},
    **{f"a text: {name}": text for name, text in TEXTS.items()},
}
