"""No loader may run a checkpoint's code, or ask at a prompt whether it may: each says ``trust_remote_code=False``."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
#: Calls that load a class which a checkpoint's files choose.
CHOOSERS = {"AutoConfig", "AutoTokenizer", "AutoModelForCausalLM", "AutoModel", "AutoProcessor", "kind"}
#: Names of what opens a model in other libraries.
OPENERS = {"LLM", "HFLM"}


def loaders() -> Iterator[tuple[str, ast.Call]]:
    for package in ("lata", "eval", "experiments", "results"):
        for file in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and is_loader(node):
                    yield f"{file.relative_to(ROOT)}:{node.lineno}", node


def is_loader(call: ast.Call) -> bool:
    match call.func:
        case ast.Attribute(value=ast.Name(id=name), attr="from_pretrained" | "from_config"):
            return name in CHOOSERS
        case ast.Name(id=name):
            return name in OPENERS
        case ast.Attribute(attr="__init__"):
            return any(keyword.arg == "pretrained" for keyword in call.keywords)
    return False


def test_every_loader_refuses_code() -> None:
    found = dict(loaders())
    assert len(found) >= 7
    for place, call in found.items():
        said = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        assert said.get("trust_remote_code") == "False", place


def test_nothing_is_loaded_from_pickles() -> None:
    for package in ("lata", "eval", "experiments", "results"):
        for file in sorted((ROOT / package).rglob("*.py")):
            text = file.read_text(encoding="utf-8")
            assert "trust_remote_code=True" not in text, file
            assert "torch.load(" not in text, file
