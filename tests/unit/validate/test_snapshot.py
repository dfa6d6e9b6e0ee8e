"""Snapshots against those that HL7's publishers made of the same differentials, and the rules of the making one by one."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.fhir.definitions import CORE
from service.fhir.structures import (
    FHIRPATH_SYSTEM,
    MAX_VALUE_SET,
    ElementBinding,
    ElementDefinition,
    Slicing,
    StructureDefinition,
    from_resource,
)
from service.validate import packages
from service.validate.snapshot import BY_TYPE, BY_URL, MOST_STEPS, NoSnapshot, Structures, snapshot
from tests.support import registry
from tests.support.registry import EXTENSIONS, GENOMICS, MCODE, R4_CORE, US_CORE

Json = dict[str, Any]

# Where the same URL is in several, the last has it: R4's own extensions are as R4 has them.
PACKAGES = (EXTENSIONS, GENOMICS, US_CORE, MCODE, R4_CORE)
KNOWN = {
    url: entry["reason"]
    for entry in yaml.safe_load(Path(__file__).with_name("known_failures_snapshot.yaml").read_text(encoding="utf-8"))
    for url in entry["urls"]
}

core = packages.Registry([packages.core()]).structure


# What was published -------------------------------------------------------------------------------------------------


@cache
def definitions(package: str) -> dict[str, Json]:
    """The StructureDefinitions of a package by URL. Raises Missing."""
    found = {}
    with tarfile.open(registry.fhir_package(package)) as archive:
        for member in archive:
            if member.name.startswith("package/StructureDefinition-"):
                file = archive.extractfile(member)
                assert file is not None
                resource = json.load(file, parse_float=Decimal)
                found[resource["url"]] = _without_type_extensions(resource)
    return found


def _without_type_extensions(resource: Json) -> Json:
    """Publishers disagree on the extension that tells which FHIR type an id or a primitive's value is."""
    for view in ("snapshot", "differential"):
        for element in resource.get(view, {}).get("element", []):
            for type_ in element.get("type", []):
                if type_.get("code", "").startswith(FHIRPATH_SYSTEM):
                    type_.pop("extension", None)
    return resource


@pytest.fixture(scope="module")
def published() -> dict[str, Json]:
    """The definitions of all packages by URL."""
    try:
        return {url: resource for package in PACKAGES for url, resource in definitions(package).items()}
    except registry.Missing as missing:
        pytest.skip(str(missing))


def both_views(package: str) -> Iterator[Json]:
    for resource in definitions(package).values():
        if {"derivation", "snapshot", "differential"} <= resource.keys():
            yield resource


def bare(resource: Json) -> StructureDefinition:
    """The definition as its author wrote it: a differential only."""
    return from_resource({key: value for key, value in resource.items() if key != "snapshot"})


def finder(published: dict[str, Json], *, bare_profiles: bool) -> Structures:
    @cache
    def structure(url: str) -> StructureDefinition | None:
        resource = published.get(url.partition("|")[0])
        if resource is None:
            return None
        return bare(resource) if bare_profiles and resource.get("derivation") == "constraint" else from_resource(resource)

    return structure


@pytest.mark.network
@pytest.mark.parametrize("bare_profiles", [False, True], ids=["on published bases", "on bases made here too"])
@pytest.mark.parametrize("package", PACKAGES)
def test_snapshots_say_what_the_published_ones_say(package: str, bare_profiles: bool, published: dict[str, Json]) -> None:
    structure = finder(published, bare_profiles=bare_profiles)
    differing = {resource["url"] for resource in both_views(package) if not agrees(resource, structure)}
    known = KNOWN.keys() & definitions(package).keys()
    assert differing - known == set(), "not as published"
    assert known - differing == set(), "as published now: no known failures any more"


@pytest.mark.network
@pytest.mark.parametrize("package", PACKAGES)
def test_ids_in_the_differential_are_not_needed(package: str, published: dict[str, Json]) -> None:
    structure = finder(published, bare_profiles=False)
    for resource in both_views(package):
        elements = [{key: value for key, value in each.items() if key != "id"} for each in resource["differential"]["element"]]
        anonymous = {**resource, "differential": {"element": elements}}
        assert made(anonymous, structure) == made(resource, structure), resource["url"]


