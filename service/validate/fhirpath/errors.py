"""What can go wrong with an expression: it cannot be read, or it cannot be evaluated on what it meets."""

from __future__ import annotations


class PathError(Exception):
    """An expression met what it has no meaning for (many items for one, a type it does not take). Carries no data values."""


class PathSyntaxError(PathError):
    """A text is no FHIRPath, or names a function or type there is not. `position` counts characters from 0."""

    def __init__(self, position: int, text: str) -> None:
        self.position = position
        self.text = text
        super().__init__(f"{text}, at character {position + 1} of the expression")
