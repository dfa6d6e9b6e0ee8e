"""Cases to Bundles and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from flask import Blueprint, Response

from service.api.answers import FHIR_JSON, JSON, answer, outcome
from service.api.engines import chosen
from service.api.errors import Refused
from service.api.incoming import BOOLEANS, body, is_set, must_accept_json, query
from service.bundle.build import BUNDLE_TYPES, BundleType
from service.issues import Issue, has_errors

blueprint = Blueprint("convert", __name__)
blueprint.before_request(must_accept_json)


@blueprint.post("/convert")
def convert() -> Response:
    """A case → its Bundle."""
    options = query(mapping=None, type=BUNDLE_TYPES, lenient=BOOLEANS)
    engine, lenient = chosen(options), is_set(options, "lenient")
    bundle_type = cast(BundleType, options.get("type", BUNDLE_TYPES[0]))
    made = engine.convert(body(), bundle_type=bundle_type, lenient=lenient)
    return _answer("bundle", made.bundle, made.issues, lenient=lenient, mimetype=FHIR_JSON)


@blueprint.post("/to-case")
def to_case() -> Response:
    """A Bundle → the case that it holds."""
    options = query(mapping=None, lenient=BOOLEANS)
    engine, lenient = chosen(options), is_set(options, "lenient")
    read = engine.to_case(body())
    return _answer("case", read.record, read.issues, lenient=lenient, mimetype=JSON)


def _answer(name: str, result: dict[str, Any] | None, issues: Sequence[Issue], *, lenient: bool, mimetype: str) -> Response:
    """Strict: the result where nothing is wrong, else 422. Lenient: the result as far as there is one, and all issues."""
    if lenient:
        return answer({name: result, "outcome": outcome(issues)}, status=422 if result is None else 200)
    if result is None or has_errors(issues):
        raise Refused(issues)
    return answer(result, mimetype=mimetype)
