"""The limit: plain dicts, built and read by hand, with msgspec at both ends.

No check of any kind: neither the form, nor repeated keys, nor what a bundle holds besides. It makes the same bundle from the
record of the benchmark, and the same record from the bundle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from parts import (
    ABSENT,
    CASE_ID,
    CODES,
    ITEM_ID,
    MASKED,
    PROFILES,
    RESOURCE_ID,
    UCUM,
    Identities,
    Json,
    codes,
    concepts,
    decode,
    encode,
    moment,
    read_moment,
)

_T = {path.stem: concepts(path.stem) for path in CODES.glob("*.csv")}
_UNIT, _SEX = codes("units"), codes("sexes")
_DRUG_STATUS, _STATUS = codes("drug-statuses"), codes("procedure-statuses")
_CANCER = [_T["condition-categories"]["Cancer diagnosis"]]
_PROBLEM = [_T["condition-categories"]["Problem list item"]]
_LABORATORY = [_T["observation-categories"]["Laboratory"]]
_THERAPY = [_T["observation-categories"]["Therapy"]]
_DISEASE_STATUS = _T["fixed-observations"]["Cancer disease status"]
_ASSERTED = "http://hl7.org/fhir/StructureDefinition/condition-assertedDate"
_DUE_TO = "http://hl7.org/fhir/StructureDefinition/condition-dueTo"


def convert(raw: bytes) -> bytes:
    return encode(build(decode(raw)))


def build(record: Json) -> Json:
    known = Identities(record)
    patient = {"reference": known.patient}
    entries = [{"fullUrl": known.patient, "resource": _patient(record, known.patient)}]
    for section, write in _WRITERS.items():
        for url, item in zip(known.urls[section], record[section], strict=True):
            entries.append({"fullUrl": url, "resource": write(item, url, patient, known)})
        if section == "treatments":
            entries += _drugs(record, patient, known)
    return {"resourceType": "Bundle", "type": "collection", "entry": entries}


def _drugs(record: Json, patient: Json, known: Identities) -> Iterator[Json]:
    for treatment, parent, urls in zip(record["treatments"], known.urls["treatments"], known.drugs, strict=True):
        for drug, url in zip(treatment["drugs"], urls, strict=True):
            yield {"fullUrl": url, "resource": _drug(drug, treatment, url, parent, patient, known)}


def _identifier(item: Json, url: str) -> list[Json]:
    own = {"system": RESOURCE_ID, "value": url[9:]}
    return [own, {"system": ITEM_ID, "value": item["id"]}] if "id" in item else [own]


def _quantity(value: Any, unit: str) -> Json:
    return {"value": value, "unit": unit, "system": UCUM, "code": _UNIT[unit]}


def _references(items: list[str], known: Identities) -> list[Json]:
    return [{"reference": known.by_id[item]} for item in items]


def _patient(record: Json, url: str) -> Json:
    person = record["patient"]
    return {
        "resourceType": "Patient",
        "meta": {"source": record["source"], "profile": [PROFILES["patient"]]},
        "identifier": [{"system": RESOURCE_ID, "value": url[9:]}, {"system": CASE_ID, "value": record["case"]}],
        "name": [MASKED],
        "gender": _SEX[person["sex"]],
        "birthDate": person["birthDate"],
        "managingOrganization": {"display": person["hospital"]},
    }


def _condition_base(item: Json, url: str, patient: Json) -> Json:
    out: Json = {
        "resourceType": "Condition",
        "identifier": _identifier(item, url),
        "clinicalStatus": _T["clinical-statuses"][item["status"]],
        "verificationStatus": _T["verification-statuses"][item["verification"]],
        "subject": patient,
    }
    if "sites" in item:
        sites = _T["sites"]
        out["bodySite"] = [sites[site] for site in item["sites"]]
    if "note" in item:
        out["note"] = [{"text": item["note"]}]
    return out


def _diagnosis(item: Json, url: str, patient: Json, _known: Identities) -> Json:
    out = _condition_base(item, url, patient)
    out["extension"] = [{"url": _ASSERTED, "valueDateTime": item["when"]}]
    out["meta"] = {"profile": [PROFILES["diagnosis"]]}
    out["category"] = _CANCER
    out["code"] = _T["diagnoses"][item["diagnosis"]]
    out["onsetAge"] = {"value": item["age"], "unit": "a", "system": UCUM, "code": "a"}
    return out


def _condition(item: Json, url: str, patient: Json, known: Identities) -> Json:
    out = _condition_base(item, url, patient)
    out["meta"] = {"profile": [PROFILES["condition"]]}
    out["category"] = _PROBLEM
    out["code"] = _T["conditions"][item["condition"]]
    if "dueTo" in item:
        out["extension"] = [{"url": _DUE_TO, "valueReference": {"reference": known.by_id[item["dueTo"]]}}]
    if "severity" in item:
        out["severity"] = _T["severities"][item["severity"]]
    out |= moment(item["when"], "onset", known.events)
    if "until" in item:
        out |= moment(item["until"], "abatement", known.events)
    return out


def _procedure_base(item: Json, url: str, patient: Json, known: Identities) -> Json:
    out: Json = {
        "resourceType": "Procedure",
        "identifier": _identifier(item, url),
        "status": _STATUS[item["status"]],
        "subject": patient,
        "reasonReference": _references(item["because"], known),
    }
    out |= moment(item["when"], "performed", known.events)
    if "outcome" in item:
        out["outcome"] = _T["outcomes"][item["outcome"]]
    if "note" in item:
        out["note"] = [{"text": item["note"]}]
    return out


def _procedure(item: Json, url: str, patient: Json, known: Identities) -> Json:
    out = _procedure_base(item, url, patient, known)
    out["category"] = _T["procedure-kinds"][item["kind"]]
    out["code"] = _T["procedures"][item["procedure"]]
    sites = _T["sites"]
    out["bodySite"] = [sites[site] for site in item["sites"]]
    return out


def _treatment(item: Json, url: str, patient: Json, known: Identities) -> Json:
    out = _procedure_base(item, url, patient, known)
    out["category"] = _T["treatment-kinds"][item["kind"]]
    out["code"] = _T["treatments"][item["treatment"]]
    return out


def _drug(item: Json, treatment: Json, url: str, parent: str, patient: Json, known: Identities) -> Json:
    out: Json = {
        "resourceType": "MedicationAdministration",
        "meta": {"profile": [PROFILES["drug"]]},
        "identifier": _identifier(item, url),
        "partOf": [{"reference": parent}],
        "status": _DRUG_STATUS[item["status"]],
        "medicationCodeableConcept": _T["drugs"][item["drug"]],
        "subject": patient,
        "dosage": {
            "route": _T["routes"][item["route"]],
            "dose": _quantity(item["dose"], item["unit"]) if "dose" in item else ABSENT,
        },
    }
    return out | moment(item.get("when") or treatment["when"], "effective", known.events, required=True)


def _observation(item: Json, url: str, patient: Json, known: Identities) -> Json:
    out: Json = {"resourceType": "Observation", "identifier": _identifier(item, url), "status": "final", "subject": patient}
    return out | moment(item["when"], "effective", known.events)


def _specimen(out: Json, term: str, patient: Json) -> None:
    out["contained"] = [{"resourceType": "Specimen", "id": "specimen", "type": _T["specimens"][term], "subject": patient}]
    out["specimen"] = {"reference": "#specimen"}


def _staging(item: Json, url: str, patient: Json, known: Identities) -> Json:
    out = _observation(item, url, patient, known)
    system = item["system"]
    out["meta"] = {"profile": [PROFILES["staging"]]}
    out["category"] = _LABORATORY
    out["code"] = _T["staging-systems"][system]
    out["focus"] = [{"reference": known.by_id[item["of"]]}]
    out["valueCodeableConcept"] = _T["stages"][item["stage"]]
    out["method"] = _T["staging-methods"][system]
    return out


def _lab(item: Json, url: str, patient: Json, known: Identities) -> Json:
    out = _observation(item, url, patient, known)
    out["category"] = _LABORATORY
    out["code"] = _T["labs"][item["test"]]
    out["valueQuantity"] = _quantity(item["value"], item["unit"])
    if "flag" in item:
        out["interpretation"] = [_T["interpretations"][item["flag"]]]
    if "specimen" in item:
        _specimen(out, item["specimen"], patient)
    if "normal" in item:
        normal = item["normal"]
        unit = normal["unit"]
        out["referenceRange"] = [{"low": _quantity(normal["low"], unit), "high": _quantity(normal["high"], unit)}]
    return out


def _marker(item: Json, url: str, patient: Json, known: Identities) -> Json:
    out = _observation(item, url, patient, known)
    out["partOf"] = [{"reference": known.by_id[item["of"]]}]
    out["category"] = _LABORATORY
    out["code"] = _T["markers"][item["marker"]]
    if "value" in item:
        out["valueQuantity"] = _quantity(item["value"], item["unit"])
    if "result" in item:
        out["valueCodeableConcept"] = _T["marker-results"][item["result"]]
    out["method"] = _T["methods"][item["method"]]
    _specimen(out, item["specimen"], patient)
    return out


def _response(item: Json, url: str, patient: Json, known: Identities) -> Json:
    out = _observation(item, url, patient, known)
    out["partOf"] = [{"reference": known.by_id[item["after"]]}]
    out["meta"] = {"profile": [PROFILES["response"]]}
    out["category"] = _THERAPY
    out["code"] = _DISEASE_STATUS
    out["focus"] = [{"reference": known.by_id[item["of"]]}]
    out["valueCodeableConcept"] = _T["responses"][item["response"]]
    out["method"] = _T["response-criteria"][item["criteria"]]
    return out


_WRITERS: dict[str, Callable[[Json, str, Json, Identities], Json]] = {
    "diagnoses": _diagnosis,
    "procedures": _procedure,
    "treatments": _treatment,
    "conditions": _condition,
    "staging": _staging,
    "labs": _lab,
    "markers": _marker,
    "responses": _response,
}


# --- and back ---------------------------------------------------------------------------------------------------------

_SEX_TERM = {code: term for term, code in _SEX.items()}
_DRUG_STATUS_TERM = {code: term for term, code in _DRUG_STATUS.items()}
_STATUS_TERM = {code: term for term, code in _STATUS.items()}


def to_case(raw: bytes) -> bytes:
    return encode(read(decode(raw)))


def read(bundle: Json) -> Json:
    """The record; what the bundle holds besides is neither looked for nor missed."""
    record: Json = {}
    items: dict[str, Json] = {}  # fullUrl → item
    ids = {entry["fullUrl"]: id_ for entry in bundle["entry"] if (id_ := _item_id(entry["resource"]))}
    for entry in bundle["entry"]:
        resource, url = entry["resource"], entry["fullUrl"]
        kind = resource["resourceType"]
        if kind == "Observation":
            section, item = _read_observation(resource, ids)
        elif kind == "MedicationAdministration":
            treatment = items[resource["partOf"][0]["reference"]]
            treatment.setdefault("drugs", []).append(_read_drug(resource, treatment))
            continue
        elif kind == "Patient":
            record |= _read_patient(resource)
            continue
        else:
            section, item = (_read_procedure if kind == "Procedure" else _read_condition)(resource, ids)
        if url in ids:
            item["id"] = ids[url]
        items[url] = item
        record.setdefault(section, []).append(item)
    return record


def _item_id(resource: Json) -> str | None:
    return next((one["value"] for one in resource["identifier"] if one["system"] == ITEM_ID), None)


def _read_patient(resource: Json) -> Json:
    person = {
        "sex": _SEX_TERM[resource["gender"]],
        "birthDate": resource["birthDate"],
        "hospital": resource["managingOrganization"]["display"],
    }
    return {"case": resource["identifier"][1]["value"], "source": resource["meta"]["source"], "patient": person}


def _read_condition(resource: Json, ids: dict[str, str]) -> tuple[str, Json]:
    item: Json = {"status": resource["clinicalStatus"]["text"], "verification": resource["verificationStatus"]["text"]}
    if "bodySite" in resource:
        item["sites"] = [site["text"] for site in resource["bodySite"]]
    if "note" in resource:
        item["note"] = resource["note"][0]["text"]
    if resource["category"][0]["text"] == "Cancer diagnosis":
        item["diagnosis"] = resource["code"]["text"]
        item["when"] = resource["extension"][0]["valueDateTime"]
        item["age"] = resource["onsetAge"]["value"]
        return "diagnoses", item
    item["condition"] = resource["code"]["text"]
    item["when"] = read_moment(resource, "onset")
    if "abatementDateTime" in resource:
        item["until"] = read_moment(resource, "abatement")
    if "severity" in resource:
        item["severity"] = resource["severity"]["text"]
    if "extension" in resource:
        item["dueTo"] = ids[resource["extension"][0]["valueReference"]["reference"]]
    return "conditions", item


def _read_procedure(resource: Json, ids: dict[str, str]) -> tuple[str, Json]:
    kind = resource["category"]["text"]
    item: Json = {
        "status": _STATUS_TERM[resource["status"]],
        "kind": kind,
        "when": read_moment(resource, "performed"),
        "because": [ids[one["reference"]] for one in resource["reasonReference"]],
    }
    if "bodySite" in resource:
        item["sites"] = [site["text"] for site in resource["bodySite"]]
    if "outcome" in resource:
        item["outcome"] = resource["outcome"]["text"]
    if "note" in resource:
        item["note"] = resource["note"][0]["text"]
    if kind in _T["treatment-kinds"]:
        item["treatment"] = resource["code"]["text"]
        return "treatments", item
    item["procedure"] = resource["code"]["text"]
    return "procedures", item


def _read_drug(resource: Json, treatment: Json) -> Json:
    dosage = resource["dosage"]
    item: Json = {
        "status": _DRUG_STATUS_TERM[resource["status"]],
        "drug": resource["medicationCodeableConcept"]["text"],
        "route": dosage["route"]["text"],
    }
    when = read_moment(resource, "effective")
    if when != treatment["when"]:
        item["when"] = when
    dose = dosage["dose"]
    if "value" in dose:
        item["dose"], item["unit"] = dose["value"], dose["unit"]
    return item


def _read_observation(resource: Json, ids: dict[str, str]) -> tuple[str, Json]:
    item: Json = {"when": read_moment(resource, "effective")}
    if "contained" in resource:
        item["specimen"] = resource["contained"][0]["type"]["text"]
    code = resource["code"]["text"]
    if code in _T["staging-systems"]:
        item["system"], item["of"] = code, ids[resource["focus"][0]["reference"]]
        item["stage"] = resource["valueCodeableConcept"]["text"]
        return "staging", item
    if resource["category"][0]["text"] == "Therapy":
        item["response"] = resource["valueCodeableConcept"]["text"]
        item["after"], item["of"] = ids[resource["partOf"][0]["reference"]], ids[resource["focus"][0]["reference"]]
        item["criteria"] = resource["method"]["text"]
        return "responses", item
    if "valueQuantity" in resource:
        item["value"], item["unit"] = resource["valueQuantity"]["value"], resource["valueQuantity"]["unit"]
    if code in _T["labs"]:
        item["test"] = code
        _read_lab(resource, item)
        return "labs", item
    if "valueCodeableConcept" in resource:
        item["result"] = resource["valueCodeableConcept"]["text"]
    item |= {"marker": code, "of": ids[resource["partOf"][0]["reference"]], "method": resource["method"]["text"]}
    return "markers", item


def _read_lab(resource: Json, item: Json) -> None:
    if "interpretation" in resource:
        item["flag"] = resource["interpretation"][0]["text"]
    if "referenceRange" in resource:
        normal = resource["referenceRange"][0]
        low, high = normal["low"], normal["high"]
        item["normal"] = {"low": low["value"], "high": high["value"], "unit": low["unit"]}
