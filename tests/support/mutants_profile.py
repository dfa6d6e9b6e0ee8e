"""Mutators that break what a profile of mCODE adds to R4: must-haves, patterns, slices, bindings, targets, extensions."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import cache
from random import Random
from typing import Any, Final

from tests.support import registry
from tests.support.elements import Json, Mutator

PACKAGES: Final = (registry.US_CORE, registry.GENOMICS, registry.MCODE)
MCODE: Final = "http://hl7.org/fhir/us/mcode/StructureDefinition/"
OTHER_CODING: Final = {"system": "http://example.org/x", "code": "x"}
OTHER_CONCEPT: Final = {"coding": [OTHER_CODING]}

# Changes a resource in a place that a profile's element speaks of; False where there is nothing to change.
Change = Callable[[Json, Json, Random], bool]


@cache
def _profiles() -> dict[str, list[Json]]:
    """Elements of the snapshots of all profiles and extensions, by canonical URL."""
    found = {}
    for package in PACKAGES:
        for path in sorted(registry.unpacked(package).glob("StructureDefinition-*.json")):
            definition = json.loads(path.read_bytes())
            found[definition["url"]] = definition["snapshot"]["element"]
    return found


def _elements(resource: Json) -> Iterator[Json]:
    """What the resource's profile says of its members, their slices included; nothing of what lies deeper."""
    for url in resource.get("meta", {}).get("profile", [])[:1]:
        for element in _profiles().get(url, []):
            if element["path"].count(".") == 1:
                yield element


def _name(element: Json) -> str:
    return str(element["path"].rpartition(".")[2])


def _types(element: Json) -> list[str]:
    return [each["code"] for each in element.get("type", [])]


def where(condition: Callable[[Json], bool], change: Change) -> Mutator:
    """The change at one of the elements for which the condition holds."""

    def mutate(resource: Json, random: Random) -> Json | None:
        elements = [element for element in _elements(resource) if condition(element)]
        random.shuffle(elements)
        return resource if any(change(resource, element, random) for element in elements) else None

    return mutate


def _plain(element: Json) -> bool:
    return "sliceName" not in element


def _slice_of(name: str) -> Callable[[Json], bool]:
    return lambda element: "sliceName" in element and _name(element) == name


# Members


def drop(resource: Json, element: Json, _: Random) -> bool:
    name = _name(element).removesuffix("[x]")
    keys = [key for key in resource if key == name or (_name(element).endswith("[x]") and key.startswith(name))]
    for key in keys:
        del resource[key]
    return bool(keys)


def double(resource: Json, element: Json, _: Random) -> bool:
    items = resource.get(_name(element))
    if isinstance(items, list):
        items.append(deepcopy(items[0]))
    return isinstance(items, list)


def put(value: Any, *types: str) -> Change:
    """Another value for a member of one of these types that is there."""

    def change(resource: Json, element: Json, _: Random) -> bool:
        name = _name(element)
        if name not in resource or not set(types) & set(_types(element)):
            return False
        resource[name] = [deepcopy(value)] if isinstance(resource[name], list) else deepcopy(value)
        return True

    return change


def other_choice(resource: Json, element: Json, random: Random) -> bool:
    """value[x] of a type that R4 allows and the profile does not."""
    options = {"String": "x", "Boolean": True, "Integer": 3, "DateTime": "2021"}
    free = {suffix: value for suffix, value in options.items() if suffix[0].lower() + suffix[1:] not in _types(element)}
    if not free or not drop(resource, element, random):
        return False
    suffix = random.choice(list(free))
    resource[_name(element).removesuffix("[x]") + suffix] = free[suffix]
    return True


def other_target(resource: Json, element: Json, random: Random) -> bool:
    """A type that R4 allows there and the profile does not, or one that neither allows."""
    kinds = [url.rpartition("/")[2] for each in element.get("type", []) for url in each.get("targetProfile", [])]
    if any(kind in ("Resource", "Location", "Group") for kind in kinds):
        return False
    return put({"reference": "Location/1"}, "Reference")(resource, element, random)


# Slices


def _pattern(resource: Json, element: Json) -> Any:
    """What tells the items of a slice: the pattern of the slice itself or of its code."""
    elements = _profiles()[resource["meta"]["profile"][0]]
    inside = [each for each in (element, *elements) if each["id"] in (element["id"], element["id"] + ".code")]
    return next((each["patternCodeableConcept"] for each in inside if "patternCodeableConcept" in each), None)


def _codes(concept: Any) -> set[tuple[str, str]]:
    return {(each.get("system", ""), each.get("code", "")) for each in (concept or {}).get("coding", [])}


def _items(resource: Json, element: Json) -> list[Json]:
    wanted = _codes(_pattern(resource, element))
    items = resource.get(_name(element), [])
    return [item for item in items if wanted and wanted <= _codes(item.get("code", item))]


def no_slice(resource: Json, element: Json, _: Random) -> bool:
    gone = _items(resource, element) if element["min"] else []
    kept = [item for item in resource.get(_name(element), []) if item not in gone]
    resource[_name(element)] = kept or [OTHER_CONCEPT]
    return bool(gone)


