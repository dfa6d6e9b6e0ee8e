"""Where in a resource: a chain of steps that is cheap to lengthen, told as keys and indexes or as FHIRPath on demand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

from service.fhir.definitions import load
from service.fhir.path import fhirpath

# (the place above, member name, index in a list or None); the root is None. A tuple, for the walker makes one an element.
Place: TypeAlias = "tuple[Place, str, int | None] | None"


def steps(place: Place) -> list[str | int]:
    """The keys and indexes from the root of the text down to a place."""
    out: list[str | int] = []
    while place is not None:
        place, name, index = place
        if index is not None:
            out.append(index)
        out.append(name)
    return out[::-1]


def objects(value: dict[str, Any], name: str, at: Place) -> Iterator[tuple[Place, dict[str, Any]]]:
    """The objects of the list `name` in a value at the place `at`, each with its own; what else stands there is left out."""
    items = value.get(name)
    for index, each in enumerate(items if isinstance(items, list) else ()):
        if isinstance(each, dict):
            yield (at, name, index), each


def to_expression(place: Place, root: Any) -> str:
    """The FHIRPath of a place in the resource `root`: "Bundle.entry[3].resource.value.unit"."""
    parts: list[str] = []
    value, type_name, path = root, _type(root), ""
    for step in steps(place):
        if isinstance(step, int):
            path += f"[{step}]"
        else:
            path += f".{step}" if path else step
        value = below(value, step)
        if isinstance(value, dict) and isinstance(value.get("resourceType"), str):
            parts.append(fhirpath(type_name, path))
            type_name, path = _type(value), ""
    if path:
        parts.append(fhirpath(type_name, path.removeprefix("_").replace("._", ".")))
    return ".".join([_type(root), *parts])


def _type(resource: Any) -> str:
    name = resource.get("resourceType") if isinstance(resource, dict) else None
    return name if isinstance(name, str) and name in load().types else "Resource"


def below(value: Any, step: str | int) -> Any:
    """What lies one step below a value; None where nothing does."""
    if isinstance(value, dict):
        return value.get(step)
    return value[step] if isinstance(value, list) and isinstance(step, int) and step < len(value) else None
