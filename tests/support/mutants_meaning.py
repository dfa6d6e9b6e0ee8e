"""Mutators that break what values mean: codes, units, references, extensions, contained resources, narrative, meta."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from random import Random
from typing import Any, Final

from tests.support.elements import Json, Mutator, Node, Spot, nodes, nodes_of, pick, values

R4: Final = "http://hl7.org/fhir"
UCUM: Final = "http://unitsofmeasure.org"


def _put(kind: str, when: Callable[[Json], bool] = lambda _: True, /, **new: Any) -> Mutator:
    """Puts these members into one object of a kind; None as a value takes the member away."""

    def mutate(resource: Json, random: Random) -> Json | None:
        if node := pick(random, [node for node in nodes_of(resource, kind) if when(node.content)]):
            node.content.update({key: value for key, value in deepcopy(new).items() if value is not None})
            for key in [key for key, value in new.items() if value is None]:
                node.content.pop(key, None)
            return resource
        return None

    return mutate


# Terminology


def _bound(resource: Json, strength: str, *types: str) -> list[Spot]:
    return [spot for spot in values(resource, *types) if spot.element.strength == strength]


def required_code(change: Callable[[str], str]) -> Mutator:
    def mutate(resource: Json, random: Random) -> Json | None:
        spots = [spot for spot in _bound(resource, "required", "code") if change(spot.value) != spot.value]
        if spot := pick(random, spots):
            spot.put(change(spot.value))
            return resource
        return None

    return mutate


def concept(strength: str, *codings: Json) -> Mutator:
    """Other codings in a CodeableConcept under a binding of this strength."""

    def mutate(resource: Json, random: Random) -> Json | None:
        if spot := pick(random, _bound(resource, strength, "CodeableConcept")):
            spot.put({"coding": deepcopy(list(codings))} if codings else {"text": "x"})
            return resource
        return None

    return mutate


def unknown_code_of(prefix: str) -> Mutator:
    """A code that the coding's own system, one of HL7's, does not have."""

    def mutate(resource: Json, random: Random) -> Json | None:
        owned = [node for node in nodes_of(resource, "Coding") if _is_of(node, prefix)]
        if node := pick(random, owned):
            node.content.pop("display", None)
            node.content["code"] = "bogus"
            return resource
        return None

    return mutate


def _is_of(node: Node, prefix: str) -> bool:
    return str(node.content.get("system", "")).startswith(prefix) and "code" in node.content


def language(value: str) -> Mutator:
    def mutate(resource: Json, _: Random) -> Json:
        resource["language"] = value
        return resource

    return mutate


TERMINOLOGY: Final[dict[str, Mutator]] = {
    "required-code-unknown": required_code(lambda _: "bogus"),
    "required-code-in-capitals": required_code(str.upper),
    "required-code-with-dash": required_code(lambda old: f"{old}-"),
    "required-concept-of-other-system": concept("required", {"system": "http://example.org/x", "code": "final"}),
    "required-concept-as-text": concept("required"),
    "required-concept-without-code": concept("required", {"display": "x"}),
    "unknown-v3-code": unknown_code_of("http://terminology.hl7.org/CodeSystem/v3-"),
    "unknown-v2-code": unknown_code_of("http://terminology.hl7.org/CodeSystem/v2-"),
    "unknown-hl7-code": unknown_code_of("http://terminology.hl7.org/CodeSystem/"),
    "unknown-fhir-code": unknown_code_of(f"{R4}/"),
    "language-that-is-none": language("no-such-language"),
    "coding-system-is-value-set": _put("Coding", system=f"{R4}/ValueSet/observation-status"),
    "coding-system-relative": _put("Coding", lambda c: "system" in c, system="x/y"),
    "coding-display-wrong": _put(
        "Coding", system="http://terminology.hl7.org/CodeSystem/v3-NullFlavor", code="UNK", display="Something else"
    ),
    "identifier-use-wrong": _put("Identifier", use="primary"),
    "telecom-system-wrong": _put("ContactPoint", system="mail"),
    "name-use-wrong": _put("HumanName", use="work"),
    "quantity-comparator-wrong": _put("Quantity", comparator="=="),
    "narrative-status-wrong": _put("Narrative", status="full"),
    "mime-type-wrong": _put("Attachment", contentType="not a mime type"),
    "currency-wrong": _put("Money", currency="EURO"),
}

# Quantities

_PLAIN: Final = {"value": 5, "unit": "mg", "system": UCUM, "code": "mg"}

QUANTITY: Final[dict[str, Mutator]] = {
    "ucum-that-is-none": _put("Quantity", value=5, unit="mgs", system=UCUM, code="mgs"),
    "ucum-of-two-units": _put("Quantity", value=5, unit="x", system=UCUM, code="mg mL"),
    "ucum-bracket-open": _put("Quantity", value=5, unit="x", system=UCUM, code="mm[Hg"),
    "quantity-code-without-system": _put("Quantity", value=5, unit="mg", code="mg", system=None),
    "quantity-value-twice": _put("Quantity", value=[5]),
    "ratio-without-denominator": _put("Ratio", numerator=_PLAIN, denominator=None),
    "ratio-empty-but-id": _put("Ratio", numerator=None, denominator=None, id="a"),
    "range-upside-down": _put("Range", low=_PLAIN | {"value": 9}, high=_PLAIN | {"value": 1}),
    "range-with-comparator": _put("Range", low=_PLAIN | {"comparator": "<"}),
    "period-upside-down": _put("Period", start="2021-05-01", end="2020-05-01"),
    "age-without-unit": _put("Age", value=5, unit=None, system=None, code=None),
    "age-of-other-system": _put("Age", value=5, system="http://example.org/x", code="a"),
    "sampled-data-without-period": _put("SampledData", period=None),
    "money-value-as-string": _put("Money", value="5"),
}

# References


def wrong_target(resource: Json, random: Random) -> Json | None:
    """A resource type that the element does not take."""
    spots = [spot for spot in values(resource, "Reference") if spot.element.targets and "Resource" not in spot.element.targets]
    literal = [spot for spot in spots if "reference" in spot.value and not spot.value["reference"].startswith("#")]
    if spot := pick(random, literal):
        other = next(name for name in ("Binary", "Basic", "Slot") if name not in spot.element.targets)
        spot.put({"reference": f"{other}/1"})
        return resource
    return None


def wrong_contained_target(resource: Json, random: Random) -> Json | None:
    spots = [spot for spot in values(resource, "Reference") if spot.element.targets and "Resource" not in spot.element.targets]
    free = [spot for spot in spots if "Slot" not in spot.element.targets]
    if "contained" in resource or not free:
        return None
    slot = {"resourceType": "Slot", "id": "s1", "schedule": {"reference": "Schedule/1"}, "status": "free"}
    resource["contained"] = [slot | {"start": "2021-01-01T10:00:00Z", "end": "2021-01-01T11:00:00Z"}]
    random.choice(free).put({"reference": "#s1"})
    return resource


def _literal(reference: Json) -> bool:
    return not str(reference.get("reference", "#")).startswith("#")


REFERENCE: Final[dict[str, Mutator]] = {
    "reference-to-wrong-type": wrong_target,
    "reference-to-wrong-contained": wrong_contained_target,
    "reference-type-contradicts": _put(
        "Reference", lambda r: str(r.get("reference", "")).startswith("Patient/"), type="Device"
    ),
    "reference-type-unknown": _put("Reference", type="Patienz"),
    "reference-without-type-in-url": _put("Reference", _literal, reference="Patienz/1"),
    "reference-without-id": _put("Reference", _literal, reference="Patient/"),
    "reference-with-too-many-parts": _put("Reference", _literal, reference="Patient/1/2/3"),
    "reference-with-blank": _put("Reference", _literal, reference="Patient/a b"),
    "reference-conditional": _put("Reference", _literal, reference="Practitioner?identifier=x|1"),
    "reference-as-string": _put("Reference", _literal, identifier="x"),
    "reference-to-nothing-contained": _put("Reference", reference="#nothing-here"),
}

# Extensions


def extension(*extensions: Any, modifier: bool = False) -> Mutator:
    """These extensions, on any object of the resource but those inside an extension."""

    def mutate(resource: Json, random: Random) -> Json:
        places = [node.content for node in nodes(resource) if not modifier or node.content is resource]
        name = "modifierExtension" if modifier else "extension"
        place = random.choice(places)
        place[name] = [*place.get(name, []), *deepcopy(extensions)]
        return resource

    return mutate


def root_extension(*extensions: Any, on: str = "") -> Mutator:
    """These extensions on a resource, or on one of type `on` alone."""

    def mutate(resource: Json, _: Random) -> Json | None:
        if on and resource["resourceType"] != on:
            return None
        resource["extension"] = [*resource.get("extension", []), *deepcopy(extensions)]
        return resource

    return mutate


OWN: Final = "https://example.org/fhir/StructureDefinition/own"
BIRTH_PLACE: Final = f"{R4}/StructureDefinition/patient-birthPlace"
NATIONALITY: Final = f"{R4}/StructureDefinition/patient-nationality"

EXTENSION: Final[dict[str, Mutator]] = {
    "extension-without-url": extension({"valueString": "x"}),
    "extension-url-empty": extension({"url": "", "valueString": "x"}),
    "extension-url-relative": extension({"url": "own", "valueString": "x"}),
    "extension-url-twice": extension({"url": [OWN], "valueString": "x"}),
    "extension-without-value": extension({"url": OWN}),
    "extension-value-and-parts": extension({"url": OWN, "valueString": "x", "extension": [{"url": "a", "valueString": "x"}]}),
    "extension-two-values": extension({"url": OWN, "valueString": "x", "valueBoolean": True}),
    "extension-value-of-no-type": extension({"url": OWN, "value": "x"}),
    "extension-value-of-unknown-type": extension({"url": OWN, "valueText": "x"}),
    "extension-value-invalid": extension({"url": OWN, "valueDate": "2021-13"}),
    "extension-part-without-url": extension({"url": OWN, "extension": [{"valueString": "x"}]}),
    "extension-as-object": lambda resource, _: resource | {"extension": {"url": OWN, "valueString": "x"}},
    "extension-of-hl7-unknown": extension({"url": f"{R4}/StructureDefinition/no-such-extension", "valueString": "x"}),
    "extension-in-wrong-place": root_extension({"url": BIRTH_PLACE, "valueAddress": {"city": "Ulm"}}),
    "extension-value-wrong-type": root_extension({"url": BIRTH_PLACE, "valueString": "Ulm"}, on="Patient"),
    "extension-too-often": root_extension(*[{"url": BIRTH_PLACE, "valueAddress": {"city": "Ulm"}}] * 2, on="Patient"),
    "extension-simple-for-complex": root_extension({"url": NATIONALITY, "valueString": "x"}, on="Patient"),
    "extension-part-unknown": root_extension(
        {"url": NATIONALITY, "extension": [{"url": "nation", "valueString": "x"}]}, on="Patient"
    ),
    "extension-no-modifier": extension(
        {"url": f"{R4}/StructureDefinition/data-absent-reason", "valueCode": "unknown"}, modifier=True
    ),
    "extension-code-wrong": extension({"url": f"{R4}/StructureDefinition/data-absent-reason", "valueCode": "bogus"}),
}

# Contained resources

_ORGANIZATION: Final = {"resourceType": "Organization", "id": "c9", "name": "x"}


def contain(*contained: Json, refer: str = "") -> Mutator:
    """These contained resources, and an extension that refers to one of them."""

    def mutate(resource: Json, _: Random) -> Json | None:
        if resource["resourceType"] in ("Bundle", "Binary", "Parameters"):
            return None
        resource["contained"] = [*resource.get("contained", []), *deepcopy(contained)]
        if refer:
            resource["extension"] = [*resource.get("extension", []), {"url": OWN, "valueReference": {"reference": refer}}]
        return resource

    return mutate


def _with_meta(**members: Any) -> Json:
    return _ORGANIZATION | {"meta": members}


CONTAINED: Final[dict[str, Mutator]] = {
    "contained-unreferenced": contain(_ORGANIZATION),
    "contained-without-id": contain({"resourceType": "Organization", "name": "x"}),
    "contained-id-twice": contain(_ORGANIZATION, _ORGANIZATION, refer="#c9"),
    "contained-in-contained": contain(_ORGANIZATION | {"contained": [_ORGANIZATION | {"id": "c8"}]}, refer="#c9"),
    "contained-with-version": contain(_with_meta(versionId="1"), refer="#c9"),
    "contained-with-update-time": contain(_with_meta(lastUpdated="2021-01-01T10:00:00Z"), refer="#c9"),
    "contained-with-security": contain(
        _with_meta(security=[{"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "HTEST"}]), refer="#c9"
    ),
    "contained-of-unknown-type": contain(_ORGANIZATION | {"resourceType": "Organisation"}, refer="#c9"),
    "contained-without-type": contain({"id": "c9", "name": "x"}, refer="#c9"),
    "contained-invalid": contain(_ORGANIZATION | {"name": 12}, refer="#c9"),
    "contained-bundle-in-list": contain(_ORGANIZATION | {"name": ["x"]}, refer="#c9"),
    "contained-id-with-hash": contain(_ORGANIZATION | {"id": "#c9"}, refer="#c9"),
}

# Narrative

XHTML: Final = 'xmlns="http://www.w3.org/1999/xhtml"'


def narrative(div: Any, **more: Any) -> Mutator:
    def mutate(resource: Json, _: Random) -> Json | None:
        if resource["resourceType"] in ("Bundle", "Binary", "Parameters"):
            return None
        resource["text"] = {"status": "generated", "div": div, **more}
        return resource

    return mutate


def _div(inside: str) -> str:
    return f"<div {XHTML}>{inside}</div>"


NARRATIVE: Final[dict[str, Mutator]] = {
    "narrative-script": narrative(_div("<p>x</p><script>x()</script>")),
    "narrative-style-element": narrative(_div("<style>p {}</style><p>x</p>")),
    "narrative-form": narrative(_div("<form><input type='text'/></form><p>x</p>")),
    "narrative-frame": narrative(_div("<iframe src='https://example.org'/><p>x</p>")),
    "narrative-event": narrative(_div("<p onclick='x()'>x</p>")),
    "narrative-unknown-attribute": narrative(_div("<p data-x='y'>x</p>")),
    "narrative-without-namespace": narrative("<div><p>x</p></div>"),
    "narrative-other-root": narrative(f"<p {XHTML}>x</p>"),
    "narrative-empty": narrative(_div("")),
    "narrative-blank": narrative(_div("  <p> </p> ")),
    "narrative-not-closed": narrative(f"<div {XHTML}><p>x</div>"),
    "narrative-unknown-entity": narrative(_div("<p>&nosuch;</p>")),
    "narrative-bare-ampersand": narrative(_div("<p>a & b</p>")),
    "narrative-plain-text": narrative("x"),
    "narrative-without-div": narrative(None),
    "narrative-unknown-element": narrative(_div("<p><blink>x</blink></p>")),
    "narrative-processing-instruction": narrative("<?xml version='1.0'?><!DOCTYPE x []>" + _div("<p>x</p>")),
}

# Meta

_VITAL: Final = {
    "resourceType": "Observation",
    "id": "weight",
    "meta": {"profile": [f"{R4}/StructureDefinition/bodyweight"]},
    "status": "final",
    "category": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "vital-signs"}]}],
    "code": {"coding": [{"system": "http://loinc.org", "code": "29463-7"}]},
    "subject": {"reference": "Patient/1"},
    "effectiveDateTime": "2021-03-04",
    "valueQuantity": {"value": 70, "unit": "kg", "system": UCUM, "code": "kg"},
}


def vital_sign(**changes: Any) -> Mutator:
    """The body weight of R4's vital signs with a change, in the place of any Observation."""

    def mutate(resource: Json, _: Random) -> Json | None:
        if resource["resourceType"] != "Observation":
            return None
        changed = deepcopy(_VITAL) | {"id": resource.get("id", "x"), "subject": resource.get("subject", {"display": "x"})}
        return {key: value for key, value in (changed | changes).items() if value is not None}

    return mutate


