"""Attachments: the stated size and hash are those of the data. Source: http://hl7.org/fhir/R4/datatypes.html#Attachment"""

from __future__ import annotations

import hashlib
from base64 import b64decode, b64encode
from binascii import Error
from typing import Any

from service.validate.place import Place
from service.validate.run import Run


def attachment(run: Run, value: dict[str, Any], at: Place) -> None:
    """`size` counts the bytes of `data`, and `hash` is their SHA-1, before they were written as base64."""
    size, stated, data = value.get("size"), value.get("hash"), value.get("data")
    if not isinstance(data, str) or (size is None and stated is None):
        return
    try:
        content = b64decode("".join(data.split()), validate=True)
    except Error:
        return  # the format of `data` is told already
    if type(size) is int and size != len(content):
        run.add((at, "size", None), "val-attachment", f"The size is not that of the data, which has {len(content)} bytes.")
    if isinstance(stated, str) and "".join(stated.split()) != b64encode(_sha1(content)).decode():
        run.add((at, "hash", None), "val-attachment", "The hash is not the SHA-1 of the data, in base64.")


def _sha1(content: bytes) -> bytes:
    return hashlib.sha1(content, usedforsecurity=False).digest()
