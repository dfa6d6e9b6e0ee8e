"""The JSON Schema of a form: published for editors, and run in the hot path."""

from __future__ import annotations

from typing import Any

from service.case.form import ListOf, Node, Object, Scalar

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema(form: Node, *, url: str, title: str) -> dict[str, Any]:
    """The schema as a plain document (draft 2020-12)."""
    return {"$schema": DIALECT, "$id": url, "title": title, **fragment(form)}


def fragment(node: Node) -> dict[str, Any]:
    """The schema of one node, without the heading of a document."""
    if isinstance(node, Scalar):
        return {**node.schema, "description": node.says}
    if isinstance(node, ListOf):
        return {"type": "array", "minItems": 1, "items": fragment(node.item)}
    return _object(node)


def _object(node: Object) -> dict[str, Any]:
    out: dict[str, Any] = {
        "type": "object",
        "properties": {name: fragment(field.node) for name, field in node.fields.items()},
        "additionalProperties": False,
        "minProperties": 1,
    }
    if required := [name for name, field in node.fields.items() if field.required]:
        out["required"] = required
    if node.requires:
        out["dependentRequired"] = {name: list(others) for name, others in node.requires.items()}
    if node.exclusive:
        out["allOf"] = [{"not": {"required": list(pair)}} for pair in node.exclusive]
    return out
