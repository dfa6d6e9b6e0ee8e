"""Reads mapping files as located strings: no type guessing, no duplicate keys, aliases or tags, every text with its place."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeAlias, Union

import yaml

from service.errors import MappingInvalid
from service.issues import Issue, Origin

# How deep the language itself goes (rows in a file: 2; lists in `requires`: 3), with room for nothing else.
_DEEPEST = 5


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
    Raises MappingInvalid for what is not YAML, for duplicate keys, anchors, aliases, tags and keys that are not plain text.
    """
    text = _text(path, shown_as)
    # Events and not nodes: the C composer recurses without a limit, and ends the process where brackets stand deep enough.
    events = yaml.parse(text, Loader=yaml.CBaseLoader)
    try:
        return _document(events, shown_as)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        origin = Origin(shown_as, mark.line + 1, mark.column + 1) if mark else Origin(shown_as, 1, 1)
        raise refuse("mapping-yaml", f"not YAML: {error.problem}", "mend the syntax at this place", origin) from None
    except yaml.reader.ReaderError as error:
        origin = _place(shown_as, text.encode()[: error.position])
        raise refuse("mapping-yaml", f"not YAML: {error.reason}", "remove the character at this place", origin) from None


def _text(path: Path, shown_as: str) -> str:
    try:
        held = path.read_bytes()
    except OSError as error:
        what = f"cannot be read: {error.strerror or type(error).__name__}"
        raise refuse("mapping-file", what, "see docs/mapping-language.md for the files of a set", Origin(shown_as)) from None
    try:
        return held.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        origin = _place(shown_as, held[: error.start])
        raise refuse("mapping-yaml", "not UTF-8 from this place on", "save the file as UTF-8", origin) from None


def _place(file: str, before: bytes) -> Origin:
    """The place that follows these bytes."""
    lines = before.decode("utf-8", "replace").split("\n")
    return Origin(file, len(lines), len(lines[-1]) + 1)


def _origin(event: yaml.Event, file: str) -> Origin:
    mark = event.start_mark
    return Origin(file, mark.line + 1, mark.column + 1) if mark else Origin(file)


def _document(events: Iterator[yaml.Event], file: str) -> Tree:
    """The tree of the only document. All events are taken, so that a second document is an error of the parser."""
    tree: Tree | None = None
    for event in events:
        if isinstance(event, yaml.DocumentStartEvent) and tree is not None:
            origin = _origin(event, file)
            raise refuse("mapping-yaml", "a second document starts here", "remove the line '---'", origin)
        if isinstance(event, yaml.NodeEvent):
            tree = _tree(event, events, file, 1)
    if tree is None:
        raise refuse("mapping-yaml", "the file is empty", "see docs/mapping-language.md", Origin(file, 1, 1))
    return tree


def _tree(event: yaml.Event, events: Iterator[yaml.Event], file: str, depth: int) -> Tree:
    origin = _origin(event, file)
    # Without anchors there are no aliases, and without aliases no bomb of them.
    if isinstance(event, yaml.NodeEvent) and event.anchor is not None:
        raise refuse("mapping-yaml", "anchors (&name) and aliases (*name) are not allowed", "write the value out", origin)
    if isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent) and event.tag is not None:
        raise refuse("mapping-yaml", f"the tag {event.tag} is not allowed", "remove the tag: every value is text", origin)
    if isinstance(event, yaml.ScalarEvent):
        return Located(event.value, origin)
    if depth > _DEEPEST:
        raise refuse("mapping-yaml", f"nested deeper than {_DEEPEST} levels", "see docs/mapping-language.md", origin)
    if isinstance(event, yaml.SequenceStartEvent):
        return [_tree(child, events, file, depth + 1) for child in _until(events, yaml.SequenceEndEvent)]
    return _mapping(events, file, depth)


def _mapping(events: Iterator[yaml.Event], file: str, depth: int) -> dict[Located, Tree]:
    out: dict[Located, Tree] = {}
    for event in _until(events, yaml.MappingEndEvent):
        key = _tree(event, events, file, depth + 1)
        if not isinstance(key, Located):
            origin = _origin(event, file)
            raise refuse("mapping-yaml", "a key must be plain text", "write the key as text", origin)
        if key in out:
            raise refuse("mapping-duplicate-key", f"the key '{key}' stands twice", "remove or rename one", key.origin)
        out[key] = _tree(next(events), events, file, depth + 1)
    return out


def _until(events: Iterator[yaml.Event], end: type[yaml.Event]) -> Iterator[yaml.Event]:
    """The events that open the members of a list or dict; whoever takes one takes its inside too."""
    while not isinstance(event := next(events), end):
        yield event


def as_mapping(value: Tree, origin: Origin) -> dict[Located, Tree]:
    """The keys of a mapping; an empty value has none. Raises MappingInvalid for a text or a list."""
    if isinstance(value, Located) and not value:
        return {}
    if not isinstance(value, dict):
        raise refuse("mapping-value", "expected lines of the form 'key: value'", "see docs/mapping-language.md", origin)
    return value


def known_keys(tree: dict[Located, Tree], known: tuple[str, ...]) -> None:
    """Raises MappingInvalid with every key that is none of these."""
    fix = f"known keys: {', '.join(known)}"
    unknown = [key for key in tree if key not in known]
    issues = [
        problem("mapping-key", f"'{key}' is not a key of this file{near(key, known)}", fix, key.origin) for key in unknown
    ]
    if issues:
        raise MappingInvalid(issues)


def near(word: str, known: Iterable[str]) -> str:
    """A hint at the known word that is nearest, to be put behind a sentence; empty where none is near."""
    found = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean '{found[0]}'?" if found else ""
