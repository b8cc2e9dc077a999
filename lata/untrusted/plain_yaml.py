"""Reading a stranger's YAML as data: mappings, lists and scalars, and none of what YAML can do beyond them.

Tags (which name types, or Python code), anchors with their aliases (which multiply), keys that stand twice and merge
keys are refused, and size, depth and length of a scalar are bounded. Nothing in the text is replaced by anything.
"""

from __future__ import annotations

import os
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from lata.untrusted.json_files import open_regular

#: Most bytes of a file, values in it, characters of one, and mappings and lists inside one another.
LARGEST, MOST, LONGEST, DEEPEST = 2**18, 10_000, 2**13, 8


def read_yaml(file: Path) -> dict[str, Any]:
    """The mapping in `file`, its values of the types of JSON (and dates, which no caller takes).

    Raises:
        ValueError: it is no regular file in UTF-8, is too large, or holds more than plain data.
    """
    text = _text(file)
    try:
        content = _Plain(text).get_single_data()
    except yaml.MarkedYAMLError as error:
        where = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise ValueError(f"{file} is not plain YAML: {where}{error.problem or error.context}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(f"{file} is not plain YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{file} holds no keys with values")
    return content


class _Plain(yaml.SafeLoader):
    """YAML's safe loader without what a plain file needs not."""

    depth = count = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        self.depth += 1
        self.count += 1
        refused = {
            "anchors and aliases are not read": isinstance(event, yaml.AliasEvent) or event.anchor is not None,
            "tags are not read": getattr(event, "tag", None) is not None,
            "a value is too long": len(getattr(event, "value", "")) > LONGEST,
            "too many levels": self.depth > DEEPEST,
            "too many values": self.count > MOST,
        }
        for problem, found in refused.items():
            if found:
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: yaml.Node, deep: bool = False) -> dict[Hashable, Any]:
        assert isinstance(node, yaml.MappingNode)
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag != "tag:yaml.org,2002:str":
                raise yaml.MarkedYAMLError(problem="a key is not a text", problem_mark=key.start_mark)
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"{key.value!r} stands twice", problem_mark=key.start_mark)
            seen.add(key.value)
        return yaml.constructor.BaseConstructor.construct_mapping(self, node, deep)


def _text(file: Path) -> str:
    try:
        with os.fdopen(open_regular(file), "rb") as stream:
            data = stream.read(LARGEST + 1)
    except OSError as error:
        raise ValueError(f"cannot read {file}: {error.strerror}") from None
    if len(data) > LARGEST:
        raise ValueError(f"{file} has more than {LARGEST:,} bytes, too many for such a file")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is no text in UTF-8 (byte {error.start})") from None
