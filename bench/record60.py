"""The record of the benchmark: one case of sixty resources, made from the code tables of the mapping set itself.

Mixed as the published cases are: most of it laboratory values, most dates absolute, some moments told by an event. It is
written with an indent, as the cases are. Nothing in it is chance: the same tables give the same bytes.
"""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

from service.fhir import json
from service.terminology.tables import read_table

MAPPING = Path(__file__).parent.parent / "mappings" / "myeloma"
RESOURCES = 60
Item = dict[str, Any]

# Unit, lower and upper end of the normal range, two results: for the tests that most cases have. All others are in g/L.
_LABS = {
    "Hemoglobin": ("g/L", "130", "175", "92.5", "118.0"),
    "IgA": ("g/L", "0.70", "4.00", "38.40", "6.10"),
    "IgG": ("g/L", "7.00", "16.00", "4.20", "7.90"),
    "IgM": ("g/L", "0.40", "2.30", "0.18", "0.50"),
    "IgE": ("[IU]/mL", "0", "100", "12.0", "14.5"),
    "Albumin": ("g/L", "35", "50", "31.0", "39.50"),
    "Lactate dehydrogenase": ("U/L", "120", "246", "305", "210"),
    "Beta-2-microglobulin": ("mg/L", "0.80", "2.20", "5.60", "2.10"),
    "Creatinine": ("umol/L", "57", "97", "141", "88"),
    "Calcium": ("mmol/L", "2.11", "2.52", "2.76", "2.30"),
    "Ferritin": ("ng/mL", "23.9", "336.2", "812.4", "240.0"),
    "Interleukin 6": ("pg/mL", "0", "7.0", "48.15", "6.20"),
}
_OTHER = ("g/L", "0.10", "9.90", "12.50", "3.00")


