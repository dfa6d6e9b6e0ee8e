"""Each converter of the table, both ways: what it makes of a value, and that the value comes back digit for digit."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.case.form import Scalar
from service.fhir import definitions
from service.issues import Origin
from service.mapping.bound import Argument, Bound, Target
from service.mapping.converters import CONVERTERS
from service.mapping.scope import Entry, Scope
from service.terminology.tables import CodeTable, Coding, Term

D = Decimal
UCUM = "http://unitsofmeasure.org"
LOINC = "http://loinc.org"


def table(name: str, **terms: list[tuple[str, str]]) -> CodeTable:
    made = {
        term: Term(term, tuple(Coding(system, code, "") for system, code in found), Origin("x"))
        for term, found in terms.items()
    }
    owners = {(system, code): term for term, found in terms.items() for system, code in found}
    return CodeTable(name, made, owners)


TABLES = {
    "labs": table("labs", Hemoglobin=[(LOINC, "718-7"), ("http://snomed.info/sct", "259695003")], Ash=[]),
    "units": table("units", **{"g/dL": [(UCUM, "g/dL")], "x10^9/L": [(UCUM, "10*9/L")], "K/uL": [(UCUM, "10*3/uL")]}),
    "statuses": table("statuses", ended=[("http://hl7.org/fhir/event-status", "completed")]),
}
SECTIONS = {"procedures": "Procedure", "treatments": "Procedure"}
PATIENT = "urn:uuid:00000000-0000-8000-8000-000000000000"
BIOPSY = Entry("procedures", "Procedure", {"id": "biopsy", "when": "2018-08-21"}, None, "urn:uuid:b")
LESION = Entry("lesions", "BodyStructure", {"id": "mass"}, None, "urn:uuid:m")


@pytest.fixture
def scope() -> Scope:
    scope = Scope("https://example.org/item", anchors=frozenset(["procedures"]), patient_url=PATIENT)
    scope.items.update(biopsy=BIOPSY, mass=LESION)
    scope.by_url.update({"urn:uuid:b": BIOPSY, "urn:uuid:m": LESION})
    return scope


def bind(name: str, element: str, *words: str) -> Bound:
    found = definitions.load().resolve(*element.split(".", 1))
    target = Target(found.types, found.min > 0)
    bound = CONVERTERS[name].make(target, Argument(words, TABLES, SECTIONS, "https://example.org/item"))
    assert bound.types, f"{name} does not write {element}"
    return bound


HEMOGLOBIN = {
    "coding": [{"system": LOINC, "code": "718-7"}, {"system": "http://snomed.info/sct", "code": "259695003"}],
    "text": "Hemoglobin",
}
# converter, element, arguments, fields, what FHIR gets
PAIRS: list[tuple[str, str, tuple[str, ...], tuple[Any, ...], Any]] = [
    ("text", "Observation.note.text", (), ("as printed\n\tµ",), "as printed\n\tµ"),
    ("uri", "Procedure.instantiatesUri", (), ("https://example.org/trial",), "https://example.org/trial"),
    ("boolean", "Patient.deceasedBoolean", (), (False,), False),
    ("integer", "Observation.valueInteger", (), (-3,), -3),
    ("integer", "Observation.valueInteger", (), (0,), 0),
    ("decimal", "Timing.repeat.duration", (), (D("1.50"),), D("1.50")),
    ("amount", "Timing.repeat.duration", (), (D("1.50"),), D("1.50")),
    ("date", "Patient.birthDate", (), ("1972-04",), "1972-04"),
    ("code", "Procedure.status", ("statuses",), ("ended",), "completed"),
    ("concept", "Observation.code", ("labs",), ("Hemoglobin",), HEMOGLOBIN),
    ("concept", "Observation.code", ("labs",), ("Ash",), {"text": "Ash"}),
    ("term", "Dosage.text", ("labs",), ("Ash",), "Ash"),
    (
        "quantity",
        "Observation.valueQuantity",
        ("units",),
        (D("4.50"), "x10^9/L", "<"),
        {"value": D("4.50"), "unit": "x10^9/L", "system": UCUM, "code": "10*9/L", "comparator": "<"},
    ),
    (
        "quantity",
        "Observation.valueQuantity",
        ("units",),
        (D("19.00"), "g/dL", None),
        {"value": D("19.00"), "unit": "g/dL", "system": UCUM, "code": "g/dL"},
    ),
    ("measure", "Condition.onsetAge", ("a",), (47,), {"value": 47, "unit": "a", "system": UCUM, "code": "a"}),
    (
        "converted",
        "Observation.valueQuantity",
        ("Gy", "cGy"),
        (D("46.0"),),
        {"value": D("4600.0"), "unit": "cGy", "system": UCUM, "code": "cGy"},
    ),
    (
        "converted",
        "Observation.valueQuantity",
        ("Gy", "cGy"),
        (46,),
        {"value": 4600, "unit": "cGy", "system": UCUM, "code": "cGy"},
    ),
    (
        "range",
        "Dosage.doseAndRate.rateRange",
        ("units",),
        ({"low": D("1.0"), "high": 2, "unit": "g/dL"},),
        {
            "low": {"value": D("1.0"), "unit": "g/dL", "system": UCUM, "code": "g/dL"},
            "high": {"value": 2, "unit": "g/dL", "system": UCUM, "code": "g/dL"},
        },
    ),
    (
        "reference_range",
        "Observation.referenceRange",
        ("units",),
        ({"high": D("3.30"), "unit": "g/dL", "text": "adults"},),
        {"high": {"value": D("3.30"), "unit": "g/dL", "system": UCUM, "code": "g/dL"}, "text": "adults"},
    ),
    ("reference_range", "Observation.referenceRange", ("units",), ({"text": "negative"},), {"text": "negative"}),
    ("ratio", "Observation.valueRatio", (), (9, D("10.0")), {"numerator": {"value": 9}, "denominator": {"value": D("10.0")}}),
    ("reference", "Observation.partOf", ("procedures", "treatments"), ("biopsy",), {"reference": "urn:uuid:b"}),
]
MERGING = {"moment", "specimen", "source"}


def test_every_converter_is_tested_here() -> None:
    assert {name for name, *_rest in PAIRS} | MERGING == set(CONVERTERS)


@pytest.mark.parametrize("fragment", ["", "#cJ7k2"])
def test_a_source_is_read_without_what_a_server_adds(fragment: str, scope: Scope) -> None:
    bound = bind("source", "Meta.source")
    out: dict[str, Any] = {}
    bound.to_fhir(out, "source", "https://example.org/a", scope)
    assert out == {"source": "https://example.org/a"}
    assert bound.to_case({"source": out["source"] + fragment}, "source", None, scope) == "https://example.org/a"
    assert bound.to_case({"source": "#cJ7k2"}, "source", None, scope) is None
    assert bound.to_case({}, "source", None, scope) is None
    (form,) = bound.forms
    assert isinstance(form, Scalar)
    assert not re.search(form.schema["pattern"], "https://example.org/a#b")


def exact(value: Any) -> str:
    """Decimals equal in value may differ in digits, which repr shows; the order of properties means nothing."""
    return repr(dict(sorted(value.items())) if isinstance(value, dict) else value)


@pytest.mark.parametrize(("name", "element", "words", "fields", "value"), PAIRS)
def test_both_ways(name: str, element: str, words: tuple[str, ...], fields: tuple[Any, ...], value: Any, scope: Scope) -> None:
    bound = bind(name, element, *words)
    made = bound.to_fhir(*fields, scope)
    assert exact(made) == exact(value)
    back = bound.to_case(made, scope)
    assert exact(back) == exact(fields if CONVERTERS[name].fields[1] > 1 else fields[0])


@pytest.mark.parametrize(("name", "element", "words", "fields", "_value"), PAIRS)
def test_the_table_says_what_a_converter_takes(
    name: str, element: str, words: tuple[str, ...], fields: tuple[Any, ...], _value: Any
) -> None:
    converter, bound = CONVERTERS[name], bind(name, element, *words)
    assert len(bound.forms) == converter.fields[1] == len(fields)
    assert converter.fields[0] == len(fields) - bound.optional
    assert converter.says


numbers = st.one_of(
    st.integers(-(10**12), 10**12),
    st.tuples(st.integers(-(10**9), 10**9), st.integers(1, 8)).map(lambda pair: D(pair[0]).scaleb(-pair[1])),
)


@given(numbers, st.sampled_from([("Gy", "cGy"), ("cm", "mm"), ("g", "mg")]))
def test_converted_is_exact(value: Any, units: tuple[str, str]) -> None:
    bound = bind("converted", "Observation.valueQuantity", *units)
    made = bound.to_fhir(value, None)
    assert D(made["value"]) == D(value) * {"cGy": 100, "mm": 10, "mg": 1000}[units[1]]
    assert repr(bound.to_case(made, None)) == repr(value)


@given(st.integers(-(10**6), 10**6))
def test_converted_from_another_system_keeps_the_value(cents: int) -> None:
    """What a server holds as 4650 cGy is 46.5 Gy, however many digits that takes."""
    back = bind("converted", "Observation.valueQuantity", "Gy", "cGy").to_case({"value": cents}, None)
    assert D(back) * 100 == cents


@pytest.mark.parametrize("value", [D("1.0"), D("2"), True])
def test_an_integer_has_no_decimals(value: Any, scope: Scope) -> None:
    with pytest.raises(ValueError, match="whole number"):
        bind("integer", "Observation.valueInteger").to_fhir(value, scope)


@pytest.mark.parametrize(
    ("date", "exists"),
    [
        ("2018-02-30", False),
        ("2019-02-29", False),
        ("1900-02-29", False),
        ("2018-04-31", False),
        ("2018-13", False),
        ("2018-02-28T10:00:00Z", False),
        ("2020-02-29", True),
        ("2000-02-29", True),
        ("2018-12-31", True),
        ("2018-04", True),
    ],
)
def test_a_date_is_one_of_the_calendar(date: str, exists: bool) -> None:
    (form,) = bind("date", "Patient.birthDate").forms
    assert isinstance(form, Scalar)
    assert bool(re.search(form.schema["pattern"], date)) is exists


@pytest.mark.parametrize(
    ("quantity", "unit"),
    [
        ({"value": 1, "unit": "g/dL"}, "g/dL"),
        ({"value": 1, "unit": "10^9/l", "system": UCUM, "code": "10*9/L"}, "x10^9/L"),
        ({"value": 1, "system": UCUM, "code": "10*3/uL"}, "K/uL"),
    ],
)
def test_a_unit_of_another_sender_is_known_by_its_code(quantity: dict[str, Any], unit: str, scope: Scope) -> None:
    assert bind("quantity", "Observation.valueQuantity", "units").to_case(quantity, scope) == (1, unit, None)


@pytest.mark.parametrize(
    ("name", "element", "words", "value"),
    [
        ("quantity", "Observation.valueQuantity", ("units",), {"value": 1, "unit": "mol", "system": UCUM, "code": "mol"}),
        ("measure", "Condition.onsetAge", ("a",), {"value": 1, "system": UCUM, "code": "mo"}),
        ("concept", "Observation.code", ("labs",), {"text": "Iron"}),
        ("concept", "Observation.code", ("labs",), {"coding": [{"system": LOINC, "code": "1-1"}]}),
        ("code", "Procedure.status", ("statuses",), "stopped"),
        ("reference", "Observation.partOf", ("procedures",), {"reference": "urn:uuid:nobody"}),
        ("reference", "Observation.partOf", ("procedures",), {"reference": "urn:uuid:m"}),
    ],
)
def test_what_no_table_knows_is_refused_without_a_value(
    name: str, element: str, words: tuple[str, ...], value: Any, scope: Scope
) -> None:
    with pytest.raises(ValueError, match=r"expected|no term|leads to no") as caught:
        bind(name, element, *words).to_case(value, scope)
    assert "Iron" not in str(caught.value)


def test_a_concept_of_another_sender_is_known_by_a_coding(scope: Scope) -> None:
    concept = {"coding": [{"system": "http://example.org", "code": "x"}, {"system": LOINC, "code": "718-7"}], "text": "Hb"}
    assert bind("concept", "Observation.code", "labs").to_case(concept, scope) == "Hemoglobin"


def test_two_resources_share_no_coding(scope: Scope) -> None:
    bound = bind("concept", "Observation.code", "labs")
    bound.to_fhir("Hemoglobin", scope)["coding"][0]["code"] = "changed"
    assert bound.to_fhir("Hemoglobin", scope) == HEMOGLOBIN


@pytest.mark.parametrize("item", ["nobody", "mass"])
def test_a_reference_leads_to_an_item_of_its_sections(item: str, scope: Scope) -> None:
    with pytest.raises(ValueError, match="no item of procedures has this id"):
        bind("reference", "Observation.partOf", "procedures").to_fhir(item, scope)


def test_a_hint_goes_with_the_first_few_wrong_references_and_every_one_is_refused(scope: Scope) -> None:
    bound = bind("reference", "Observation.partOf", "procedures")
    refused = []
    for _ in range(30):
        with pytest.raises(ValueError, match="no item of procedures has this id") as caught:
            bound.to_fhir("biopsi", scope)
        refused.append("did you mean the id at " in str(caught.value))
    assert refused == [True] * 20 + [False] * 10


def test_a_unit_without_a_number_is_no_range(scope: Scope) -> None:
    with pytest.raises(ValueError, match="a unit without low or high"):
        bind("range", "Dosage.doseAndRate.rateRange", "units").to_fhir({"unit": "g/dL"}, scope)


# --- converters that write several properties -------------------------------------------------------------------------


def test_specimen_is_contained(scope: Scope) -> None:
    bound = bind("specimen", "Observation.specimen", "labs")
    out: dict[str, Any] = {}
    bound.to_fhir(out, "specimen", "Ash", scope)
    assert out == {
        "contained": [
            {"resourceType": "Specimen", "id": "specimen", "type": {"text": "Ash"}, "subject": {"reference": PATIENT}}
        ],
        "specimen": {"reference": "#specimen"},
    }
    assert bound.to_case(out, "specimen", None, scope) == "Ash"
    assert bound.to_case({}, "specimen", None, scope) is None


MOMENTS = [
    "2018-08-21",
    "2018",
    "day 14 of biopsy",
    "at biopsy",
    "before biopsy",
    "by day 30 of biopsy",
    "2 weeks after biopsy",
]
PERIODS = ["2018-08 to 2018-11", "from 2018-07", "until day 3 of biopsy", "days -10 to -9 of biopsy", "2018 to at biopsy"]


@pytest.mark.parametrize("text", [*MOMENTS, *PERIODS])
@pytest.mark.parametrize(
    ("element", "name"),
    [("Observation.effective[x]", "effective"), ("MedicationAdministration.effective[x]", "effective")],
)
def test_moment_both_ways(text: str, element: str, name: str, scope: Scope) -> None:
    bound = bind("moment", element)
    out: dict[str, Any] = {}
    bound.to_fhir(out, name, text, None, scope)
    assert {key.lstrip("_") for key in out} <= {"effectiveDateTime", "effectivePeriod"}
    assert bound.to_case(out, name, None, scope) == text


@pytest.mark.parametrize("text", MOMENTS)
@pytest.mark.parametrize("element", ["Consent.dateTime", "Patient.deceased[x]"])
def test_moment_where_there_are_no_periods(text: str, element: str, scope: Scope) -> None:
    bound, name = bind("moment", element), element.partition(".")[2].removesuffix("[x]")
    out: dict[str, Any] = {}
    bound.to_fhir(out, name, text, None, scope)
    assert {key.lstrip("_") for key in out} == {name + "DateTime" if element.endswith("[x]") else name}
    assert bound.to_case(out, name, None, scope) == text


@pytest.mark.parametrize("text", ["before biopsy", "2 weeks after biopsy"])
def test_a_required_choice_has_a_value(text: str, scope: Scope) -> None:
    """MedicationAdministration.effective[x] is 1..1: a point that no date follows from is a period of that one point."""
    out: dict[str, Any] = {}
    bind("moment", "MedicationAdministration.effective[x]").to_fhir(out, "effective", text, None, scope)
    assert list(out) == ["effectivePeriod"]
    assert out["effectivePeriod"]["_start"] == out["effectivePeriod"]["_end"]


def test_a_moment_of_the_item_above(scope: Scope) -> None:
    bound = bind("moment", "MedicationAdministration.effective[x]")
    out: dict[str, Any] = {}
    bound.to_fhir(out, "effective", None, "2018-08", scope)
    assert out == {"effectiveDateTime": "2018-08"}
    assert bound.to_case(out, "effective", "2018-08", scope) is None
    assert bound.to_case(out, "effective", "2018-09", scope) == "2018-08"
    with pytest.raises(ValueError, match="leave it out"):
        bound.to_fhir({}, "effective", "2018-08", "2018-08", scope)


@pytest.mark.parametrize("text", ["day 3 of nobody", "at mass", "day 3 of biopsi"])
def test_a_moment_of_no_event(text: str, scope: Scope) -> None:
    with pytest.raises(ValueError, match="no dated event") as caught:
        bind("moment", "Observation.effective[x]").to_fhir({}, "effective", text, None, scope)
    assert "nobody" not in str(caught.value)


def test_events_in_a_circle() -> None:
    scope = Scope("https://example.org/item", anchors=frozenset(["procedures"]))
    for name, other in (("a", "b"), ("b", "c"), ("c", "a")):
        scope.items[name] = Entry(
            "procedures", "Procedure", {"id": name, "when": f"day 1 of {other}"}, None, "urn:uuid:" + name
        )
    with pytest.raises(ValueError, match="circle"):
        bind("moment", "Observation.effective[x]").to_fhir({}, "effective", "day 3 of a", None, scope)


def test_events_that_lead_to_a_date(scope: Scope) -> None:
    for name, other in (("x", "biopsy"), ("y", "x")):
        scope.items[name] = Entry(
            "procedures", "Procedure", {"id": name, "when": f"day 10 of {other}"}, None, "urn:uuid:" + name
        )
    out: dict[str, Any] = {}
    bind("moment", "Observation.effective[x]").to_fhir(out, "effective", "day 1 of y", None, scope)
    assert out["effectiveDateTime"] == "2018-09-11"


@pytest.mark.parametrize("name", CONVERTERS)
def test_no_converter_writes_what_it_cannot(name: str) -> None:
    """On an element of a foreign type every converter has no types, which is what the loader refuses."""
    words = {"": (), "table": ("labs",), "unit": ("a",), "two units": ("Gy", "cGy"), "sections": ("procedures",)}
    tables = {**TABLES, "labs": TABLES["units"]}
    target = Target(("Attachment",), False)
    assert CONVERTERS[name].make(target, Argument(words[CONVERTERS[name].arguments], tables, SECTIONS, "")).types == ()