def made(resource: Json, structure: Structures) -> tuple[ElementDefinition, ...] | str:
    try:
        return snapshot(bare(resource), structure)
    except NoSnapshot as reason:
        return str(reason)


def agrees(resource: Json, structure: Structures) -> bool:
    ours = made(resource, structure)
    if isinstance(ours, str):
        return False
    said = contents(ours)
    theirs = contents(from_resource(resource).snapshot)
    unfolded = theirs.keys() - said.keys()
    return said == {id_: theirs[id_] for id_ in theirs if id_ not in unfolded or not _is_idle(id_, said, bare(resource))}


def _is_idle(id_: str, said: dict[str, Json], definition: StructureDefinition) -> bool:
    """Is this a part of an element that the publisher unfolded although the differential says nothing of its parts?"""
    within = f"{id_.rpartition('.')[0]}."
    return not any(each.startswith(within) for each in [*said, *(element.id for element in definition.differential)])


# What an element says -----------------------------------------------------------------------------------------------


def contents(elements: tuple[ElementDefinition, ...]) -> dict[str, Json]:
    """What each element demands, by id, with what follows from its slices said in one way."""
    said = {element.id: content(element) for element in elements}
    for id_, slices in _slices(said).items():
        _settle(id_, said[id_], slices)
    return said


def content(element: ElementDefinition) -> Json:
    slicing = element.slicing
    # An extension is sliced by its URL, said or not.
    if element.path.endswith((".extension", ".modifierExtension")) and slicing == BY_URL:
        slicing = None
    return {
        "min": element.min,
        "max": element.max,
        "type": {each.code: (set(each.profile), set(each.target_profile)) for each in element.type},
        "fixed": element.fixed,
        "pattern": element.pattern,
        "slicing": slicing and (set(slicing.discriminator), slicing.rules, slicing.ordered),
        "binding": element.binding and (element.binding.strength, element.binding.value_set.partition("|")[0]),
        "constraint": {each.key for each in element.constraint},
        "refers to": element.content_reference.partition("#")[2],
    }


def _slices(said: dict[str, Json]) -> dict[str, list[Json]]:
    """The slices of each sliced element, without slices of slices."""
    found: dict[str, list[Json]] = {}
    for id_, each in said.items():
        parent, _, step = id_.rpartition(".")
        name, colon, slice_name = step.partition(":")
        if colon and "/" not in slice_name:
            found.setdefault(f"{parent}.{name}", []).append(each)
    return {id_: slices for id_, slices in found.items() if id_ in said}


def _settle(id_: str, whole: Json, slices: list[Json]) -> None:
    """Publishers say or leave out what follows: how many the slices ask for, and the one type of a choice that has to be."""
    whole["min"] = max(whole["min"], sum(each["min"] for each in slices))
    needed = [each for each in slices if each["min"]]
    if id_.endswith("[x]") and whole["max"] == "1" and needed:
        whole["type"], whole["slicing"] = needed[0]["type"], None


# Rule by rule -------------------------------------------------------------------------------------------------------


def profile(*elements: Json, of: str = "Observation", **more: Any) -> StructureDefinition:
    resource = {
        "url": "http://example.org/profile",
        "name": "Example",
        "kind": "resource",
        "type": of,
        "derivation": "constraint",
        "baseDefinition": CORE + of,
        "differential": {"element": list(elements)},
    }
    return from_resource(resource | more)


def by_id(definition: StructureDefinition, structure: Structures = core) -> dict[str, ElementDefinition]:
    return {element.id: element for element in snapshot(definition, structure)}


def test_without_a_word_of_its_own_a_definition_has_what_its_base_has() -> None:
    patient = core(f"{CORE}Patient")
    assert patient is not None
    assert snapshot(patient, core) is patient.snapshot
    assert [each.id for each in snapshot(profile(of="Patient"), core)] == [each.id for each in patient.snapshot]


