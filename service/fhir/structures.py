"""StructureDefinitions as typed records, without their prose: what a rule can be made of, and nothing else.

Source: http://hl7.org/fhir/R4/structuredefinition.html and http://hl7.org/fhir/R4/elementdefinition.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

MAX_VALUE_SET = "http://hl7.org/fhir/StructureDefinition/elementdefinition-maxValueSet"
# The additional bindings of R5, in the two ways that R4 has them: http://hl7.org/fhir/R5/elementdefinition.html#additional
ADDITIONAL = (
    "http://hl7.org/fhir/5.0/StructureDefinition/extension-ElementDefinition.binding.additional",
    "http://hl7.org/fhir/tools/StructureDefinition/additional-binding",
)
# The type of a primitive's value, of `Element.id` and of `Extension.url` is told by this extension, not by `code`.
FHIR_TYPE = "http://hl7.org/fhir/StructureDefinition/structuredefinition-fhir-type"
FHIRPATH_SYSTEM = "http://hl7.org/fhirpath/System."
# On the elements of nearly every snapshot, and held natively by the walker: http://hl7.org/fhir/R4/element.html#invs
NATIVE = frozenset({"ele-1", "ext-1"})


class Discriminator(msgspec.Struct, frozen=True, gc=False):
    """What tells slices apart: http://hl7.org/fhir/R4/profiling.html#discriminator"""

    type: Literal["value", "exists", "pattern", "type", "profile"]
    path: str


class Slicing(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """How an element is sliced: http://hl7.org/fhir/R4/profiling.html#slicing"""

    discriminator: tuple[Discriminator, ...] = ()
    ordered: bool = False
    rules: Literal["closed", "open", "openAtEnd"] = "open"


class TypeRef(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, rename="camel"):
    """One type an element may have; `profile`: the value meets one of these, `target_profile`: what it refers to does."""

    code: str
    profile: tuple[str, ...] = ()
    target_profile: tuple[str, ...] = ()


class Constraint(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """An invariant: http://hl7.org/fhir/R4/elementdefinition-definitions.html#ElementDefinition.constraint"""

    key: str
    expression: str
    severity: Literal["error", "warning"] = "error"
    human: str = ""
    source: str = ""


class ElementBinding(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, rename="camel"):
    """A binding; `max_value_set` is the outer bound that an extensible or preferred one may have besides, `additional` are
    (strength, value set) of further ones that hold always."""

    strength: Literal["required", "extensible", "preferred", "example"]
    value_set: str = ""
    max_value_set: str = ""
    additional: tuple[tuple[str, str], ...] = ()


class ElementDefinition(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, rename="camel"):
    """One element of a snapshot or differential. `min` and `max` are None where a differential is silent on them.

    `fixed`, `pattern`, `min_value` and `max_value` are the JSON values of fixed[x], pattern[x], minValue[x], maxValue[x].
    """

    id: str
    path: str
    slice_name: str = ""
    slicing: Slicing | None = None
    min: int | None = None
    max: str | None = None
    type: tuple[TypeRef, ...] = ()
    content_reference: str = ""
    fixed: Any | UnsetType = UNSET
    pattern: Any | UnsetType = UNSET
    min_value: Any | UnsetType = UNSET
    max_value: Any | UnsetType = UNSET
    max_length: int | None = None
    constraint: tuple[Constraint, ...] = ()
    binding: ElementBinding | None = None
    must_support: bool = False
    is_modifier: bool = False


class Context(msgspec.Struct, frozen=True, gc=False):
    """Where an extension may stand: http://hl7.org/fhir/R4/defining-extensions.html#context"""

    type: Literal["fhirpath", "element", "extension"]
    expression: str


class StructureDefinition(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """A type, profile or extension. `differential` is kept only where the package gives no snapshot."""

    url: str
    kind: Literal["primitive-type", "complex-type", "resource", "logical"]
    type: str
    version: str = ""
    derivation: Literal["specialization", "constraint", ""] = ""
    base_definition: str = ""
    context: tuple[Context, ...] = ()
    context_invariant: tuple[str, ...] = ()
    snapshot: tuple[ElementDefinition, ...] = ()
    differential: tuple[ElementDefinition, ...] = ()


def from_resource(resource: Mapping[str, Any]) -> StructureDefinition:
    """The record of a StructureDefinition resource. Raises msgspec.ValidationError where it is none by its shape."""
    snapshot = _elements(resource.get("snapshot"))
    kept = {name: resource[name] for name in _KEPT if name in resource}
    return msgspec.convert(
        {**kept, "snapshot": snapshot, "differential": [] if snapshot else _elements(resource.get("differential"))},
        StructureDefinition,
    )


_KEPT = ("url", "kind", "type", "version", "derivation", "baseDefinition", "context", "contextInvariant")
_KEPT_OF_ELEMENT = (
    "id", "path", "sliceName", "slicing", "min", "max", "contentReference", "maxLength", "mustSupport", "isModifier",
)  # fmt: skip
_VALUES = ("fixed", "pattern", "minValue", "maxValue")


def _elements(view: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    return [_element(element) for element in (view or {}).get("element", [])]


def _element(element: Mapping[str, Any]) -> dict[str, Any]:
    out = {name: element[name] for name in _KEPT_OF_ELEMENT if name in element}
    out.setdefault("id", element["path"])
    out["type"] = [_type(each) for each in element.get("type", [])]
    out["constraint"] = [each for each in element.get("constraint", []) if "expression" in each and each["key"] not in NATIVE]
    if "binding" in element:
        out["binding"] = _binding(element["binding"])
    for name, value in element.items():
        for prefix in _VALUES:
            if name.startswith(prefix) and name[len(prefix) :][:1].isupper():
                out[prefix] = value
    return out


def _type(type_: Mapping[str, Any]) -> dict[str, Any]:
    code = type_.get("code", "")
    if code.startswith(FHIRPATH_SYSTEM):
        told = [each for each in type_.get("extension", []) if each.get("url") == FHIR_TYPE]
        # In R4 core the extension says "string" for Element.id, whatever the specification's text says of ids.
        code = (told[0].get("valueUrl") or told[0].get("valueUri")) if told else code.removeprefix(FHIRPATH_SYSTEM).lower()
    return {"code": code, "profile": type_.get("profile", []), "targetProfile": type_.get("targetProfile", [])}


def _binding(binding: Mapping[str, Any]) -> dict[str, Any]:
    outer = [each for each in binding.get("extension", []) if each.get("url") == MAX_VALUE_SET]
    limit = (outer[0].get("valueCanonical") or outer[0].get("valueUri") or "") if outer else ""
    value_set = binding.get("valueSet", "")
    more = [each for each in map(_additional, binding.get("extension", [])) if each]
    return {"strength": binding["strength"], "valueSet": value_set, "maxValueSet": limit, "additional": more}


def _additional(extension: Mapping[str, Any]) -> tuple[str, str] | None:
    """(strength, value set) of an additional binding, unless it holds in some usages only; None for all other extensions."""
    if extension.get("url") not in ADDITIONAL:
        return None
    parts = {each.get("url"): each for each in extension.get("extension", [])}
    purpose = parts.get("purpose", {}).get("valueCode")
    value_set = parts.get("valueSet", {}).get("valueCanonical")
    return (purpose, value_set) if purpose and value_set and "usage" not in parts else None
