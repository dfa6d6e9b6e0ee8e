"""Validation: any resource → the OperationOutcome of what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from flask import Blueprint, Response

from service.api import operation
from service.api.answers import FHIR_JSON, answer, outcome
from service.api.incoming import body, must_accept_json, query, query_values
from service.api.operation import MODES, Asked
from service.api.validator import validator
from service.fhir import json
from service.issues import Issue, Origin
from service.validate.report import with_spec
from service.validate.report.outcome import judged_by

blueprint = Blueprint("validate", __name__)
blueprint.before_request(must_accept_json)


@blueprint.post("/validate")
def validate() -> Response:
    """A resource → its OperationOutcome. 200 whatever is wrong with the resource; 4xx for what is no JSON."""
    profiles, text = query_values("profile"), body()
    return _answer(validator().validate(text, profiles=profiles))


@blueprint.post("/fhir/$validate")
@blueprint.post("/fhir/<type_name>/$validate")
@blueprint.post("/fhir/<type_name>/<resource_id>/$validate")
def fhir_validate(type_name: str | None = None, resource_id: str | None = None) -> Response:
    """The FHIR operation: a resource or Parameters → its OperationOutcome."""
    options = query(mode=MODES, profile=None)
    text = body()
    asked = operation.read(text, options)
    issues = list(operation.misuse(asked, type_name, resource_id))
    if asked.resource is not None and asked.mode != "delete":
        issues += _issues(text, asked)
    return _answer(issues)


def _issues(text: bytes, asked: Asked) -> list[Issue]:
    """The issues of the resource, with their places in the body."""
    if not asked.within:
        return validator().validate(text, profiles=asked.profiles)
    issues = validator().validate(json.dumps(asked.resource), profiles=asked.profiles)
    places = json.locate(text) if issues else {}
    return [_moved(issue, asked.within + (issue.pointer or ""), places) for issue in issues]


def _moved(issue: Issue, pointer: str, places: Mapping[str, tuple[int, int]]) -> Issue:
    """The issue with the place of this pointer: of its key, where it has one, as the validator gives places."""
    place = places.get(f"{pointer}#key") or places.get(pointer)
    return issue.at(source=Origin("-", *place) if place else None)


def _answer(issues: Iterable[Issue]) -> Response:
    said = outcome(with_spec(issues), judged_by(validator().packages))
    return answer(said, mimetype=FHIR_JSON)
