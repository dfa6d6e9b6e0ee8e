"""The worker process of gunicorn: as its own, but that a request which is no HTTP is refused as every other is.

gunicorn would answer in HTML, quote what it could not read, and write it to the log: https://docs.gunicorn.org/en/stable/design.html
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from gunicorn.http import errors  # type: ignore[import-untyped]
from gunicorn.util import write_nonblock  # type: ignore[import-untyped]
from gunicorn.workers.gthread import ThreadWorker  # type: ignore[import-untyped]

from service.api.answers import FHIR_JSON, HEADERS
from service.fhir import json
from service.issues import Issue, to_operation_outcome

_log = logging.getLogger(__name__)

# What gunicorn raises → the status, else 400 for what it could not parse.
_STATUS: Final[Mapping[type[Exception], HTTPStatus]] = {
    errors.LimitRequestLine: HTTPStatus.REQUEST_URI_TOO_LONG,
    errors.LimitRequestHeaders: HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    errors.ExpectationFailed: HTTPStatus.EXPECTATION_FAILED,
}


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """`--worker-class service.api.worker.Worker`"""

    def handle_error(self, req: Any, client: Any, addr: Any, exc: Exception) -> None:  # noqa: ARG002  gunicorn's signature
        status = _STATUS.get(type(exc), HTTPStatus.BAD_REQUEST if _is_of_the_client(exc) else HTTPStatus.INTERNAL_SERVER_ERROR)
        request_id = str(uuid.uuid4())
        # The type and no more: its text quotes the request.
        _log.warning("unreadable request status=%d %s request_id=%s", status, type(exc).__name__, request_id)
        try:
            write_nonblock(client, _answer(status, request_id))
        except OSError:
            _log.debug("the client has gone")


def _is_of_the_client(exc: Exception) -> bool:
    return isinstance(exc, errors.ParseException)


def _answer(status: HTTPStatus, request_id: str) -> bytes:
    text = "the request is no HTTP that this service reads" if status < 500 else "the request could not be answered"
    issue = Issue("fatal", "structure" if status < 500 else "exception", "http-request", text, fix="send it by an HTTP client")
    body = json.dumps(to_operation_outcome([issue]))
    headers = {
        "Connection": "close",
        "Content-Type": FHIR_JSON,
        "Content-Length": str(len(body)),
        "X-Request-ID": request_id,
        **HEADERS,
    }
    lines = [f"HTTP/1.1 {status.value} {status.phrase}", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode("ascii") + body