def test_a_deep_path_unfolds_the_types_on_its_way() -> None:
    elements = by_id(profile({"path": "Observation.code.coding.system", "min": 1}))
    assert elements["Observation.code.coding.system"].min == 1
    assert elements["Observation.code.coding.system"].type[0].code == "uri"
    assert "Observation.category.text" not in elements


def test_parts_of_a_profiled_type_come_from_the_profile() -> None:
    elements = by_id(profile({"path": "Observation.referenceRange.low.comparator", "mustSupport": True}))
    assert elements["Observation.referenceRange.low.comparator"].max == "0"


def test_a_content_reference_is_unfolded_when_its_parts_are_constrained() -> None:
    elements = by_id(profile({"path": "Observation.component.referenceRange.text", "min": 1}))
    assert elements["Observation.component.referenceRange.text"].min == 1
    assert elements["Observation.referenceRange.text"].min == 0
    assert elements["Observation.component.referenceRange"].content_reference == ""
    assert elements["Observation.component.referenceRange"].type[0].code == "BackboneElement"


def test_a_content_reference_still_leads_home_from_another_resource() -> None:
    entry = {"path": "Bundle.entry.resource", "type": [{"code": "Observation"}]}
    elements = by_id(profile(entry, {"path": "Bundle.entry.resource.component.referenceRange.text", "min": 1}, of="Bundle"))
    assert elements["Bundle.entry.resource.component.referenceRange.text"].min == 1
    assert elements["Bundle.entry.link"].content_reference == f"{CORE}Bundle#Bundle.link"


def test_slices_follow_their_whole_and_start_from_the_base() -> None:
    by_code = {"discriminator": [{"type": "pattern", "path": "code"}], "rules": "closed"}
    elements = by_id(
        profile(
            {"path": "Observation.component", "slicing": by_code, "min": 2},
            {"path": "Observation.component", "sliceName": "a", "min": 1},
            {"path": "Observation.component.code", "patternCodeableConcept": {"text": "a"}},
            {"path": "Observation.component", "sliceName": "b", "max": "1"},
            {"path": "Observation.component.interpretation", "max": "0"},
        )
    )
    wholes = [id_ for id_ in elements if elements[id_].path == "Observation.component"]
    assert wholes == ["Observation.component", "Observation.component:a", "Observation.component:b"]
    assert [elements[id_].min for id_ in wholes] == [2, 1, 0]
    assert [elements[id_].max for id_ in wholes] == ["*", "*", "1"]
    assert elements["Observation.component:a.code"].pattern == {"text": "a"}
    assert elements["Observation.component:a"].slicing is None
    assert elements["Observation.component:a.interpretation"].max == "*"


def test_a_slice_of_a_slice_starts_from_that_slice() -> None:
    elements = by_id(
        profile(
            {"path": "Observation.component", "slicing": {"rules": "open"}},
            {"path": "Observation.component", "sliceName": "b"},
            {"path": "Observation.component", "sliceName": "a", "slicing": {"rules": "open"}},
            {"path": "Observation.component.dataAbsentReason", "max": "0"},
            {"path": "Observation.component", "sliceName": "c"},
            {"path": "Observation.component", "sliceName": "a/deep"},
        )
    )
    assert elements["Observation.component:a/deep.dataAbsentReason"].max == "0"
    slices = [each.slice_name for each in elements.values() if each.path == "Observation.component"]
    assert slices == ["", "b", "a", "a/deep", "c"]


def test_without_ids_parts_belong_to_the_slice_before_them() -> None:
    elements = by_id(
        profile(
            {"path": "Observation.component", "sliceName": "a"},
            {"path": "Observation.component.code.coding", "sliceName": "loinc"},
            {"path": "Observation.component.code.coding.system", "min": 1},
            {"path": "Observation.component", "sliceName": "b"},
            {"path": "Observation.component.code.coding.code", "min": 1},
        )
    )
    assert elements["Observation.component:a.code.coding:loinc.system"].min == 1
    assert elements["Observation.component:b.code.coding.code"].min == 1
    assert "Observation.component:b.code.coding:loinc" not in elements


