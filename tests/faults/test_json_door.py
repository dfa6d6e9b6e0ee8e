"""Texts that are no JSON, or JSON that means harm, at every endpoint that takes a body and at the command."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from service.cli import main
from service.fhir import json
from tests.faults.routes import bodies
from tests.unit.api.test_hostile import BAD, Meter

AT = "app"
COMMANDS = ("convert", "to-case", "validate")
NUMBERS = ["nan", "infinity", "1e999", "digits"]
ENCODINGS = ["surrogate", "nul", "bad-utf-8", "latin-1", "utf-16", "utf-16-le", "utf-32"]
MORE_TEXT: dict[str, tuple[bytes, str, str]] = {
    "half of a pair in a key": (b'{"case": {"\\udc00": 1}}', "json-surrogate", "/case"),
    "the halves the wrong way round": (b'{"labs": ["\\udc00\\ud800"]}', "json-surrogate", "/labs/0"),
    "a surrogate as UTF-8 bytes": (b'{"case": "\xed\xa0\x80"}', "json-encoding", "/case"),
    "an overlong slash": (b'{"case": "\xc0\xaf"}', "json-encoding", "/case"),
    "raw NUL": (b'{"case": "a\x00b"}', "json-control", "/case"),
    "NUL between tokens": (b'{"case":\x00 1}', "json-control", "/case"),
    "NUL in a key": (b'{"case": {"\\u0000": 1}}', "json-control", "/case"),
}


@pytest.fixture
def refused(app, client, refusal, told) -> Callable[[bytes, int], list[tuple[str, str | None]]]:
    """Sends a text to every endpoint that takes one: (rule, case path) of the one issue of each answer."""

    def send(text: bytes, status: int = 400) -> list[tuple[str, str | None]]:
        found = []
        for address in bodies(app.url_map):
            [issue] = refusal(client.post(address, data=text, content_type="application/json"), status)
            assert issue["severity"] == "fatal"
            found.append(told(issue))
        return found

    return send


@pytest.fixture
def command(tmp_path: Path) -> Callable[[bytes], None]:
    """Gives a text to each command that reads one: unreadable is exit code 3, and nothing is written but what is wrong."""

    def give(text: bytes) -> None:
        path = tmp_path / "text.json"
        path.write_bytes(text)
        for name in COMMANDS:
            done = CliRunner().invoke(main, [name, str(path)])
            assert done.exit_code == 3, (name, done.output)
            assert name == "validate" or not done.stdout

    return give


# --- R-29 ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [b"[" * 100_000, b'{"a":' * 100_000, b"[" * 100_000 + b"]" * 100_000, b'{"a":[' * 50_000 + b"]}" * 50_000],
    ids=["arrays", "objects", "closed", "mixed"],
)
def test_r29_deep_json_is_refused_where_it_gets_too_deep(fault, refused, command, client, text):
    found = refused(text)
    fault.injected("a text 100,000 levels deep", len(found))
    for rule, pointer in found:
        assert rule == "json-depth"
        assert pointer.count("/") == 64, "what lies deeper was not read"
    command(text)
    fault.injected("a text 100,000 levels deep", len(COMMANDS), at="command")
    assert client.post("/convert", data=b"{}").status_code == 422, "the process lives"


def test_r29_a_flat_body_of_50_mb_is_refused_unread(fault, app, client, refusal, told):
    for address in bodies(app.url_map):
        body = Meter()
        sent = {"wsgi.input": body, "CONTENT_LENGTH": "50000000"}
        [issue] = refusal(client.post(address, content_type="application/json", environ_overrides=sent), 413)
        assert told(issue)[0] == "json-size"
        assert body.taken == 0
        fault.injected("a body that says it has 50 MB")


def test_r29_a_flat_body_without_a_length_is_refused_at_the_limit(fault, app, client, refusal, told):
    limit = app.config["MAX_CONTENT_LENGTH"]
    for address in bodies(app.url_map):
        body = Meter()
        # As gunicorn hands a chunked body over: no length, and a stream that ends by itself.
        sent = {"wsgi.input": body, "wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked", "CONTENT_LENGTH": ""}
        [issue] = refusal(client.post(address, content_type="application/json", environ_overrides=sent), 413)
        assert told(issue)[0] == "json-size"
        assert body.taken <= limit + io.DEFAULT_BUFFER_SIZE * 16
        fault.injected("a chunked body without an end")


# --- R-36 -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NUMBERS)
def test_r30_what_is_no_number_is_refused_at_its_place(fault, refused, command, name):
    text, rule, pointer = BAD[name]
    found = refused(text)
    fault.injected("a number that JSON does not have", len(found))
    assert found == [(rule, pointer)] * len(found)
    command(text)
    fault.injected("a number that JSON does not have", len(COMMANDS), at="command")


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1E+999", b"1e-999"])
def test_r30_it_is_never_repeated(fault, client, number):
    for shape in (b"%b", b"[%b]", b'{"labs": [{"value": %b}]}'):
        response = client.post("/convert", data=shape % number, content_type="application/json")
        fault.injected("a number that JSON does not have")
        assert response.status_code == 400
        # The strict door reads the answer: it has no such number outside a string. And no text quotes the one that was sent.
        [issue] = json.loads(response.data)["issue"]
        assert number not in response.data.replace(b"NaN and Infinity are not JSON.", b"")
        assert issue["code"] in ("invalid", "structure")


def nested(levels: int, inner: bytes) -> tuple[bytes, str]:
    """The text inside as many objects and arrays in turn, and the JSON Pointer of where it stands."""
    text, pointer = inner, ""
    for level in range(levels):
        text, pointer = (b"[0, %b]" % text, f"/1{pointer}") if level % 2 else (b'{"a": %b}' % text, f"/a{pointer}")
    return text, pointer


@pytest.mark.parametrize("levels", [0, 1, 2, 31, 62, 63])
@pytest.mark.parametrize(
    ("twice", "key"),
    [
        (b'{"k": 1, "k": 1}', "k"),
        (b'{"k": 1, "j": 1, "k": 2}', "k"),
        (b'{"k": 1, "\\u006b": 2}', "k"),
        (b'{"\xc3\xa9": 1, "\\u00e9": 1}', "é"),
        (b'{"a/b": 1, "a/b": 2}', "a~1b"),
        (b'{"": 1, "": 2}', ""),
    ],
    ids=["same", "apart", "escaped", "non-ascii", "slash", "empty"],
)
def test_r31_a_key_twice_is_refused_and_named_at_any_depth(fault, app, client, refusal, told, levels, twice, key):
    text, pointer = nested(levels, twice)
    for address in bodies(app.url_map):
        [issue] = refusal(client.post(address, data=text, content_type="application/json"), 400)
        fault.injected("a key twice in one object")
        assert told(issue) == ("json-duplicate-key", f"{pointer}/{key}")
        assert repr(key.replace("~1", "/")) in issue["details"]["text"]


@pytest.mark.parametrize("name", [*ENCODINGS, *MORE_TEXT])
def test_r36_a_text_that_is_no_utf_8_json_is_refused_at_its_place(fault, refused, command, name):
    text, rule, pointer = MORE_TEXT[name] if name in MORE_TEXT else BAD[name]
    found = refused(text)
    fault.injected("a text that is no UTF-8 JSON", len(found))
    assert found == [(rule, pointer)] * len(found)
    command(text)
    fault.injected("a text that is no UTF-8 JSON", len(COMMANDS), at="command")


def test_r36_a_byte_order_mark_is_skipped(fault, client, case):
    plain, marked = (client.post("/convert", data=mark + json.dumps(case)) for mark in (b"", b"\xef\xbb\xbf"))
    fault.injected("a byte order mark")
    assert plain.status_code == marked.status_code == 200
    assert plain.data == marked.data


def test_r36_a_byte_order_mark_inside_is_no_space(fault, refused):
    found = refused(b'{"case": \xef\xbb\xbf1}')
    fault.injected("a byte order mark", len(found))
    assert {pointer for _rule, pointer in found} == {"/case"}
