"""Element paths: from the names that JSON gives to elements to the names that FHIRPath knows."""

from __future__ import annotations

from service.fhir.definitions import Definitions, UnknownElement


def fhirpath(definitions: Definitions, type_name: str, path: str) -> str:
    """The FHIRPath of a JSON path: ("Observation", "component[1].valueQuantity.unit") gives "component[1].value.unit".

    FHIRPath knows a choice by its stem only: http://hl7.org/fhir/R4/fhirpath.html#polymorphism. A step that the type
    does not have stays as it is, with all that follow it.
    """
    out: list[str] = []
    steps = path.split(".")
    for position, step in enumerate(steps):
        name, bracket, index = step.partition("[")
        try:
            stem = _stem(definitions, type_name, ".".join(one.partition("[")[0] for one in steps[:position]), name)
        except UnknownElement:
            return ".".join([*out, *steps[position:]])
        out.append(stem + bracket + index)
    return ".".join(out)


def _stem(definitions: Definitions, type_name: str, above: str, name: str) -> str:
    for element in definitions.children(type_name, above):
        if element.name == name:
            return name
        stem = element.name.removesuffix("[x]")
        if element.is_choice and any(name == stem + kind[0].upper() + kind[1:] for kind in element.types):
            return stem
    return name