def slice_twice(resource: Json, element: Json, _: Random) -> bool:
    found = _items(resource, element) if element["max"] == "1" else []
    resource.setdefault(_name(element), []).extend(deepcopy(found[:1]))
    return bool(found)


def slice_value(value: Json) -> Change:
    """Another value[x] in an item of a slice of components."""

    def change(resource: Json, element: Json, _: Random) -> bool:
        found = _items(resource, element)
        for item in found[:1]:
            for key in [key for key in item if key.startswith("value")]:
                del item[key]
            item.update(deepcopy(value))
        return bool(found)

    return change


# Extensions


def _extension_url(element: Json) -> str:
    return next((url for each in element.get("type", []) for url in each.get("profile", [])), "")


def _value_types(url: str) -> list[str]:
    values = [each for each in _profiles().get(url, []) if each["path"] == "Extension.value[x]" and each["max"] != "0"]
    return [name for each in values for name in _types(each)]


def extension(value: Json, times: int = 1) -> Change:
    """The profile's own extension with this value, which is of none of its types."""

    def change(resource: Json, element: Json, _: Random) -> bool:
        url = _extension_url(element)
        given = {key.removeprefix("value").lower() for key in value}
        if url not in _profiles() or given & {name.lower() for name in _value_types(url)}:
            return False
        others = [each for each in resource.get("extension", []) if each["url"] != url]
        resource["extension"] = [*others, *[{"url": url, **deepcopy(value)}] * times]
        return True

    return change


def extension_twice(resource: Json, element: Json, _: Random) -> bool:
    found = [each for each in resource.get("extension", []) if each["url"] == _extension_url(element)]
    resource.setdefault("extension", []).extend(deepcopy(found[:1]))
    return bool(found) and element["max"] == "1"


def extension_elsewhere(resource: Json, random: Random) -> Json | None:
    """An extension of mCODE's for conditions, on what is none."""
    if resource["resourceType"] in ("Condition", "Bundle"):
        return None
    url = f"{MCODE}mcode-histology-morphology-behavior"
    resource["extension"] = [*resource.get("extension", []), {"url": url, "valueCodeableConcept": OTHER_CONCEPT}]
    return resource


def claim(profile: str) -> Mutator:
    """Claims a profile for a resource that does not meet it."""

    def mutate(resource: Json, _: Random) -> Json | None:
        claimed = resource.get("meta", {}).get("profile", [])
        if not claimed or MCODE + profile in claimed:
            return None
        resource["meta"]["profile"] = [MCODE + profile]
        return resource

    return mutate


def _narrows_type(element: Json) -> bool:
    return _plain(element) and _name(element).endswith("[x]") and len(_types(element)) < 4


PROFILE: Final[dict[str, Mutator]] = {
    "profile-must-have-missing": where(lambda e: _plain(e) and e["min"] > 0 and e["base"]["min"] == 0, drop),
    "profile-once-only-twice": where(lambda e: _plain(e) and e["max"] == "1" and e["base"]["max"] == "*", double),
    "profile-pattern-other-code": where(lambda e: "patternCodeableConcept" in e, put(OTHER_CONCEPT, "CodeableConcept")),
    "profile-pattern-as-text": where(lambda e: "patternCodeableConcept" in e, put({"text": "x"}, "CodeableConcept")),
    "profile-required-code-other": where(
        lambda e: e.get("binding", {}).get("strength") == "required", put(OTHER_CONCEPT, "CodeableConcept")
    ),
    "profile-required-code-as-text": where(
        lambda e: e.get("binding", {}).get("strength") == "required", put({"text": "x"}, "CodeableConcept")
    ),
    "profile-required-status": where(lambda e: e.get("binding", {}).get("strength") == "required", put("bogus", "code")),
    "profile-value-of-other-type": where(_narrows_type, other_choice),
    "profile-target-other": where(_plain, other_target),
    "profile-category-slice-missing": where(_slice_of("category"), no_slice),
    "profile-component-slice-twice": where(_slice_of("component"), slice_twice),
    "profile-component-value-as-string": where(_slice_of("component"), slice_value({"valueString": "x"})),
    "profile-component-value-as-boolean": where(_slice_of("component"), slice_value({"valueBoolean": True})),
    "profile-component-value-as-period": where(_slice_of("component"), slice_value({"valuePeriod": {"start": "2021"}})),
    "profile-extension-as-string": where(_slice_of("extension"), extension({"valueString": "x"})),
    "profile-extension-as-number": where(_slice_of("extension"), extension({"valueDecimal": 1})),
    "profile-extension-without-value": where(_slice_of("extension"), extension({})),
    "profile-extension-twice": where(_slice_of("extension"), extension_twice),
    "profile-extension-elsewhere": extension_elsewhere,
    "profile-claims-cancer-patient": claim("mcode-cancer-patient"),
    "profile-claims-primary-cancer": claim("mcode-primary-cancer-condition"),
    "profile-claims-ecog": claim("mcode-ecog-performance-status"),
    "profile-claims-tumor-size": claim("mcode-tumor-size"),
    "profile-claims-bundle": claim("mcode-patient-bundle"),
}
