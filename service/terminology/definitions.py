"""CodeSystems and ValueSets as typed records, without their prose.

Source: http://hl7.org/fhir/R4/codesystem.html and http://hl7.org/fhir/R4/valueset.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec


class Property(msgspec.Struct, frozen=True, gc=False):
    """A property of a concept; `value` is its value[x], a Coding's as its code."""

    code: str
    value: Any


class Concept(msgspec.Struct, frozen=True, omit_defaults=True):
    """A concept with those below it: http://hl7.org/fhir/R4/codesystem-concept-properties.html

    `other` are its displays besides `display`: the values of its designations.
    """

    code: str
    display: str = ""
    other: tuple[str, ...] = ()
    property: tuple[Property, ...] = ()
    concept: tuple[Concept, ...] = ()


class CodeSystem(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """`content` "complete" means that every code is there; "supplement" adds to the system that `supplements` names."""

    url: str
    version: str = ""
    content: str = "complete"
    case_sensitive: bool = True
    supplements: str = ""
    value_set: str = ""
    concept: tuple[Concept, ...] = ()


class Filter(msgspec.Struct, frozen=True, gc=False):
    """A choice of concepts by a property: http://hl7.org/fhir/R4/valueset-filter-operator.html"""

    property: str
    op: str
    value: str


class Include(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """What a value set draws in, or leaves out: concepts listed or filtered from a system, of which also in `value_set`s."""

    system: str = ""
    version: str = ""
    concept: tuple[Concept, ...] = ()
    filter: tuple[Filter, ...] = ()
    value_set: tuple[str, ...] = ()


class Contained(msgspec.Struct, frozen=True, omit_defaults=True):
    """One code of an expansion that a package brings."""

    system: str
    code: str
    display: str = ""


class ValueSet(msgspec.Struct, frozen=True, omit_defaults=True):
    """`expansion` is kept only where there is no `include` to compute the codes from."""

    url: str
    version: str = ""
    include: tuple[Include, ...] = ()
    exclude: tuple[Include, ...] = ()
    expansion: tuple[Contained, ...] = ()


def code_system(resource: Mapping[str, Any]) -> CodeSystem:
    """The record of a CodeSystem resource. Raises msgspec.ValidationError where it is none by its shape."""
    kept = {name: resource[name] for name in _KEPT if name in resource}
    return msgspec.convert({**kept, "concept": [_concept(each) for each in resource.get("concept", [])]}, CodeSystem)


def value_set(resource: Mapping[str, Any]) -> ValueSet:
    """The record of a ValueSet resource. Raises msgspec.ValidationError where it is none by its shape."""
    compose = resource.get("compose", {})
    listed = resource.get("expansion", {}).get("contains", []) if "include" not in compose else []
    return msgspec.convert(
        {
            "url": resource.get("url", ""),
            "version": resource.get("version", ""),
            "include": [_include(each) for each in compose.get("include", [])],
            "exclude": [_include(each) for each in compose.get("exclude", [])],
            "expansion": [each for top in listed for each in _flat(top) if "code" in each and "system" in each],
        },
        ValueSet,
    )


_KEPT = ("url", "version", "content", "caseSensitive", "supplements", "valueSet")


def _concept(concept: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "code": concept["code"],
        "display": concept.get("display", ""),
        "other": [each["value"] for each in concept.get("designation", []) if each.get("value")],
        "property": [_property(each) for each in concept.get("property", [])],
        "concept": [_concept(each) for each in concept.get("concept", [])],
    }


def _property(property_: Mapping[str, Any]) -> dict[str, Any]:
    value = next((value for name, value in property_.items() if name.startswith("value")), None)
    return {"code": property_["code"], "value": value.get("code") if isinstance(value, dict) else value}


def _include(include: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "system": include.get("system", ""),
        "version": include.get("version", ""),
        "concept": [_concept(each) for each in include.get("concept", [])],
        "filter": include.get("filter", []),
        "valueSet": include.get("valueSet", []),
    }


def _flat(contains: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    own = [] if contains.get("abstract") else [contains]
    return own + [each for below in contains.get("contains", []) for each in _flat(below)]
