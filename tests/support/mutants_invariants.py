"""Mutators that break one FHIRPath invariant of R4 each: a literal table of key, place and change."""

from __future__ import annotations

from copy import deepcopy
from random import Random
from typing import Any, Final

from tests.support.elements import Json, Mutator, nodes_of, pick

_CODE: Final = {"text": "x"}
_REFERENCE: Final = {"display": "x"}
_GONE: Final = None


def broken(kind: str, /, **changes: Any) -> Mutator:
    """Puts these members into one object of a kind; with None a member goes, of a choice ("value[x]") any type of it."""

    def mutate(resource: Json, random: Random) -> Json | None:
        node = pick(random, nodes_of(resource, kind))
        # What goes may have been all that referred to something contained: a second fault.
        if node is None or "contained" in resource:
            return None
        for name, value in deepcopy(changes).items():
            if name.endswith("_x"):
                for key in [key for key in node.content if key.startswith(name[:-2])]:
                    del node.content[key]
            elif value is _GONE:
                node.content.pop(name, None)
            else:
                node.content[name] = value
        return resource

    return mutate


def twice(kind: str, member: str) -> Mutator:
    """Repeats an item of a list whose items must differ."""

    def mutate(resource: Json, random: Random) -> Json | None:
        full = [node.content[member] for node in nodes_of(resource, kind) if node.content.get(member)]
        if items := pick(random, full):
            items.append(deepcopy(items[0]))
            return resource
        return None

    return mutate


_REPEAT: Final = {"frequency": 1, "period": 1, "periodUnit": "d"}
_CODING: Final = {"system": "http://example.org/x", "code": "x"}
_DOSE: Final = {"value": 5, "unit": "mg", "system": "http://unitsofmeasure.org", "code": "mg"}


def timing(**changes: Any) -> Mutator:
    return broken("Timing", repeat={key: value for key, value in (_REPEAT | changes).items() if value is not None})


