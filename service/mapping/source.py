"""Reads mapping files as located strings: no YAML type guessing, no duplicate keys, no aliases, every text with its place."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias, Union

import yaml

from service.errors import MappingInvalid
from service.issues import Issue, Origin


class Located(str):
    """A string of a mapping file that knows where it stands."""

    __slots__ = ("origin",)
    origin: Origin

    def __new__(cls, text: str, origin: Origin) -> Located:
        self = super().__new__(cls, text)
        self.origin = origin
        return self


Tree: TypeAlias = Union[Located, "list[Tree]", "dict[Located, Tree]"]


def problem(rule: str, text: str, fix: str, origin: Origin) -> Issue:
    """An error in a mapping set, at its place."""
    return Issue("error", "invalid", rule, text, fix=fix, origin=origin, source=origin)


def refuse(rule: str, text: str, fix: str, origin: Origin) -> MappingInvalid:
    return MappingInvalid([problem(rule, text, fix, origin)])


def read_yaml(path: Path, shown_as: str) -> Tree:
    """The file as strings, lists and dicts of `Located`; an empty value is the empty string.

    The C parser only scans: scalars stay the text that stands there, so `NO`, `12:30`, `0123` and `2018-08` mean nothing else.
    Raises MappingInvalid for what is not YAML, for duplicate keys, aliases, tags and keys that are not plain text.
    """
    try:
        node = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.CBaseLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        origin = Origin(shown_as, mark.line + 1, mark.column + 1) if mark else Origin(shown_as)
        raise refuse("mapping-yaml", f"not YAML: {error.problem}", "mend the syntax at this place", origin) from None
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise refuse(
            "mapping-yaml", f"cannot be read: {type(error).__name__}", "save it as UTF-8 YAML", Origin(shown_as)
        ) from None
    if node is None:
        raise refuse("mapping-yaml", "the file is empty", "see docs/mapping-language.md", Origin(shown_as, 1, 1))
    return _tree(node, shown_as, set())


def _tree(node: yaml.Node, file: str, seen: set[int]) -> Tree:
    origin = Origin(file, node.start_mark.line + 1, node.start_mark.column + 1)
    # An alias hands out the same node object a second time; refusing it also ends alias bombs.
    if id(node) in seen:
        raise refuse("mapping-yaml", "an alias (*name) is not allowed", "write the value out", origin)
    seen.add(id(node))
    if not node.tag.startswith("tag:yaml.org,2002:"):
        raise refuse("mapping-yaml", f"the tag {node.tag} is not allowed", "remove the tag", origin)
    if isinstance(node, yaml.ScalarNode):
        return Located(node.value, origin)
    if isinstance(node, yaml.SequenceNode):
        return [_tree(child, file, seen) for child in node.value]
    return _mapping(node, file, seen)


def _mapping(node: yaml.MappingNode, file: str, seen: set[int]) -> dict[Located, Tree]:
    out: dict[Located, Tree] = {}
    for key_node, value_node in node.value:
        key = _tree(key_node, file, seen)
        if not isinstance(key, Located):
            origin = Origin(file, key_node.start_mark.line + 1, key_node.start_mark.column + 1)
            raise refuse("mapping-yaml", "a key must be plain text", "write the key as text", origin)
        if key in out:
            raise refuse("mapping-duplicate-key", f"the key '{key}' stands twice", "remove or rename one", key.origin)
        out[key] = _tree(value_node, file, seen)
    return out