class _Tables:
    """The terms of each code table, those with a coding first: what a term costs is its codings."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def terms(self, table: str, count: int, *preferred: str) -> list[str]:
        found = read_table(self.folder / f"{table}.csv", table).terms
        coded = [name for name, term in found.items() if term.codings]
        order = dict.fromkeys([name for name in preferred if name in found] + coded + list(found))
        return list(order)[:count]

    def term(self, table: str, *preferred: str) -> str:
        return self.terms(table, 1, *preferred)[0]


def make_record(mapping: Path = MAPPING) -> Item:
    """The record; the form of the mapping set accepts it, and it becomes exactly sixty resources."""
    tables = _Tables(mapping / "codes")
    return {
        "case": "bench-60",
        "source": "https://example.org/cases/bench-60",
        "patient": {"sex": "female", "birthDate": "1961-04", "hospital": "University Hospital, Department of Hematology"},
        "diagnoses": [_diagnosis(tables)],
        "procedures": _procedures(tables),
        "treatments": _treatments(tables),
        "conditions": _conditions(tables),
        "staging": _staging(tables),
        "labs": _labs(tables),
        "markers": _markers(tables),
        "responses": _responses(tables),
    }


def make_text(mapping: Path = MAPPING) -> bytes:
    return json.dumps(make_record(mapping), indent=True)


def _diagnosis(tables: _Tables) -> Item:
    return {
        "id": "mm",
        "when": "2019-03-11",
        "status": "Active",
        "verification": "Confirmed",
        "diagnosis": tables.term("diagnoses", "IgG lambda multiple myeloma"),
        "sites": tables.terms("sites", 1, "Bone marrow"),
        "age": 57,
    }


def _procedures(tables: _Tables) -> list[Item]:
    kinds = tables.terms("procedure-kinds", 3, "Bone marrow examination")
    names = tables.terms("procedures", 3, "Bone marrow aspiration and biopsy")
    whens = ["2019-03-12", "2019-06-20", "day 28 of induction"]
    ids = ["biopsy", "imaging", "follow-up"]
    sites = tables.terms("sites", 1, "Bone marrow")
    return [
        {"id": id_, "status": "completed", "kind": kind, "procedure": name, "when": when, "because": ["mm"], "sites": sites}
        for id_, kind, name, when in zip(ids, kinds, names, whens, strict=True)
    ]


def _treatments(tables: _Tables) -> list[Item]:
    kinds = tables.terms("treatment-kinds", 3, "Chemotherapy", "Conditioning", "Supportive care")
    names = tables.terms("treatments", 3)
    drugs = [_drug(tables, number, name) for number, name in enumerate(tables.terms("drugs", 10))]
    rest: list[Item] = [
        {"when": "2019-04-01", "because": ["mm"], "outcome": tables.term("outcomes"), "note": "Induction, three cycles"},
        {"when": "2019-08-05 to 2019-11-20", "because": ["mm"]},
        {"when": "after consolidation", "because": ["mm"]},
    ]
    parts = [drugs[:4], drugs[4:7], drugs[7:]]
    return [
        {"id": id_, "status": "completed", "kind": kind, "treatment": name, **more, "drugs": part}
        for id_, kind, name, more, part in zip(
            ["induction", "consolidation", "maintenance"], kinds, names, rest, parts, strict=True
        )
    ]


def _drug(tables: _Tables, number: int, name: str) -> Item:
    unit = tables.term("units", ("mg/m2", "mg", "mg/kg")[number % 3])
    drug: Item = {"status": "given", "drug": name, "route": tables.term("routes", ("Intravenous", "Oral")[number % 2])}
    if number in (0, 1, 4):
        drug["when"] = ("2019-04-02", "day 1 of induction", "", "", "2019-08-12")[number]
    return drug | {"dose": Decimal("1.30") * (number + 1) if number % 2 else 20 * (number + 1), "unit": unit}


def _conditions(tables: _Tables) -> list[Item]:
    first, second = tables.terms("conditions", 2, "Anemia", "Low back pain")
    return [
        {"status": "Resolved", "verification": "Confirmed", "condition": first, "when": "2019-02", "until": "2019-07-15"},
        {
            "id": "pain",
            "dueTo": "mm",
            "status": "Active",
            "verification": "Confirmed",
            "severity": tables.term("severities", "Moderate"),
            "condition": second,
            "when": "2019-01-20",
            "sites": tables.terms("sites", 1, "Lumbar spine"),
            "note": "Pain on movement, worse at night",
        },
    ]


def _staging(tables: _Tables) -> list[Item]:
    systems = tables.terms("staging-systems", 2, "ISS", "R-ISS")
    stages = tables.terms("stages", 2, "ISS stage II", "R-ISS stage II")
    common = {"of": "mm", "when": "2019-03-15"}
    return [{"system": system, "stage": stage, **common} for system, stage in zip(systems, stages, strict=True)]


def _labs(tables: _Tables) -> list[Item]:
    """Fourteen tests, each before and after the first treatment."""
    names = tables.terms("labs", 14, *_LABS)
    specimen = tables.term("specimens", "Serum")
    found = []
    for number, name in enumerate(names):
        printed, low, high, before, after = _LABS.get(name, _OTHER)
        unit = tables.term("units", printed)
        common = {"test": name, "specimen": specimen}
        normal = {"low": _number(low), "high": _number(high), "unit": unit}
        side = tables.term("interpretations", "High" if _number(before) > _number(high) else "Low")
        flag = {"flag": side} if number % 2 else {}
        later = "day 84 of induction" if number in (3, 8, 12) else "2019-06-24"
        found.append({**common, "when": "2019-03-11", "value": _number(before), "unit": unit, **flag, "normal": normal})
        found.append({**common, "when": later, "value": _number(after), "unit": unit, "normal": normal})
    return found


def _number(text: str) -> Decimal | int:
    return Decimal(text) if "." in text else int(text)


def _markers(tables: _Tables) -> list[Item]:
    method, specimen = tables.term("methods", "Immunohistochemistry"), tables.term("specimens", "Biopsy")
    common: Item = {"of": "biopsy", "when": "at biopsy", "method": method, "specimen": specimen}
    names = tables.terms("markers", 8, "CD38", "CD138", "CD56", "CD20", "Ki-67")
    results: list[Item] = [{"result": "Positive"}, {"result": "Negative"}]
    share = {"value": 35, "unit": tables.term("units", "%")}
    return [
        {**common, "marker": name, **(share if name == "Ki-67" else results[number % 2])} for number, name in enumerate(names)
    ]


def _responses(tables: _Tables) -> list[Item]:
    first, second = tables.terms("responses", 2, "PR (IMWG)", "VGPR")
    criteria = tables.term("response-criteria", "IMWG criteria")
    common = {"of": "mm", "criteria": criteria}
    return [
        {"after": "induction", "when": "2019-07-01", "response": first, **common},
        {"after": "consolidation", "when": "2 months after consolidation", "response": second, **common},
    ]
