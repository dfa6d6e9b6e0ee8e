"""From the text of an expression to its tokens. Source: http://hl7.org/fhirpath/N1/#lexical-elements"""

from __future__ import annotations

import re
from typing import Final, Literal, NamedTuple

from service.validate.fhirpath.errors import PathSyntaxError

Kind = Literal["number", "string", "moment", "name", "quoted", "variable", "dollar", "symbol", "end"]


class Token(NamedTuple):
    """`text` is what counts: the characters of a string with its escapes resolved, a name without its quotes."""

    kind: Kind
    text: str
    position: int


# Each alternative is told by its first characters, and no repeat can take what the next one needs: linear on any text.
_TOKEN: Final = re.compile(
    r"""(?P<skip>(?:[ \t\r\n]+|//[^\r\n]*|/\*(?s:.*?)\*/)+)
    |(?P<number>[0-9]+(?:\.[0-9]+)?)
    |(?P<moment>@(?:T[0-9:]+(?:\.[0-9]+)?
        |[0-9]{4}(?:-[0-9]{2}){0,2}(?:T(?:[0-9:]+(?:\.[0-9]+)?(?:Z|[+-][0-9]{2}:[0-9]{2})?)?)?))
    |(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<string>'(?:[^'\\]|\\.)*')
    |(?P<quoted>`(?:[^`\\]|\\.)*`|"(?:[^"\\]|\\.)*")
    |(?P<variable>%(?:[A-Za-z_][A-Za-z0-9_\-]*|'(?:[^'\\]|\\.)*'|`(?:[^`\\]|\\.)*`|"(?:[^"\\]|\\.)*"))
    |(?P<dollar>\$(?:this|index|total)\b)
    |(?P<symbol>!=|!~|<=|>=|[-+*/&|=~<>()\[\]{}.,])""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE: Final = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|(.))", re.DOTALL)
_ESCAPES: Final = {**{char: char for char in "'\"`\\/"}, "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


def tokens(text: str) -> list[Token]:
    """The tokens of an expression, an "end" last. Raises PathSyntaxError at the first character that begins none."""
    found: list[Token] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None or (match.group() == "/" and text.startswith("/*", position)):
            raise PathSyntaxError(position, "what begins here is no token, or does not end")
        if match.lastgroup != "skip":
            found.append(_token(match))
        position = match.end()
    found.append(Token("end", "", len(text)))
    return found


def _token(match: re.Match[str]) -> Token:
    kind: Kind = match.lastgroup  # type: ignore[assignment]  # the groups of _TOKEN bear the names of kinds
    text = match.group()
    if kind in ("string", "quoted"):
        text = _unescaped(text[1:-1], match.start())
    elif kind == "variable":
        text = text[1:] if text[1] not in "'`\"" else _unescaped(text[2:-1], match.start())
    return Token(kind, text, match.start())


def _unescaped(text: str, position: int) -> str:
    if "\\" not in text:
        return text

    def resolve(match: re.Match[str]) -> str:
        code, char = match.groups()
        if code:
            return chr(int(code, 16))
        if char not in _ESCAPES:
            raise PathSyntaxError(position, f"a string has no escape \\{char}")
        return _ESCAPES[str(char)]

    return _ESCAPE.sub(resolve, text)
