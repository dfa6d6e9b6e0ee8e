"""Attachments and identifiers: http://hl7.org/fhir/R4/datatypes.html#Attachment, http://hl7.org/fhir/R4/identifier-registry.html"""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.definitions import PATIENT, found

# "hello", its base64 and the base64 of its SHA-1, by coreutils: printf hello | openssl sha1 -binary | base64
DATA, HASH = "aGVsbG8=", "qvTGHdzF6KLavt4PO0gs2a6pQ00="
PHOTO = "Patient.photo[0]"


@pytest.mark.parametrize(
    ("attachment", "expected"),
    [
        ({"data": DATA, "size": 5, "hash": HASH}, []),
        ({"data": "aGVs bG8=", "size": 5}, []),  # base64Binary may have whitespace
        ({"data": DATA, "size": 8}, [("val-attachment", f"{PHOTO}.size")]),  # the bytes before they were encoded
        ({"data": DATA, "hash": "qvTGHdzF6KLavt4PO0gs2a6pQ01="}, [("val-attachment", f"{PHOTO}.hash")]),
        ({"url": "http://example.org/a", "size": 8, "hash": HASH}, []),  # the data is elsewhere
        ({"data": "?", "size": 8}, [("val-format", f"{PHOTO}.data")]),
        ({"data": 1, "size": "5"}, [("val-format", f"{PHOTO}.data"), ("val-format", f"{PHOTO}.size")]),
        ({"data": DATA, "size": 5, "hash": 1}, [("val-format", f"{PHOTO}.hash")]),
    ],
)
def test_size_and_hash_are_those_of_the_data(attachment: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    # att-1: data has a content type
    assert found(PATIENT | {"photo": [{"contentType": "text/plain"} | attachment]}) == expected


@pytest.mark.parametrize(
    ("identifier", "is_right"),
    [
        ({"system": "urn:ietf:rfc:3986", "value": "urn:oid:1.2.3"}, True),
        ({"system": "urn:ietf:rfc:3986", "value": "http://example.org/1"}, True),
        ({"system": "urn:ietf:rfc:3986", "value": "1.2.3"}, False),
        ({"system": "http://example.org/ids", "value": "1.2.3"}, True),
    ],
)
def test_an_identifier_that_says_it_is_a_uri_is_one(identifier: dict[str, Any], is_right: bool) -> None:
    expected = [] if is_right else [("val-identifier", "Patient.identifier[0].value")]
    assert found(PATIENT | {"identifier": [identifier]}) == expected
