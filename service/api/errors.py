"""The one maker of error answers: whatever is raised becomes an OperationOutcome, and nothing of the request shows in it."""

from __future__ import annotations

import math
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path

from flask import Response, current_app
from werkzeug.exceptions import HTTPException

from service.api import answers
from service.api.incoming import request_id
from service.errors import CasebridgeError, OutboxFull, ServerRefused, ServerUnavailable, UnreadableInput, Usage
from service.issues import Issue


class Refused(CasebridgeError):
    """The content was read and has errors. HTTP 422."""


class Unready(CasebridgeError):
    """The service cannot do this now: it stops, or what it needs is not there. HTTP 503."""


# When a client may ask again, in seconds, where nothing else says; and the most that it is told, whatever a server said.
_RETRY_AFTER = 30.0
_LONGEST = 3600.0
# What to say of an outbox that fails. Its own texts name files and addresses: those are for the log.
_OUTBOX_FIX = "send it again later; the log of the service tells its operator more, under the request id"
_OUTBOX_FAILS = Issue("error", "transient", "sync-outbox", "the outbox of this service cannot be used now", fix=_OUTBOX_FIX)
_OUTBOX_TOLD = ("sync-outbox-locked", "sync-outbox-disk")


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
    if status == 503:
        response.headers["Retry-After"] = _retry_after(error)
    return response


def _retry_after(error: Exception) -> str:
    seconds: float = getattr(error, "retry_after", None) or _RETRY_AFTER
    return str(math.ceil(min(seconds, _LONGEST)))


def refusal(error: CasebridgeError) -> tuple[int, Sequence[Issue]] | None:
    """The status and the issues of an error answer; None for what is the operator's to mend: its issues are for the log."""
    issues = error.issues
    first = issues[0]
    match error:
        case UnreadableInput():
            return (413 if first.rule == "json-size" else 400), issues
        case Usage():
            return {"not-found": 404, "conflict": 409}.get(first.code, 400), issues
        case Refused():
            return 422, issues
        case Unready():
            return 503, issues
        case OutboxFull():
            return (507 if error.disk else 503), [_without_places(issue) for issue in issues]
        case ServerUnavailable():
            return (502 if first.rule == "sync-reply" else 503), issues
        case ServerRefused():
            return 502, issues
    return (503, [_OUTBOX_FAILS]) if first.rule == "sync-outbox-unreachable" else None


def _without_places(issue: Issue) -> Issue:
    return issue.at(fix=_OUTBOX_FIX) if issue.rule in _OUTBOX_TOLD else issue


def _judge(error: Exception) -> tuple[int, Sequence[Issue]]:
    if isinstance(error, CasebridgeError) and (found := refusal(error)):
        return found
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