def test_a_type_in_the_name_slices_the_choice() -> None:
    elements = by_id(profile({"path": "Observation.valueQuantity"}, {"path": "Observation.valueQuantity.code", "min": 1}))
    assert elements["Observation.value[x]"].slicing == BY_TYPE
    assert len(elements["Observation.value[x]"].type) > 1
    assert [each.code for each in elements["Observation.value[x]:valueQuantity"].type] == ["Quantity"]
    assert elements["Observation.value[x]:valueQuantity.code"].min == 1
    assert elements["Observation.value[x]:valueQuantity.code"].path == "Observation.value[x].code"


def test_slicing_a_choice_need_not_tell_how() -> None:
    closed = {"path": "Observation.value[x]", "slicing": {"rules": "closed"}}
    elements = by_id(profile(closed, {"path": "Observation.value[x]", "sliceName": "valueString", "max": "1"}))
    assert elements["Observation.value[x]"].slicing == Slicing(BY_TYPE.discriminator, rules="closed")
    assert [each.code for each in elements["Observation.value[x]:valueString"].type] == ["string"]


def test_a_type_in_the_name_is_the_choice_itself_where_no_other_is_left() -> None:
    narrowed = {"path": "Observation.value[x]", "type": [{"code": "Quantity"}]}
    elements = by_id(profile(narrowed, {"path": "Observation.valueQuantity.code", "min": 1}))
    assert elements["Observation.value[x].code"].min == 1
    assert elements["Observation.value[x]"].slicing is None


def test_a_choice_has_only_what_all_types_have() -> None:
    slice_ = {"path": "Observation.value[x].extension", "sliceName": "one", "max": "1"}
    assert by_id(profile(slice_))["Observation.value[x].extension:one"].max == "1"
    with pytest.raises(NoSnapshot, match=r"constrains Observation\.value\[x\]\.code, which its base does not have"):
        snapshot(profile({"path": "Observation.value[x].code", "min": 1}), core)


def test_an_extension_is_sliced_by_its_url_and_has_the_parts_of_its_definition() -> None:
    url = f"{CORE}patient-birthPlace"
    born = {"path": "Patient.extension", "sliceName": "born", "type": [{"code": "Extension", "profile": [url]}]}
    elements = by_id(profile(born, {"path": "Patient.extension.valueAddress.country", "min": 1}, of="Patient"))
    assert elements["Patient.extension"].slicing == BY_URL
    assert elements["Patient.extension:born"].max == "1"
    assert elements["Patient.extension:born.url"].fixed == url
    assert elements["Patient.extension:born.value[x].country"].min == 1


def test_what_the_differential_says_goes_before_the_base() -> None:
    rule = {"key": "obs-6", "severity": "warning", "human": "", "expression": "true"}
    extra = {"key": "own-1", "severity": "error", "human": "", "expression": "true"}
    elements = by_id(
        profile(
            {"path": "Observation", "constraint": [rule, extra]},
            {"path": "Observation.status", "fixedCode": "final", "binding": {"strength": "required"}},
            {"path": "Observation.subject", "type": [{"code": "Reference", "targetProfile": [f"{CORE}Patient"]}]},
        )
    )
    rules = elements["Observation"].constraint
    assert [each.severity for each in rules if each.key == "obs-6"] == ["warning"]
    assert {"obs-7", "own-1", "dom-2"} <= {each.key for each in rules}
    status = elements["Observation.status"]
    assert (status.fixed, status.min, status.max, status.is_modifier) == ("final", 1, "1", True)
    assert status.binding is not None
    assert status.binding.value_set.startswith("http://hl7.org/fhir/ValueSet/observation-status")
    assert elements["Observation.subject"].type[0].target_profile == (f"{CORE}Patient",)


