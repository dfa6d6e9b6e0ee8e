"""Reads YAML files as located strings: no type guessing, no duplicate keys, aliases or tags, every text with its place."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, Union

import yaml

from service.errors import CasebridgeError
from service.issues import Issue, Origin


class Located(str):
    """A string of a file that knows where it stands."""

    __slots__ = ("origin",)
    origin: Origin

    def __new__(cls, text: str, origin: Origin) -> Located:
        self = super().__new__(cls, text)
        self.origin = origin
        return self


Tree: TypeAlias = Union[Located, "list[Tree]", "dict[Located, Tree]"]


@dataclass(frozen=True)
class Language:
    """What the files of one kind have in common.

    `name` is the first word of the rules that they can break ("mapping" in "mapping-yaml"), `page` the document that
    explains them, `error` what is raised for a bad file, `deepest` how many levels the language has.
    """

    name: str
    page: str
    error: type[CasebridgeError]
    deepest: int

    def problem(self, rule: str, text: str, fix: str, origin: Origin) -> Issue:
        """An error in such a file, at its place."""
        return Issue("error", "invalid", rule, text, fix=fix, origin=origin, source=origin)

    def refuse(self, rule: str, text: str, fix: str, origin: Origin) -> CasebridgeError:
        return self.error([self.problem(rule, text, fix, origin)])

    def read(self, path: Path, shown_as: str) -> Tree:
        """The file as strings, lists and dicts of `Located`; an empty value is the empty string.

        The C parser only scans: scalars stay the text that stands there, so `NO`, `12:30`, `0123` and `2018-08` mean nothing
        else. Raises `error` for what cannot be read or is not YAML, for duplicate keys, anchors, aliases, tags and keys that
        are not plain text.
        """
        text = self._text(path, shown_as)
        # Events and not nodes: the C composer recurses without a limit, and ends the process where brackets stand deep enough.
        reading = _Reading(self, shown_as, yaml.parse(text, Loader=yaml.CBaseLoader))
        try:
            return reading.document()
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark
            origin = Origin(shown_as, mark.line + 1, mark.column + 1) if mark else Origin(shown_as, 1, 1)
            raise self._no_yaml(f"not YAML: {error.problem}", "mend the syntax at this place", origin) from None
        except yaml.reader.ReaderError as error:
            origin = _place(shown_as, text.encode()[: error.position])
            raise self._no_yaml(f"not YAML: {error.reason}", "remove the character at this place", origin) from None

    def _no_yaml(self, text: str, fix: str, origin: Origin) -> CasebridgeError:
        return self.refuse(f"{self.name}-yaml", text, fix, origin)

    def _text(self, path: Path, shown_as: str) -> str:
        try:
            held = path.read_bytes()
        except OSError as error:
            what = f"cannot be read: {error.strerror or type(error).__name__}"
            raise self.refuse(f"{self.name}-file", what, f"see {self.page}", Origin(shown_as)) from None
        try:
            return held.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            origin = _place(shown_as, held[: error.start])
            raise self._no_yaml("not UTF-8 from this place on", "save the file as UTF-8", origin) from None

    def as_mapping(self, value: Tree, origin: Origin) -> dict[Located, Tree]:
        """The keys of a mapping; an empty value has none. Raises `error` for a text or a list."""
        if isinstance(value, Located) and not value:
            return {}
        if not isinstance(value, dict):
            raise self.refuse(f"{self.name}-value", "expected lines of the form 'key: value'", f"see {self.page}", origin)
        return value

    def known_keys(self, tree: dict[Located, Tree], known: tuple[str, ...]) -> None:
        """Raises `error` with every key that is none of these."""
        fix = f"known keys: {', '.join(known)}"
        issues = [
            self.problem(f"{self.name}-key", f"'{key}' is not a key of this file{near(key, known)}", fix, key.origin)
            for key in tree
            if key not in known
        ]
        if issues:
            raise self.error(issues)


def near(word: str, known: Iterable[str]) -> str:
    """A hint at the known word that is nearest, to be put behind a sentence; empty where none is near."""
    found = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean '{found[0]}'?" if found else ""


def _place(file: str, before: bytes) -> Origin:
    """The place that follows these bytes."""
    lines = before.decode("utf-8", "replace").split("\n")
    return Origin(file, len(lines), len(lines[-1]) + 1)


@dataclass(frozen=True)
class _Reading:
    """One file being read. Whoever takes the event that opens a list or dict takes its inside too."""

    language: Language
    file: str
    events: Iterator[yaml.Event]

    def document(self) -> Tree:
        """The tree of the only document. All events are taken, so that a second document is an error of the parser."""
        tree: Tree | None = None
        for event in self.events:
            if isinstance(event, yaml.DocumentStartEvent) and tree is not None:
                raise self._refuse("a second document starts here", "remove the line '---'", self._origin(event))
            if isinstance(event, yaml.NodeEvent):
                tree = self._tree(event, 1)
        if tree is None:
            raise self._refuse("the file is empty", f"see {self.language.page}", Origin(self.file, 1, 1))
        return tree

    def _tree(self, event: yaml.Event, depth: int) -> Tree:
        origin = self._origin(event)
        # Without anchors there are no aliases, and without aliases no bomb of them.
        if isinstance(event, yaml.NodeEvent) and event.anchor is not None:
            raise self._refuse("anchors (&name) and aliases (*name) are not allowed", "write the value out", origin)
        if isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent) and event.tag is not None:
            raise self._refuse(f"the tag {event.tag} is not allowed", "remove the tag: every value is text", origin)
        if isinstance(event, yaml.ScalarEvent):
            return Located(event.value, origin)
        if depth > self.language.deepest:
            raise self._refuse(f"nested deeper than {self.language.deepest} levels", f"see {self.language.page}", origin)
        if isinstance(event, yaml.SequenceStartEvent):
            return [self._tree(child, depth + 1) for child in self._until(yaml.SequenceEndEvent)]
        return self._mapping(depth)

    def _mapping(self, depth: int) -> dict[Located, Tree]:
        out: dict[Located, Tree] = {}
        for event in self._until(yaml.MappingEndEvent):
            key = self._tree(event, depth + 1)
            if not isinstance(key, Located):
                raise self._refuse("a key must be plain text", "write the key as text", self._origin(event))
            if key in out:
                rule = f"{self.language.name}-duplicate-key"
                raise self.language.refuse(rule, f"the key '{key}' stands twice", "remove or rename one", key.origin)
            out[key] = self._tree(next(self.events), depth + 1)
        return out

    def _until(self, end: type[yaml.Event]) -> Iterator[yaml.Event]:
        """The events that open the members of a list or dict."""
        while not isinstance(event := next(self.events), end):
            yield event

    def _origin(self, event: yaml.Event) -> Origin:
        mark = event.start_mark
        return Origin(self.file, mark.line + 1, mark.column + 1) if mark else Origin(self.file)

    def _refuse(self, text: str, fix: str, origin: Origin) -> CasebridgeError:
        return self.language.refuse(f"{self.language.name}-yaml", text, fix, origin)
