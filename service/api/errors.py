"""The one maker of error answers: whatever is raised becomes an OperationOutcome, and nothing of the request shows in it."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path

from flask import Response, current_app
from werkzeug.exceptions import HTTPException

from service.api import answers
from service.api.incoming import request_id
from service.errors import CasebridgeError, UnreadableInput, Usage
from service.issues import Issue


class Refused(CasebridgeError):
    """The content was read and has errors. HTTP 422."""


# Status → what is said of it. Codes: http://hl7.org/fhir/R4/valueset-issue-type.html
_SAID: Mapping[int, Issue] = {
    400: Issue("error", "invalid", "http-request", "the request did not arrive whole", fix="send it again"),
    404: Issue("error", "not-found", "http-not-found", "there is nothing at this address", fix="GET / lists the endpoints"),
    405: Issue("error", "not-supported", "http-method", "this address does not take this method", fix="see the header Allow"),
    406: Issue(
        "error",
        "not-supported",
        "http-accept",
        "the answer is JSON, which the header Accept excludes",
        fix="accept application/fhir+json, application/json or */*",
    ),
    415: Issue(
        "error",
        "not-supported",
        "http-content-type",
        "the body is not declared as JSON in UTF-8, uncompressed",
        fix="send Content-Type: application/json or application/fhir+json",
    ),
}


def answer(error: Exception) -> Response:
    """The answer to a request that ended with this exception."""
    status, issues = _judge(error)
    if status >= 500:
        current_app.log_exception(sys.exc_info())
    response = answers.answer(answers.outcome(issues), status=status, mimetype=answers.FHIR_JSON)
    if isinstance(error, HTTPException):  # 405 says in Allow what the address does take
        response.headers.extend(pair for pair in error.get_headers() if pair[0] != "Content-Type")
    return response


def _judge(error: Exception) -> tuple[int, Sequence[Issue]]:
    if isinstance(error, UnreadableInput):
        return (413 if error.issues[0].rule == "json-size" else 400), error.issues
    if isinstance(error, Usage):
        return (404 if error.issues[0].code == "not-found" else 400), error.issues
    if isinstance(error, Refused):
        return 422, error.issues
    if isinstance(error, HTTPException) and error.code is not None and error.code < 500:
        return error.code, [_of_status(error.code)]
    return 500, [_failure()]


def _of_status(status: int) -> Issue:
    if status == 413:
        text = f"The text is longer than {current_app.config['MAX_CONTENT_LENGTH']} bytes."
        return Issue("fatal", "too-long", "json-size", text, fix="Split it, or have CASEBRIDGE_MAX_BYTES raised.")
    return _SAID.get(status) or Issue("error", "processing", f"http-{status}", "the request cannot be answered")


def _failure() -> Issue:
    fix = f"tell the operator this request id, under which the log has more: {request_id()}"
    return Issue("fatal", "exception", "internal", "the service failed; nothing is known to be wrong with the request", fix=fix)


def describe(error: BaseException | None) -> str:
    """An exception for the log: its type and where it was raised, but not its text, in which a value may stand.

    What Casebridge itself raises carries no value (service.errors), so its issues are told.
    """
    frames = traceback.extract_tb(error.__traceback__)[-8:] if error else []
    where = " > ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames)
    said = "; ".join(f"{issue.origin or ''} {issue.rule}: {issue.text}" for issue in _issues(error))
    return f"{type(error).__name__} at {where}" + (f" issues={said}" if said else "")


def _issues(error: BaseException | None) -> Sequence[Issue]:
    return error.issues[:20] if isinstance(error, CasebridgeError) else ()
