"""The common way in Python: models of fhir.resources (R4B), built by their constructors and dumped.

Every constructor validates. Concepts are built once for each term and shared, as a careful author would have it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from fhir.resources.R4B.age import Age
from fhir.resources.R4B.annotation import Annotation
from fhir.resources.R4B.bundle import Bundle, BundleEntry
from fhir.resources.R4B.codeableconcept import CodeableConcept
from fhir.resources.R4B.condition import Condition
from fhir.resources.R4B.extension import Extension
from fhir.resources.R4B.humanname import HumanName
from fhir.resources.R4B.identifier import Identifier
from fhir.resources.R4B.medicationadministration import MedicationAdministration, MedicationAdministrationDosage
from fhir.resources.R4B.meta import Meta
from fhir.resources.R4B.observation import Observation, ObservationReferenceRange
from fhir.resources.R4B.patient import Patient
from fhir.resources.R4B.procedure import Procedure
from fhir.resources.R4B.quantity import Quantity
from fhir.resources.R4B.reference import Reference
from fhir.resources.R4B.specimen import Specimen
from parts import ABSENT_URL, CASE_ID, ITEM_ID, PROFILES, RESOURCE_ID, UCUM, Identities, Json, codes, concepts, decode, moment

_table = cache(concepts)
_UNIT, _SEX = codes("units"), codes("sexes")
_DRUG_STATUS, _STATUS = codes("drug-statuses"), codes("procedure-statuses")
_ASSERTED = "http://hl7.org/fhir/StructureDefinition/condition-assertedDate"
_DUE_TO = "http://hl7.org/fhir/StructureDefinition/condition-dueTo"


def convert(raw: bytes) -> bytes:
    text: str = _bundle(decode(raw)).model_dump_json()
    return text.encode()


def _bundle(record: Json) -> Bundle:
    known = Identities(record)
    pairs = [(known.patient, _patient(record, known.patient))]
    for section, write in _WRITERS.items():
        pairs += [(url, write(item, url, known)) for url, item in zip(known.urls[section], record[section], strict=True)]
        if section == "treatments":
            pairs += _drugs(record, known)
    return Bundle(type="collection", entry=[BundleEntry(fullUrl=url, resource=resource) for url, resource in pairs])


def _drugs(record: Json, known: Identities) -> Iterator[tuple[str, Any]]:
    for treatment, parent, urls in zip(record["treatments"], known.urls["treatments"], known.drugs, strict=True):
        for drug, url in zip(treatment["drugs"], urls, strict=True):
            yield url, _drug(drug, treatment, url, parent, known)


@cache
def _concept(table: str, term: str) -> CodeableConcept:
    return CodeableConcept(**_table(table)[term])


def _claims(kind: str) -> Meta:
    return Meta(profile=[PROFILES[kind]])


def _identifier(item: Json, url: str) -> list[Identifier]:
    own = Identifier(system=RESOURCE_ID, value=url[9:])
    return [own, Identifier(system=ITEM_ID, value=item["id"])] if "id" in item else [own]


def _quantity(value: Any, unit: str) -> Quantity:
    return Quantity(value=value, unit=unit, system=UCUM, code=_UNIT[unit])


def _reference(url: str) -> Reference:
    return Reference(reference=url)


def _sites(item: Json) -> list[CodeableConcept] | None:
    return [_concept("sites", site) for site in item["sites"]] if "sites" in item else None


def _note(item: Json) -> list[Annotation] | None:
    return [Annotation(text=item["note"])] if "note" in item else None


def _patient(record: Json, url: str) -> Patient:
    person = record["patient"]
    return Patient(
        meta=Meta(source=record["source"], profile=[PROFILES["patient"]]),
        identifier=[*_identifier({}, url), Identifier(system=CASE_ID, value=record["case"])],
        name=[HumanName(extension=[Extension(url=ABSENT_URL, valueCode="masked")])],
        gender=_SEX[person["sex"]],
        birthDate=person["birthDate"],
        managingOrganization=Reference(display=person["hospital"]),
    )


def _diagnosis(item: Json, url: str, known: Identities) -> Condition:
    return Condition(
        meta=_claims("diagnosis"),
        extension=[Extension(url=_ASSERTED, valueDateTime=item["when"])],
        identifier=_identifier(item, url),
        clinicalStatus=_concept("clinical-statuses", item["status"]),
        verificationStatus=_concept("verification-statuses", item["verification"]),
        category=[_concept("condition-categories", "Cancer diagnosis")],
        code=_concept("diagnoses", item["diagnosis"]),
        bodySite=_sites(item),
        subject=_reference(known.patient),
        onsetAge=Age(value=item["age"], unit="a", system=UCUM, code="a"),
    )


def _condition(item: Json, url: str, known: Identities) -> Condition:
    due = item.get("dueTo")
    return Condition(
        meta=_claims("condition"),
        extension=[Extension(url=_DUE_TO, valueReference=_reference(known.by_id[due]))] if due else None,
        identifier=_identifier(item, url),
        clinicalStatus=_concept("clinical-statuses", item["status"]),
        verificationStatus=_concept("verification-statuses", item["verification"]),
        category=[_concept("condition-categories", "Problem list item")],
        severity=_concept("severities", item["severity"]) if "severity" in item else None,
        code=_concept("conditions", item["condition"]),
        bodySite=_sites(item),
        subject=_reference(known.patient),
        note=_note(item),
        **moment(item["when"], "onset", known.events),
        **(moment(item["until"], "abatement", known.events) if "until" in item else {}),
    )


def _procedure_as(item: Json, url: str, known: Identities, kinds: str, table: str, name: str) -> Procedure:
    return Procedure(
        identifier=_identifier(item, url),
        status=_STATUS[item["status"]],
        category=_concept(kinds, item["kind"]),
        code=_concept(table, item[name]),
        subject=_reference(known.patient),
        reasonReference=[_reference(known.by_id[one]) for one in item["because"]],
        bodySite=_sites(item),
        outcome=_concept("outcomes", item["outcome"]) if "outcome" in item else None,
        note=_note(item),
        **moment(item["when"], "performed", known.events),
    )


def _procedure(item: Json, url: str, known: Identities) -> Procedure:
    return _procedure_as(item, url, known, "procedure-kinds", "procedures", "procedure")


def _treatment(item: Json, url: str, known: Identities) -> Procedure:
    return _procedure_as(item, url, known, "treatment-kinds", "treatments", "treatment")


def _drug(item: Json, treatment: Json, url: str, parent: str, known: Identities) -> MedicationAdministration:
    return MedicationAdministration(
        meta=_claims("drug"),
        identifier=_identifier(item, url),
        partOf=[_reference(parent)],
        status=_DRUG_STATUS[item["status"]],
        medicationCodeableConcept=_concept("drugs", item["drug"]),
        subject=_reference(known.patient),
        dosage=MedicationAdministrationDosage(
            route=_concept("routes", item["route"]), dose=_quantity(item["dose"], item["unit"])
        ),
        **moment(item.get("when") or treatment["when"], "effective", known.events, required=True),
    )


def _specimen(term: str, known: Identities) -> Json:
    kind = Specimen(id="specimen", type=_concept("specimens", term), subject=_reference(known.patient))
    return {"contained": [kind], "specimen": _reference("#specimen")}


def _staging(item: Json, url: str, known: Identities) -> Observation:
    return Observation(
        meta=_claims("staging"),
        identifier=_identifier(item, url),
        status="final",
        category=[_concept("observation-categories", "Laboratory")],
        code=_concept("staging-systems", item["system"]),
        subject=_reference(known.patient),
        focus=[_reference(known.by_id[item["of"]])],
        valueCodeableConcept=_concept("stages", item["stage"]),
        method=_concept("staging-methods", item["system"]),
        **moment(item["when"], "effective", known.events),
    )


def _lab(item: Json, url: str, known: Identities) -> Observation:
    normal = item["normal"]
    unit = normal["unit"]
    reference_range = ObservationReferenceRange(low=_quantity(normal["low"], unit), high=_quantity(normal["high"], unit))
    return Observation(
        identifier=_identifier(item, url),
        status="final",
        category=[_concept("observation-categories", "Laboratory")],
        code=_concept("labs", item["test"]),
        subject=_reference(known.patient),
        valueQuantity=_quantity(item["value"], item["unit"]),
        interpretation=[_concept("interpretations", item["flag"])] if "flag" in item else None,
        referenceRange=[reference_range],
        **_specimen(item["specimen"], known),
        **moment(item["when"], "effective", known.events),
    )


def _marker(item: Json, url: str, known: Identities) -> Observation:
    return Observation(
        identifier=_identifier(item, url),
        partOf=[_reference(known.by_id[item["of"]])],
        status="final",
        category=[_concept("observation-categories", "Laboratory")],
        code=_concept("markers", item["marker"]),
        subject=_reference(known.patient),
        valueQuantity=_quantity(item["value"], item["unit"]) if "value" in item else None,
        valueCodeableConcept=_concept("marker-results", item["result"]) if "result" in item else None,
        method=_concept("methods", item["method"]),
        **_specimen(item["specimen"], known),
        **moment(item["when"], "effective", known.events),
    )


def _response(item: Json, url: str, known: Identities) -> Observation:
    return Observation(
        meta=_claims("response"),
        identifier=_identifier(item, url),
        partOf=[_reference(known.by_id[item["after"]])],
        status="final",
        category=[_concept("observation-categories", "Therapy")],
        code=_concept("fixed-observations", "Cancer disease status"),
        subject=_reference(known.patient),
        focus=[_reference(known.by_id[item["of"]])],
        valueCodeableConcept=_concept("responses", item["response"]),
        method=_concept("response-criteria", item["criteria"]),
        **moment(item["when"], "effective", known.events),
    )


_WRITERS: dict[str, Callable[[Json, str, Identities], Any]] = {
    "diagnoses": _diagnosis,
    "procedures": _procedure,
    "treatments": _treatment,
    "conditions": _condition,
    "staging": _staging,
    "labs": _lab,
    "markers": _marker,
    "responses": _response,
}


def read_and_write(bundle: Any) -> str:
    """What models cost where the mapping is already done: a finished bundle validated and dumped."""
    return Bundle.model_validate(bundle).model_dump_json()