def meta(**changes: Any) -> Mutator:
    def mutate(resource: Json, _: Random) -> Json:
        return resource | {"meta": resource.get("meta", {}) | deepcopy(changes)}

    return mutate


META: Final[dict[str, Mutator]] = {
    "profile-relative": meta(profile=["StructureDefinition/x"]),
    "profile-as-string": meta(profile=f"{R4}/StructureDefinition/bodyweight"),
    "profile-of-other-type": meta(profile=[f"{R4}/StructureDefinition/familymemberhistory-genetic"]),
    "update-time-without-zone": meta(lastUpdated="2021-01-01T10:00:00"),
    "version-with-underscore": meta(versionId="a_b"),
    "tag-as-object": meta(tag={"code": "x"}),
    "source-with-blank": meta(source="a b"),
    "vital-without-category": vital_sign(category=None),
    "vital-without-subject": vital_sign(subject=None),
    "vital-without-time": vital_sign(effectiveDateTime=None),
    "vital-without-value": vital_sign(valueQuantity=None),
    "vital-as-text": vital_sign(valueQuantity=None, valueString="70 kg"),
    "vital-in-wrong-unit": vital_sign(valueQuantity={"value": 70, "unit": "cm", "system": UCUM, "code": "cm"}),
    "vital-of-other-unit-system": vital_sign(valueQuantity={"value": 70, "unit": "kg", "system": f"{R4}/x", "code": "kg"}),
    "vital-without-value-number": vital_sign(valueQuantity={"unit": "kg", "system": UCUM, "code": "kg"}),
    "vital-with-other-code": vital_sign(code={"coding": [{"system": "http://loinc.org", "code": "8302-2"}]}),
    "vital-in-wrong-category": vital_sign(
        category=[{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "survey"}]}]
    ),
    "vital-with-status-unknown": vital_sign(status="done"),
}
