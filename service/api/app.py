"""The Flask app put together: settings, engines, blueprints, the error handler, and what every request and answer gets."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from types import TracebackType
from typing import TypeVar

from flask import Flask, Response, g, request
from flask.typing import ResponseReturnValue

from service.api import errors
from service.api.answers import add_headers
from service.api.blueprints import BLUEPRINTS
from service.api.engines import Engines, open_engines
from service.api.incoming import request_id
from service.api.sync import Connect, open_sync
from service.api.validator import open_validator
from service.config import DEFAULT_SET, Settings, read_settings
from service.errors import CasebridgeError
from service.issues import Issue

T = TypeVar("T")

# Methods that a log may name: any other word is the client's own.
_METHODS = frozenset(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"])


class Service(Flask):
    """Flask, but an exception is logged without its text: that may hold what a patient's record says."""

    def log_exception(self, exc_info: tuple[type, BaseException, TracebackType | None] | tuple[None, None, None]) -> None:
        self.logger.error("failure request_id=%s %s", request_id(), errors.describe(exc_info[1]))


def create_app(settings: Settings | None = None, connect: Connect | None = None) -> Flask:
    """The service; `connect` makes the FHIR servers, which are asked by HTTP without it.

    Raises CasebridgeError, after a line in the log, where its mapping set, key, packages or servers cannot be used.
    """
    settings = settings or read_settings()
    app = Service("service.api")
    if app.logger.level == logging.NOTSET:
        app.logger.setLevel(logging.INFO)
    app.config["MAX_CONTENT_LENGTH"] = settings.max_bytes
    # "//convert" is 404, for Werkzeug's redirect would answer with the address it was sent.
    app.url_map.merge_slashes = False
    app.extensions["casebridge"] = _opened(app, f"mapping set {DEFAULT_SET}", _engines, settings)
    app.extensions["casebridge-validator"] = _opened(app, "FHIR packages", open_validator, settings)
    app.extensions["casebridge-sync"] = _opened(app, "FHIR servers", lambda given: open_sync(given, connect), settings)
    app.before_request(_start)
    app.after_request(_finish)
    app.register_error_handler(Exception, errors.answer)
    for blueprint in BLUEPRINTS:
        app.register_blueprint(blueprint)
    return app


def _engines(settings: Settings) -> Engines:
    """The engines, the default one loaded: a service that can convert nothing must not start."""
    engines = open_engines(settings)
    engines.get(DEFAULT_SET)
    return engines


def _opened(app: Flask, what: str, opening: Callable[[Settings], T], settings: Settings) -> T:
    """What is opened, or a line in the log for each reason why the service cannot start."""
    try:
        return opening(settings)
    except CasebridgeError as error:
        for issue in error.issues:
            app.logger.critical("cannot start, %s: %s", what, _one_line(issue))
        raise


def _one_line(issue: Issue) -> str:
    text = f"{issue.origin or issue.source or ''} {issue.rule}: {issue.text}" + (f" ({issue.fix})" if issue.fix else "")
    return " ".join(text.split())


def _start() -> ResponseReturnValue | None:
    g.started = time.perf_counter()
    return None


def _finish(response: Response) -> Response:
    """The headers of every answer, and its one line in the log: the rule of the route, never the address itself."""
    add_headers(response, request_id())
    logging.getLogger("service.api").info(
        "request method=%s route=%s status=%d ms=%.1f request_id=%s",
        request.method if request.method in _METHODS else "other",
        request.url_rule or "-",
        response.status_code,
        (time.perf_counter() - g.started) * 1000,
        request_id(),
    )
    return response