def test_what_a_base_profile_says_is_kept() -> None:
    outer = {"url": MAX_VALUE_SET, "valueCanonical": "http://all"}
    by_system = {"discriminator": [{"type": "value", "path": "system"}], "rules": "open"}
    by_type = {"discriminator": [{"type": "pattern", "path": "type"}], "rules": "closed"}
    base = profile(
        {"path": "Patient.identifier", "mustSupport": True, "slicing": by_system},
        {"path": "Patient.maritalStatus", "binding": {"strength": "extensible", "valueSet": "http://a", "extension": [outer]}},
        of="Patient",
        url="http://example.org/base",
    )
    derived = profile(
        {"path": "Patient.identifier", "min": 1, "slicing": by_type},
        {"path": "Patient.maritalStatus", "binding": {"strength": "required", "valueSet": "http://b"}},
        of="Patient",
        baseDefinition=base.url,
    )
    elements = by_id(derived, lambda url: base if url == base.url else core(url))
    identifier = elements["Patient.identifier"]
    assert identifier.slicing is not None
    assert identifier.must_support
    assert [each.path for each in identifier.slicing.discriminator] == ["system", "type"]
    assert identifier.slicing.rules == "closed"
    assert elements["Patient.maritalStatus"].binding == ElementBinding("required", "http://b", "http://all")


def test_a_binding_goes_with_the_types_that_could_be_bound() -> None:
    elements = by_id(profile({"path": "Observation.component.value[x]", "type": [{"code": "boolean"}]}))
    assert elements["Observation.component.value[x]"].binding is None


def test_a_type_adds_elements() -> None:
    logical = profile(
        {"path": "Case"},
        {"path": "Case.step", "max": "*", "type": [{"code": "BackboneElement"}]},
        {"path": "Case.step.note", "min": 1, "type": [{"code": "Annotation"}]},
        {"path": "Case.step.step", "contentReference": "#Case.step"},
        of="http://example.org/Case",
        kind="logical",
        derivation="specialization",
        baseDefinition=f"{CORE}Element",
    )
    elements = by_id(logical)
    assert list(elements)[:4] == ["Case", "Case.id", "Case.extension", "Case.step"]
    assert (elements["Case.step"].min, elements["Case.step"].max) == (0, "*")
    assert elements["Case.step.step"].content_reference == "#Case.step"


# What can't be made -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("definition", "sentence"),
    [
        (profile(baseDefinition="http://example.org/none"), "builds on http://example.org/none, which is not there"),
        (profile(baseDefinition=""), "has neither a snapshot nor a base"),
        (profile({"path": "Observation.colour", "min": 1}), r"constrains Observation\.colour, which its base does not have"),
        (profile({"path": "Patient.name", "min": 1}), "is on Observation, but its differential on Patient"),
        (profile({"path": "Observation" + ".extension" * MOST_STEPS}), f"more than {MOST_STEPS} steps deep"),
    ],
)
def test_what_is_missing_is_told(definition: StructureDefinition, sentence: str) -> None:
    with pytest.raises(NoSnapshot, match=sentence):
        snapshot(definition, core)


def test_a_definition_that_builds_on_itself_is_refused() -> None:
    one = profile(url="http://example.org/one", baseDefinition="http://example.org/two")
    two = profile(url="http://example.org/two", baseDefinition="http://example.org/one")
    with pytest.raises(NoSnapshot, match="/one builds on itself"):
        snapshot(one, {one.url: one, two.url: two}.get)


def test_a_chain_without_end_is_refused() -> None:
    def structure(url: str) -> StructureDefinition:
        return profile(url=url, baseDefinition=f"{url}0")

    with pytest.raises(NoSnapshot, match="builds on more than"):
        snapshot(structure("http://example.org/1"), structure)


def test_a_profile_may_name_itself_deeper_down() -> None:
    url = "http://example.org/extension"
    own = {"code": "Extension", "profile": [url]}
    definition = profile(
        {"path": "Extension.extension", "sliceName": "inner", "type": [own]},
        {"path": "Extension.extension.valueString", "min": 1},
        of="Extension",
        kind="complex-type",
        url=url,
    )
    inner = by_id(definition, lambda each: definition if each == url else core(each))["Extension.extension:inner"]
    assert inner.type[0].profile == (url,)
