"""Line and column of single values in a JSON text, by walking down to each of them and skipping everything else at C speed.

For a text that service.fhir.json took: legal, and without a key twice. Source: RFC 6901 (JSON Pointer).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final, TypeAlias

import msgspec

Steps: TypeAlias = tuple[str | int, ...]
# What is wanted below a value, step by step.
Trie: TypeAlias = "dict[str | int, Trie]"

_SPACE: Final = re.compile(rb"[ \t\r\n]*+")
_COMMA: Final = re.compile(rb"[ \t\r\n]*+,?[ \t\r\n]*+")
_KEY: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"[ \t\r\n]*+:[ \t\r\n]*+')
_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_items: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode


def locate_each(text: bytes, wanted: Iterable[Steps]) -> dict[Steps, tuple[int, int]]:
    """Keys and indexes down to a value → (line, column) of its key in an object, or of the value itself in a list.

    Both count from 1, the column in characters. What the text does not have is not in the result; for it, the place of what
    should hold it stands under the shorter path, if that was wanted too.
    """
    start = 3 if text.startswith(b"\xef\xbb\xbf") else 0
    start = _after(_SPACE, text, start)
    tree: Trie = {}
    for steps in wanted:
        node = tree
        for step in steps:
            node = node.setdefault(step, {})
    offsets = {(): start} | dict(_below(text, start, text[start:], tree, ()))
    return dict(zip(offsets, _places(text, list(offsets.values())), strict=True))


def _below(text: bytes, start: int, value: bytes, tree: Trie, above: Steps) -> Iterator[tuple[Steps, int]]:
    """The offsets of what is wanted below the value that begins at `start`."""
    left = len(tree)
    for step, key, begin, raw in _parts(text, start, value) if tree else ():
        if step in tree:
            steps = (*above, step)
            yield steps, key
            yield from _below(text, begin, bytes(raw), tree[step], steps)
            left -= 1
            if not left:
                return


def _parts(text: bytes, start: int, value: bytes) -> Iterator[tuple[str | int, int, int, msgspec.Raw]]:
    """(step, offset of its key or value, offset of its value, the value) of each member or item."""
    position = _after(_SPACE, text, start + 1)
    if value.startswith(b"{"):
        for name, raw in _members(value).items():
            match = _KEY.match(text, position)
            if match is None:
                return
            yield name, position, match.end(), raw
            position = _after(_COMMA, text, match.end() + memoryview(raw).nbytes)
    elif value.startswith(b"["):
        for index, raw in enumerate(_items(value)):
            yield index, position, position, raw
            position = _after(_COMMA, text, position + memoryview(raw).nbytes)


def _after(mark: re.Pattern[bytes], text: bytes, position: int) -> int:
    match = mark.match(text, position)
    return match.end() if match else position


def _places(text: bytes, offsets: list[int]) -> list[tuple[int, int]]:
    """(line, column) of offsets, each stretch of the text between two of them looked at once."""
    found: dict[int, tuple[int, int]] = {}
    line, column, last = 1, 1, 3 if text.startswith(b"\xef\xbb\xbf") else 0
    for offset in sorted(set(offsets)):
        if lines := text.count(b"\n", last, offset):
            line, column, last = line + lines, 1, text.rfind(b"\n", last, offset) + 1
        column += len(text[last:offset].decode("utf-8", "replace"))
        last = offset
        found[offset] = (line, column)
    return [found[each] for each in offsets]
