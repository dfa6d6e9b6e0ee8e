"""What goes out: JSON written by the strict door, OperationOutcomes of bounded length, and the headers of every answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flask import Response

from service.fhir import json
from service.issues import Issue, to_operation_outcome

JSON = "application/json"
FHIR_JSON = "application/fhir+json"
SCHEMA_JSON = "application/schema+json"
# One text of 20 MB can break a rule a million times; nobody reads more than the first thousand.
MOST_ISSUES = 1000

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
}


def answer(value: Any, *, status: int = 200, mimetype: str = JSON) -> Response:
    """A value as JSON text with exact decimals."""
    return Response(json.dumps(value), status, mimetype=mimetype)


def outcome(issues: Sequence[Issue], extension: Sequence[dict[str, Any]] = ()) -> dict[str, Any]:
    """The OperationOutcome; of very many issues the first, errors before all others, and how many more there are."""
    if len(issues) <= MOST_ISSUES:
        return to_operation_outcome(issues, extension)
    kept = sorted(issues, key=lambda issue: not issue.is_error)[:MOST_ISSUES]
    text = f"{len(issues) - MOST_ISSUES} more issues are not listed"
    left_out = Issue("information", "informational", "issues-left-out", text, fix="mend these first")
    return to_operation_outcome([*kept, left_out], extension)


def add_headers(response: Response, request_id: str) -> None:
    response.headers["X-Request-ID"] = request_id
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
