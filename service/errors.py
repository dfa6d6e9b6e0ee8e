"""The few exceptions, grouped by what a caller does about them. None carries a patient's value."""

from __future__ import annotations

from collections.abc import Sequence

from service.issues import Issue


class CasebridgeError(Exception):
    """Base of all. `issues` says what is wrong and where."""

    def __init__(self, issues: Sequence[Issue]) -> None:
        self.issues = list(issues)
        super().__init__("; ".join(issue.text for issue in self.issues))


class UnreadableInput(CasebridgeError):
    """The text is not what it should be (JSON, UTF-8, within limits): nothing of it was used. Exit code 3, HTTP 400 or 413."""


class MappingInvalid(CasebridgeError):
    """A mapping set does not load. Its author mends the files that the issues name; nothing can be converted with it."""


class Usage(CasebridgeError):
    """A name, path or setting that the caller gave does not exist or makes no sense. Exit code 2, HTTP 404 or 400."""
