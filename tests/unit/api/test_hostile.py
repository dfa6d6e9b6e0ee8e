"""Bodies that mean harm, or are merely broken: refused in bounded time, by rule and place, and the process lives."""

from __future__ import annotations

import io
import time
from typing import Any

import pytest

from service.api import create_app
from service.api.answers import MOST_ISSUES, outcome
from service.issues import Issue

ENDPOINTS = ["/convert", "/to-case"]
BAD = {
    "empty": (b"", "json-syntax", "/"),
    "blank": (b" \n", "json-syntax", "/"),
    "truncated": (b'{"case": "x', "json-syntax", "/case"),
    "nan": (b'{"labs": [{"value": NaN}]}', "json-number", "/labs/0/value"),
    "infinity": (b'{"labs": [{"value": -Infinity}]}', "json-number", "/labs/0/value"),
    "1e999": (b'{"labs": [{"value": 1e999}]}', "json-number", "/labs/0/value"),
    "digits": (b'{"labs": [{"value": ' + b"9" * 5000 + b"}]}", "json-number", "/labs/0/value"),
    "duplicate": (b'{"case": "x", "labs": [{"test": 1, "test": 2}]}', "json-duplicate-key", "/labs/0/test"),
    "surrogate": (b'{"case": "\\ud800"}', "json-surrogate", "/case"),
    "nul": (b'{"case": "a\\u0000b"}', "json-control", "/case"),
    "bad-utf-8": (b'{"case": "\xff\xfe\xfd"}', "json-encoding", "/case"),
    "latin-1": (b'{"case": "M\xfcller"}', "json-encoding", "/case"),
    "utf-16": ('{"case": "x"}'.encode("utf-16"), "json-encoding", "/"),
    "utf-16-le": ('{"case": "x"}'.encode("utf-16-le"), "json-encoding", "/"),
    "utf-32": ('{"case": "x"}'.encode("utf-32-be"), "json-encoding", "/"),
    "comment": (b'{"case": "x" /* y */}', "json-syntax", "/"),
    "two": (b"{} {}", "json-syntax", "/"),
    "gzip": (b"\x1f\x8b\x08\x00\x00\x00\x00\x00", "json-syntax", "/"),
}


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("name", BAD)
def test_what_is_no_json_is_400_with_rule_and_place(post, refusal, told, endpoint, name):
    text, rule, pointer = BAD[name]
    [issue] = refusal(post(endpoint, text), 400)
    assert issue["severity"] == "fatal"
    assert issue["diagnostics"]
    assert told(issue)[1] == pointer
    if name != "gzip":
        assert told(issue)[0] == rule
    refusal(post(endpoint + "?lenient=true", text), 400)


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("text", [b"[" * 100_000, b'{"a":' * 100_000, b"[" * 100_000 + b"]" * 100_000])
def test_a_deep_text_is_400_within_a_second(post, refusal, told, endpoint, text):
    start = time.perf_counter()
    [issue] = refusal(post(endpoint, text), 400)
    assert time.perf_counter() - start < 1
    assert told(issue)[0] == "json-depth"
    assert post("/convert", b"{}").status_code == 422, "the process lives"


def test_a_byte_order_mark_is_no_error(post, case):
    assert post("/convert", b"\xef\xbb\xbf" + post("/to-case", post("/convert", case).data).data).status_code == 200


class Meter(io.RawIOBase):
    """A body that never ends, and counts what was read of it."""

    taken = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        buffer[:] = b" " * len(buffer)
        self.taken += len(buffer)
        return len(buffer)


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_a_body_that_says_it_is_too_long_is_413_unread(client, refusal, told, endpoint):
    body = Meter()
    sent = {"wsgi.input": body, "CONTENT_LENGTH": "25000000"}
    response = client.post(endpoint, content_type="application/json", environ_overrides=sent)
    [issue] = refusal(response, 413)
    assert told(issue)[0] == "json-size"
    assert body.taken == 0


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_a_chunked_body_is_413_once_it_is_too_long(client, refusal, told, endpoint):
    body = Meter()
    # As gunicorn hands it over: no length, and a stream that ends by itself.
    sent = {"wsgi.input": body, "wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked", "CONTENT_LENGTH": ""}
    response = client.post(endpoint, content_type="application/json", environ_overrides=sent)
    [issue] = refusal(response, 413)
    assert told(issue)[0] == "json-size"
    assert body.taken <= 20_100_000


def test_the_limit_is_the_one_of_the_settings(settings, refusal):
    small = create_app(type(settings)(settings.home, settings.key, settings.mappings, max_bytes=10)).test_client()
    refusal(small.post("/convert", data=b'{"a": 1234}', content_type="application/json"), 413)
    refusal(small.post("/convert", data=b'{"a": 123}', content_type="application/json"), 422)


@pytest.mark.parametrize(("text", "status"), [(b'{"a": 123}', 422), (b'{"a": 123} ', 413), (b'{"a": 123}' * 9, 413)])
def test_a_chunked_body_is_never_cut_at_the_limit(settings, refusal, text, status):
    small = create_app(type(settings)(settings.home, settings.key, settings.mappings, max_bytes=10)).test_client()
    sent: dict[str, Any] = {"wsgi.input": io.BytesIO(text), "wsgi.input_terminated": True, "CONTENT_LENGTH": ""}
    refusal(small.post("/convert", content_type="application/json", environ_overrides=sent), status)


def test_a_body_shorter_than_it_says_is_400(client, refusal):
    sent: dict[str, Any] = {"wsgi.input": io.BytesIO(b'{"case":'), "CONTENT_LENGTH": "100"}
    refusal(client.post("/convert", content_type="application/json", environ_overrides=sent), 400)


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "text/json",
        "application/xml",
        "application/fhir+xml",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json; charset=utf-16",
        "application/json; charset=iso-8859-1",
    ],
)
def test_another_content_type_is_415(post, refusal, endpoint, content_type):
    refusal(post(endpoint, b"{}", content_type=content_type), 415)


def test_a_compressed_body_is_415(post, refusal):
    refusal(post("/convert", b"{}", headers={"Content-Encoding": "gzip"}), 415)


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "application/json",
        "application/json; charset=utf-8",
        "Application/FHIR+JSON;charset=UTF-8",
        "application/fhir+json",
    ],
)
def test_json_by_each_of_its_names_is_taken(post, case, content_type):
    assert post("/convert", case, content_type=content_type).status_code == 200


def test_a_thousand_issues_are_listed_and_the_rest_counted():
    warning = Issue("warning", "value", "w", "w")
    body = outcome([warning] * (MOST_ISSUES + 5) + [Issue("error", "value", "e", "e")])
    assert len(body["issue"]) == MOST_ISSUES + 1
    assert body["issue"][0]["severity"] == "error"
    assert body["issue"][-1]["details"]["text"] == "6 more issues are not listed"
