"""What a reply means, whatever pieces it came in."""

from __future__ import annotations

import gzip
import ssl
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import ServerRefused, ServerUnavailable
from service.fhir import json
from service.sync import replies
from service.sync.origins import Origin
from service.sync.replies import Reply, bad_tls, failure, is_refusal, unpacked

SERVER = Origin("https", "fhir.example", 443)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:end] for start, end in pairwise(places)]


@given(st.lists(st.binary(max_size=300), max_size=3), st.lists(st.integers(0, 1000), max_size=6))
def test_packed_body_is_the_same_in_any_pieces(members: list[bytes], cuts: list[int]) -> None:
    whole = b"".join(members)
    assert unpacked(pieces(b"".join(map(gzip.compress, members)), cuts), "gzip", 1000) == whole
    assert unpacked(pieces(whole, cuts), "", 1000) == whole


@given(st.binary(min_size=1, max_size=300), st.integers(1, 30))
def test_packed_body_that_lacks_its_end_is_noticed(body: bytes, lacking: int) -> None:
    packed = gzip.compress(body)
    with pytest.raises(ServerUnavailable):
        unpacked([packed[: max(len(packed) - lacking, 1)]], "gzip", 1000)


@pytest.mark.parametrize("encoding", ["", "gzip"])
def test_cap_counts_to_the_byte(encoding: str) -> None:
    body = bytes(range(256)) * 40
    sent = gzip.compress(body, 0) if encoding else body
    assert unpacked([sent], encoding, len(sent)) == body
    with pytest.raises(ServerUnavailable, match="longer than"):
        unpacked([sent], encoding, len(body) - 1)


def reply(status: int, body: Any = None, **headers: str) -> Reply:
    kind = {"content-type": "application/fhir+json;charset=UTF-8"}
    return Reply(status, {**kind, **headers}, json.dumps(body), SERVER, "asked")


def test_success_is_no_failure() -> None:
    assert [failure(reply(status), 1000, 0) for status in (200, 201, 204)] == [None, None, None]


@pytest.mark.parametrize("status", [300, 304, 402, 418, 505, 507, 599])
def test_any_other_status_is_a_refusal(status: int) -> None:
    found = failure(reply(status), 1000, 0)
    assert isinstance(found, ServerRefused)
    assert (found.status, found.issues[0].rule) == (status, "sync-refused")


OUTCOMES: list[Any] = [
    {"issue": None},
    {"issue": {"code": "SECRET"}},
    {"issue": [None, 1, {}, {"code": None, "diagnostics": None, "expression": None}]},
    {
        "issue": [
            {"code": "SECRET", "diagnostics": ["HAPI-1"], "expression": ["Kowalski", "Patient.Kowalski", "Patient.name['x']"]}
        ]
    },
    {"issue": [{"diagnostics": "HAPI-SECRET", "expression": [["Patient"], "Patient.name\nSECRET", "A" * 10_000]}]},
]


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_nothing_that_could_be_a_value_is_told(outcome: Any) -> None:
    found = failure(reply(400, {"resourceType": "OperationOutcome", **outcome}), 100_000, 0)
    assert found
    assert found.issues[0].text == "the server at https://fhir.example refused the request with status 400"


def test_reply_shows_neither_body_nor_headers() -> None:
    shown = repr(reply(200, {"name": "SECRET"}, cookie="SECRET"))
    assert "SECRET" not in shown


def test_broken_tls_is_told_from_refused_tls() -> None:
    alert = ssl.SSLError(1, "[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] tlsv13 alert certificate required")
    alert.reason = "TLSV13_ALERT_CERTIFICATE_REQUIRED"
    other = ssl.SSLError(1, "SECRET")
    other.reason = "DECRYPTION_FAILED_OR_BAD_RECORD_MAC"
    assert is_refusal(alert, sent=True)
    assert is_refusal(other, sent=False)
    assert not is_refusal(other, sent=True)
    assert not is_refusal(ssl.SSLEOFError(8, "SECRET"), sent=False)
    assert "tlsv13 alert certificate required" in bad_tls(SERVER, alert).issues[0].text
    assert "SECRET" not in str(bad_tls(SERVER, other).issues)


def test_pages_elsewhere_are_named_by_their_origin_only() -> None:
    found = replies.foreign_page("https://other.example/SECRET?SECRET", "https://fhir.example/R4")
    assert "https://other.example, which is another server" in found.issues[0].text
    assert "SECRET" not in str(found.issues)
