"""What comes in: the request's id, what its client accepts, its query and its body. None of it is ever repeated to anyone."""

from __future__ import annotations

import re
import uuid
from collections.abc import Collection, Mapping, Sequence

from flask import current_app, g, request
from werkzeug.exceptions import BadRequest, HTTPException, NotAcceptable, RequestEntityTooLarge, UnsupportedMediaType

from service.errors import Usage
from service.issues import Issue

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
# A lone "*" is what some old clients write.
_JSON = re.compile(r"application/(?:[a-z0-9.-]+\+)?json|application/\*|\*/\*|\*", re.IGNORECASE)
# The first: where nothing is said.
_BODY_TYPES = ("", "application/json", "application/fhir+json")
_UTF_8 = ("utf-8", "utf8")
# The values of a switch in the query.
BOOLEANS = ("true", "false")


def request_id() -> str:
    """The id that the client gave, where it is a plain word, else one of our own."""
    if "request_id" not in g:
        given = request.headers.get("X-Request-ID", "")
        g.request_id = given if _REQUEST_ID.fullmatch(given) else str(uuid.uuid4())
    return str(g.request_id)


def must_accept_json(*also: str) -> None:
    """406 where Accept excludes all JSON, and `also`. Parameters ("fhirVersion=4.0") do not count: there is one kind here."""
    given = [(name.partition(";")[0].strip(), quality) for name, quality in request.accept_mimetypes]
    accepted = [(name, quality) for name, quality in given if name]
    if accepted and not any(quality > 0 and (_JSON.fullmatch(name) or name in also) for name, quality in accepted):
        raise NotAcceptable


def query(**choices: Sequence[str] | None) -> Mapping[str, str]:
    """The query's parameters, each at most once and of these names; None where any value will do. Raises Usage."""
    given = request.args.to_dict(flat=False)
    _must_be_known(choices)
    for name, values in given.items():
        allowed = choices[name]
        if len(values) > 1:
            raise _bad_query(f"'{name}' is given more than once", "give it once")
        if allowed is not None and values[0] not in allowed:
            raise _bad_query(f"'{name}' has a value that it cannot have", f"one of: {', '.join(allowed)}")
    return {name: values[0] for name, values in given.items()}


def is_set(options: Mapping[str, str], name: str) -> bool:
    """Whether a switch of the query is on."""
    return options.get(name) == "true"


def query_values(name: str) -> Sequence[str]:
    """All values of the one parameter that the query may have, which may be repeated. Raises Usage for any other."""
    _must_be_known([name])
    return request.args.getlist(name)


def _must_be_known(names: Collection[str]) -> None:
    if unknown := request.args.keys() - set(names):
        what = "one parameter of the query is" if len(unknown) == 1 else f"{len(unknown)} parameters of the query are"
        raise _bad_query(f"{what} not known here", f"this endpoint takes {', '.join(names)}")


def _bad_query(text: str, fix: str) -> Usage:
    return Usage([Issue("error", "value", "http-query", text, fix=fix)])


def body(*, declared: bool = False) -> bytes:
    """The body. 415 where it says that it is no UTF-8 JSON; 413 where it is too long, by its own word before it is read.

    `declared`: 415 also where it says nothing. What a page of another site has a browser send goes out without a question, but
    never as JSON: https://fetch.spec.whatwg.org/#cors-safelisted-request-header
    """
    charset = request.mimetype_params.get("charset", "utf-8").lower()
    encoding = request.headers.get("Content-Encoding", "identity").lower()
    allowed = _BODY_TYPES[declared:]
    if request.mimetype not in allowed or charset not in _UTF_8 or encoding != "identity":
        raise UnsupportedMediaType
    limit = int(current_app.config["MAX_CONTENT_LENGTH"])
    if (request.content_length or 0) <= limit:
        # Werkzeug cuts a chunked body off at its limit without a word: with room for one byte more the cut shows.
        request.max_content_length = limit + 1
        text = _read_all()
        if len(text) <= limit:
            return text
    raise RequestEntityTooLarge


def _read_all() -> bytes:
    """The body as it came. 400 where it did not arrive whole: what the server's stream raises of it is the client's doing."""
    try:
        text = request.get_data(cache=False)
    except HTTPException:
        raise
    except Exception:  # noqa: BLE001  each server has exceptions of its own, and their texts quote the body
        raise BadRequest from None
    if len(text) < (request.content_length or 0):
        raise BadRequest
    return text