INVARIANT: Final[dict[str, Mutator]] = {
    # Data types
    "att-1": broken("Attachment", data="YWJj", contentType=_GONE, url=_GONE),
    "cpt-2": broken("ContactPoint", value="x", system=_GONE),
    "per-1": broken("Period", start="2021-05-01", end="2020-05-01"),
    "qty-3": broken("Quantity", code="mg", system=_GONE),
    "rng-2": broken("Range", low={"value": 9}, high={"value": 1}),
    "rat-1": broken("Ratio", denominator=_GONE, numerator={"value": 1}),
    "sqt-1": broken("Observation.referenceRange", low={"value": 1, "comparator": "<"}),
    "tim-1": timing(duration=5),
    "tim-2": timing(periodUnit=None),
    "tim-4": timing(duration=-1, durationUnit="h"),
    "tim-5": timing(period=-1),
    "tim-6": timing(durationMax=3, durationUnit="h"),
    "tim-7": timing(periodMax=3, period=None, periodUnit=None),
    "tim-8": timing(countMax=3),
    "tim-9": timing(offset=5),
    "tim-10": timing(timeOfDay=["10:00:00"], when=["MORN"]),
    "eld-2": broken("ElementDefinition", min=2, max="1"),
    "eld-3": broken("ElementDefinition", max="many"),
    "exp-1": broken("Expression", expression=_GONE, reference=_GONE),
    # Patient and what is around it
    "pat-1": broken("Patient", contact=[{"gender": "female"}]),
    "org-1": broken("Organization", name=_GONE, identifier=_GONE),
    "org-2": broken("Organization", address=[{"use": "home", "city": "Ulm"}]),
    "org-3": broken("Organization", telecom=[{"use": "home", "system": "phone", "value": "1"}]),
    "fhs-1": broken("FamilyMemberHistory", ageString="50", bornDate=_GONE, bornPeriod={"start": "1950"}),
    "fhs-2": broken("FamilyMemberHistory", estimatedAge=True, age_x=_GONE),
    "dev-0-version": broken("Device", version=[{"type": _CODE}]),
    # Clinical
    "obs-3": broken("Observation", referenceRange=[{"type": _CODE}]),
    "obs-6": broken("Observation", value_x=_GONE, valueString="x", dataAbsentReason=_CODE),
    "obs-7": broken("Observation", code={"coding": [_CODING]}, valueString="x", component=[{"code": {"coding": [_CODING]}}]),
    "con-1": broken("Condition", stage=[{"type": _CODE}]),
    "con-2": broken("Condition", evidence=[{"id": "a"}]),
    "con-4": broken(
        "Condition",
        abatementDateTime="2021-01-01",
        clinicalStatus={"coding": [{"system": "http://terminology.hl7.org/CodeSystem/condition-clinical", "code": "active"}]},
    ),
    "con-5": broken(
        "Condition",
        verificationStatus={
            "coding": [{"system": "http://terminology.hl7.org/CodeSystem/condition-ver-status", "code": "entered-in-error"}]
        },
    ),
    "ait-1": broken("AllergyIntolerance", clinicalStatus=_GONE, verificationStatus=_GONE),
    "ait-2": broken(
        "AllergyIntolerance",
        verificationStatus={
            "coding": [
                {
                    "system": "http://terminology.hl7.org/CodeSystem/allergyintolerance-verification",
                    "code": "entered-in-error",
                }
            ]
        },
    ),
    "cpl-3": broken("CarePlan", activity=[{"reference": _REFERENCE, "detail": {"status": "scheduled"}}]),
    "gol-1": broken("Goal", target=[{"detailString": "x"}]),
    "imm-1": broken("Immunization", education=[{"publicationDate": "2021"}]),
    "mad-1": broken("MedicationAdministration", dosage={"text": "x"}),
    "mdd-1": broken("MedicationDispense", whenPrepared="2021-05-01T10:00:00Z", whenHandedOver="2020-05-01T10:00:00Z"),
    "prr-1": broken("ServiceRequest", orderDetail=[_CODE], code=_GONE),
    "ras-1": broken("RiskAssessment", prediction=[{"probabilityRange": {"low": {"value": 1, "code": "x", "system": "a:b"}}}]),
    "ras-2": broken("RiskAssessment", prediction=[{"probabilityDecimal": 150}]),
    "vis-1": broken("VisionPrescription.lensSpecification", prism=[{"amount": 5}]),
    "cmp-1": broken("Composition", section=[{"title": "x"}]),
    "cmp-2": broken("Composition", section=[{"title": "x", "emptyReason": _CODE, "entry": [_REFERENCE]}]),
    "lst-1": broken("List", entry=[], emptyReason=_GONE, id="a"),
    "lst-2": broken("List", mode="working", entry=[{"deleted": True, "item": _REFERENCE}]),
    "lst-3": broken("List", entry=[{"item": _REFERENCE}], emptyReason=_CODE),
    "ppc-1": broken("Consent", policy=_GONE, policyRule=_GONE),
    # Work
    "app-1": broken("Appointment", participant=[{"status": "accepted"}]),
    "app-2": broken("Appointment", end=_GONE, status="booked"),
    "app-3": broken("Appointment", start=_GONE, end=_GONE, status="booked"),
    "app-4": broken("Appointment", status="booked", cancelationReason=_CODE),
    "apr-1": broken("AppointmentResponse", participantType=_GONE, actor=_GONE),
    "inf-1": broken("Task", authoredOn="2021-05-01", lastModified="2020-05-01"),
    "sev-1": broken("AuditEvent.entity", name="x", query="YWJj"),
    "lnk-1": broken("Linkage", author=_GONE, item=[{"type": "source", "resource": _REFERENCE}]),
    "sub-1": broken("Substance", ingredient=[{"quantity": {"numerator": _DOSE, "denominator": _DOSE}}]),
    # Definitions
    "csd-1": twice("CodeSystem", "concept"),
    "cmd-1": broken("ConceptMap.group.element", target=[{"code": "x", "equivalence": "narrower"}]),
    "cmd-2": broken("ConceptMap.group.unmapped", mode="fixed", code=_GONE),
    "cmd-3": broken("ConceptMap.group.unmapped", mode="other-map", url=_GONE),
    "vsd-1": broken("ValueSet.compose", include=[{"id": "a"}]),
    "vsd-2": broken("ValueSet.compose", include=[{"concept": [{"code": "x"}]}]),
    "vsd-3": broken(
        "ValueSet.compose",
        include=[
            {
                "system": "http://example.org/x",
                "concept": [{"code": "x"}],
                "filter": [{"property": "a", "op": "=", "value": "b"}],
            }
        ],
    ),
    "cpb-1": broken("CapabilityStatement", rest=_GONE, messaging=_GONE, document=_GONE),
    "cpb-9": twice("CapabilityStatement.rest", "resource"),
    "cpb-12": twice("CapabilityStatement.rest.resource", "searchParam"),
    "cpb-14": broken("CapabilityStatement", kind="instance", implementation=_GONE),
    "que-1": broken(
        "Questionnaire",
        item=[
            {"linkId": "1", "type": "group", "text": "x"},
            {"linkId": "2", "type": "display", "item": [{"linkId": "3", "type": "string"}]},
        ],
    ),
    "que-2": twice("Questionnaire", "item"),
    "que-3": broken("Questionnaire", item=[{"linkId": "1", "type": "display", "text": "x", "code": [_CODING]}]),
    "que-4": broken(
        "Questionnaire",
        item=[
            {"linkId": "1", "type": "choice", "answerValueSet": "http://example.org/x", "answerOption": [{"valueString": "a"}]}
        ],
    ),
    "que-6": broken("Questionnaire", item=[{"linkId": "1", "type": "display", "text": "x", "required": True}]),
    "que-7": broken(
        "Questionnaire",
        item=[
            {"linkId": "1", "type": "string"},
            {"linkId": "2", "type": "string", "enableWhen": [{"question": "1", "operator": "exists", "answerString": "x"}]},
        ],
    ),
    "que-8": broken(
        "Questionnaire",
        item=[
            {
                "linkId": "1",
                "type": "group",
                "text": "x",
                "initial": [{"valueString": "a"}],
                "item": [{"linkId": "2", "type": "string"}],
            }
        ],
    ),
    "que-9": broken("Questionnaire", item=[{"linkId": "1", "type": "display", "text": "x", "readOnly": True}]),
    "que-11": broken(
        "Questionnaire",
        item=[{"linkId": "1", "type": "choice", "answerOption": [{"valueString": "a"}], "initial": [{"valueString": "a"}]}],
    ),
    "que-12": broken(
        "Questionnaire",
        item=[
            {"linkId": "1", "type": "string"},
            {
                "linkId": "2",
                "type": "string",
                "enableWhen": [
                    {"question": "1", "operator": "=", "answerString": "x"},
                    {"question": "1", "operator": "=", "answerString": "y"},
                ],
            },
        ],
    ),
    "que-13": broken(
        "Questionnaire", item=[{"linkId": "1", "type": "string", "initial": [{"valueString": "a"}, {"valueString": "b"}]}]
    ),
    "qrs-1": broken(
        "QuestionnaireResponse", item=[{"linkId": "1", "item": [{"linkId": "2"}], "answer": [{"valueString": "x"}]}]
    ),
    "opd-1": broken("OperationDefinition", parameter=[{"name": "x", "use": "in", "min": 0, "max": "1"}]),
    "nsd-1": broken("NamingSystem", kind="root", uniqueId=[{"type": "uuid", "value": "x"}]),
    "nsd-2": broken(
        "NamingSystem",
        uniqueId=[
            {"type": "uri", "value": "http://example.org/a", "preferred": True},
            {"type": "uri", "value": "http://example.org/b", "preferred": True},
        ],
    ),
    "sdf-9": broken("StructureDefinition", snapshot=_GONE, differential=_GONE),
}
