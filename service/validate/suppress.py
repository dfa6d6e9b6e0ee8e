"""Suppressions: problems that are known and accepted, by rule and place, each with its reason and the day until which it holds.

A file of them is a YAML list. Fatal issues are never suppressed: after them a resource was not looked at.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path, PurePath
from typing import Final

from service.errors import Usage
from service.issues import Issue, Origin
from service.located import Language, Located, Tree

_FILE: Final = Language("suppress", "docs/validation.md", Usage, deepest=2)
KEYS: Final = ("rule", "expression", "reason", "file", "expires")
REQUIRED: Final = ("rule", "expression", "reason")
# date.fromisoformat takes other spellings too.
_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True)
class Suppression:
    """One entry. `expression` takes the FHIRPaths that are meant, `file` is a pattern for the end of a file's name,
    `expires` the last day on which the entry holds."""

    rule: Located
    expression: re.Pattern[str]
    reason: str
    file: str | None
    expires: date | None

    def matches(self, issue: Issue, file: str) -> bool:
        is_meant = self.expression.fullmatch(issue.expression or "") is not None
        return is_meant and (self.file is None or PurePath(file).match(self.file))


class Suppressions:
    """The entries that hold today, and which of them were of use. Not for several threads at once."""

    def __init__(self, entries: Sequence[Suppression] = (), *, today: date) -> None:
        self._entries = entries
        self._used: set[int] = set()
        self._expired = [entry for entry in entries if entry.expires is not None and entry.expires < today]
        self._by_rule: dict[str, list[Suppression]] = defaultdict(list)
        for entry in entries:
            if entry not in self._expired:
                self._by_rule[entry.rule].append(entry)

    def split(self, issues: Iterable[Issue], file: str) -> tuple[list[Issue], list[tuple[Issue, str]]]:
        """(The issues that stay, those that are silenced with their reasons), both in the order given."""
        kept: list[Issue] = []
        silenced: list[tuple[Issue, str]] = []
        for issue in issues:
            entry = self._entry(issue, file)
            if entry is None:
                kept.append(issue)
            else:
                silenced.append((issue, entry.reason))
        return kept, silenced

    def _entry(self, issue: Issue, file: str) -> Suppression | None:
        if issue.severity == "fatal":
            return None
        matching = [entry for entry in self._by_rule.get(issue.rule, ()) if entry.matches(issue, file)]
        # All that match were of use: whoever deletes the first of two must not be told the second was never needed.
        self._used.update(map(id, matching))
        return matching[0] if matching else None

    def leftovers(self) -> list[Issue]:
        """A warning for each entry that has expired, and, once all results were split, for each that silenced nothing."""
        return [issue for entry in self._entries if (issue := self._leftover(entry)) is not None]

    def _leftover(self, entry: Suppression) -> Issue | None:
        if entry in self._expired:
            text = f"the suppression of {entry.rule} expired on {entry.expires}: it silences nothing any more"
            return _warning(
                "suppress-expired", text, "mend the problem, or give the suppression a later day", entry.rule.origin
            )
        if id(entry) not in self._used:
            text = f"the suppression of {entry.rule} silenced nothing"
            return _warning("suppress-unused", text, "remove it, or mend its expression or file", entry.rule.origin)
        return None


def _warning(rule: str, text: str, fix: str, origin: Origin) -> Issue:
    return Issue("warning", "informational", rule, text, fix=fix, source=origin)


def read_suppressions(path: Path, shown_as: str, *, today: date) -> Suppressions:
    """The suppressions of a file. Raises Usage with all that is wrong with it, each with line and column."""
    tree = _FILE.read(path, shown_as)
    if not isinstance(tree, list):
        text, fix = "expected a list: entries that begin with '- rule: ...'", f"see {_FILE.page}"
        raise _FILE.refuse("suppress-value", text, fix, Origin(shown_as, 1, 1))
    entries: list[Suppression] = []
    issues: list[Issue] = []
    for item in tree:
        try:
            entries.append(_suppression(item, Origin(shown_as)))
        except Usage as error:
            issues += error.issues
    if issues:
        raise Usage(issues)
    return Suppressions(entries, today=today)


def _suppression(item: Tree, origin: Origin) -> Suppression:
    fields = _texts(_FILE.as_mapping(item, item.origin if isinstance(item, Located) else origin))
    missing = [name for name in REQUIRED if not fields.get(name)]
    if missing:
        first = next(iter(fields.values()), None)
        text, fix = f"this entry has no {' and no '.join(missing)}", f"each entry needs {', '.join(REQUIRED)}"
        raise _FILE.refuse("suppress-missing", text, fix, first.origin if first is not None else origin)
    expires = fields.get("expires")
    return Suppression(
        rule=fields["rule"],
        expression=_pattern(fields["expression"]),
        reason=str(fields["reason"]),
        file=_file(fields["file"]) if fields.get("file") else None,
        expires=_day(expires) if expires else None,
    )


def _file(text: Located) -> str:
    # pathlib interns the parts of a path, and only a plain str can be interned.
    pattern = str(text)
    if not PurePath(pattern).name:
        raise _FILE.refuse("suppress-file", "'file' names no file", "write it as patient.json or old/*.json", text.origin)
    return pattern


def _pattern(expression: str) -> re.Pattern[str]:
    """In an expression, [*] stands for any index."""
    return re.compile(re.escape(expression).replace(re.escape("[*]"), r"\[\d+\]"))


def _texts(tree: dict[Located, Tree]) -> dict[str, Located]:
    _FILE.known_keys(tree, KEYS)
    for key, value in tree.items():
        if not isinstance(value, Located):
            raise _FILE.refuse("suppress-value", f"'{key}' takes one text", "write it on one line", key.origin)
    return {str(key): value for key, value in tree.items() if isinstance(value, Located)}


def _day(text: Located) -> date:
    try:
        if _DAY.fullmatch(text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise _FILE.refuse("suppress-date", "'expires' is no day of the calendar", "write it as 2026-12-31", text.origin)
