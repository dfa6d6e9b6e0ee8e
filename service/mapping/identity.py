"""Identities: a keyed, deterministic UUID for each item, from what tells it apart and never from its place in a list.

The key is the deployment's secret: without it, nobody can list record numbers and compute whose resource is whose.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Sequence
from typing import Any

import msgspec

_encode = msgspec.json.Encoder(decimal_format="number", order="deterministic").encode
# The two variant bits of RFC 9562, set in the hexadecimal digit that holds them.
_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


class Identities:
    """The identities of one case under one deployment's key."""

    def __init__(self, key: bytes, case: str) -> None:
        self._base = keyed(key, _text(case))

    def of(self, section: str, above: str, values: Sequence[Any]) -> str:
        """The urn:uuid of an item: a keyed BLAKE2b (RFC 7693) of case, section, identity of the item above, and its key fields.

        The fields are joined as JSON, so that no two lists of fields read alike, and normalised to NFC, so that two
        spellings of one text are one identity. The UUID is of version 8 (RFC 9562), in lower case as FHIR wants it.
        """
        digest = self._base.copy()
        digest.update(_text((section, above, values)))
        hexes = digest.hexdigest()
        return f"urn:uuid:{hexes[:8]}-{hexes[8:12]}-8{hexes[13:16]}-{_VARIANT[hexes[16]]}{hexes[17:20]}-{hexes[20:]}"


def keyed(key: bytes, text: bytes, *, size: int = 16) -> hashlib.blake2b:
    """A BLAKE2b of `size` bytes that only the holder of the key can make. It takes 64 bytes of key; a longer one goes in by its
    digest."""
    short = key if len(key) <= hashlib.blake2b.MAX_KEY_SIZE else hashlib.blake2b(key).digest()
    return hashlib.blake2b(text, key=short, digest_size=size)


def _text(value: Any) -> bytes:
    message = _encode(value)
    return message if message.isascii() else unicodedata.normalize("NFC", message.decode()).encode()
