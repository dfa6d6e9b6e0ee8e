"""Element paths: from the names that JSON gives to elements to the names that FHIRPath knows."""

from __future__ import annotations

from functools import lru_cache

from service.fhir.definitions import UnknownElement, choice_name, load


def fhirpath(type_name: str, path: str) -> str:
    """The FHIRPath of a JSON path: ("Observation", "component[1].valueQuantity.unit") gives "component[1].value.unit".

    FHIRPath knows a choice by its stem only: http://hl7.org/fhir/R4/fhirpath.html#polymorphism. A step that the type
    does not have stays as it is, with all that follow it.
    """
    out: list[str] = []
    above = ""
    for step in path.split("."):
        name, bracket, index = step.partition("[")
        out.append(_stems(type_name, above).get(name, name) + bracket + index)
        above = f"{above}.{name}" if above else name
    return ".".join(out)


@lru_cache(maxsize=4096)
def _stems(type_name: str, above: str) -> dict[str, str]:
    """The names that the choices below a path have in JSON, and their stems; none where there is no such path."""
    try:
        choices = [each for each in load().children(type_name, above) if each.is_choice]
    except UnknownElement:
        return {}
    return {choice_name(each, code): each.name.removesuffix("[x]") for each in choices for code in each.types}
