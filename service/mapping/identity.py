"""Identities: a keyed, deterministic UUID for each item, from what tells it apart and never from its place in a list.

The key is the deployment's secret: without it, nobody can list record numbers and compute whose resource is whose.
"""

from __future__ import annotations

import hmac
import unicodedata
from collections.abc import Sequence
from typing import Any

import msgspec

_encode = msgspec.json.Encoder(decimal_format="number").encode


def identity(key: bytes, case: str, section: str, parent: str, values: Sequence[Any]) -> str:
    """The UUID of an item: HMAC-SHA-256 over case, section, the identity of the item above, and the item's key fields.

    The fields are joined as JSON, so that no two lists of fields read alike, and normalised to NFC, so that two spellings of
    one text are one identity. The result is a UUID of version 8 (RFC 9562), in lower case as FHIR's urn:uuid wants it.
    """
    message = _encode((case, section, parent, values))
    if not message.isascii():
        message = unicodedata.normalize("NFC", message.decode()).encode()
    hexes = hmac.digest(key, message, "sha256").hex()
    return f"{hexes[:8]}-{hexes[8:12]}-8{hexes[13:16]}-{'89ab'[int(hexes[16], 16) & 3]}{hexes[17:20]}-{hexes[20:32]}"
