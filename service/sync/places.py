"""Places in resources that come from elsewhere: what FHIR does not name may be anything, and is not shown."""

from __future__ import annotations

import re
from functools import cache
from itertools import takewhile
from typing import Final

from service.fhir import definitions

# One step: a name with "_" before it where it is of a primitive's extensions, and a position.
_STEP: Final = re.compile(r"_?([A-Za-z][A-Za-z0-9]*)(?:\[[0-9]{1,6}\])?")


def shown(place: str) -> str:
    """A place as "Observation.code.coding[0]" or "code.coding[0]", cut before the first step that R4 does not know."""
    return ".".join(takewhile(_is_known, place.split(".")))


def _is_known(step: str) -> bool:
    found = _STEP.fullmatch(step)
    return found is not None and found[1] in _names()


@cache
def _names() -> frozenset[str]:
    """The names of all types and elements of R4."""
    types = definitions.load().types
    steps = {step for each in types.values() for path in each.elements for step in path.split(".")}
    told = {name for each in types.values() for path in each.elements for name in _told_choices(each.elements[path], path)}
    return frozenset({*types, *steps, *told})


def _told_choices(facts: definitions.Facts, path: str) -> list[str]:
    last = path.rpartition(".")[2]
    stem = last.removesuffix("[x]")
    return [stem, *(stem + code[0].upper() + code[1:] for code in facts.types)] if stem != last else []
