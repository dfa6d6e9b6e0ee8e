"""The shipped mapping sets, as the service has loaded them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from flask import Blueprint, Response, current_app

from service.api.answers import SCHEMA_JSON, answer
from service.api.engines import engines
from service.api.incoming import must_accept_json
from service.errors import MappingInvalid
from service.mapping.compiled import Kind, Mapping

blueprint = Blueprint("mappings", __name__, url_prefix="/mappings")
blueprint.before_request(must_accept_json)


@blueprint.get("")
def list_sets() -> Response:
    """The sets that load. One that does not is in the log, and 500 at its own address."""
    return answer([_summary(name, mapping) for name, mapping in _loadable()])


@blueprint.get("/<name>")
def show_set(name: str) -> Response:
    """One set: what it is, what it writes and what it leaves out."""
    mapping = engines().get(name).mapping
    more = {
        "schema": f"/mappings/{name}/schema.json",
        "resources": [_row_file(kind) for kind in mapping.kinds],
        "ignored": {str(field): str(reason) for field, reason in mapping.spec.ignored.items()},
    }
    return answer(_summary(name, mapping) | more)


@blueprint.get("/<name>/schema.json")
def show_schema(name: str) -> Response:
    """The JSON Schema of a case."""
    return answer(engines().get(name).mapping.schema, mimetype=SCHEMA_JSON)


def _loadable() -> Iterator[tuple[str, Mapping]]:
    store = engines()
    for name in store.folders:
        try:
            yield name, store.get(name).mapping
        except MappingInvalid:
            current_app.log_exception(sys.exc_info())


def _summary(name: str, mapping: Mapping) -> dict[str, Any]:
    """`name` is that of the set's folder, by which clients address it."""
    spec = mapping.spec
    said = {"name": name, "version": spec.version, "title": spec.title, "url": spec.url}
    return {key: str(value) for key, value in said.items()} | {"fingerprint": mapping.fingerprint}


def _row_file(kind: Kind) -> dict[str, str]:
    file = kind.plan.file
    each = ".".join(map(str, file.each))
    return {"name": str(file.name), "resource": str(kind.resource), "each": each, "says": str(file.says)}
