"""What every hand-written converter of the benchmark needs, written as plainly and quickly as a good engineer would.

Code tables as dicts, keyed identities, and moments: nothing of this is taken from the service, so that what is compared with
it shares none of its costs. It knows what the record of the benchmark holds, and no more.
"""

from __future__ import annotations

import csv
import datetime
import hashlib
import re
import unicodedata
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

CODES = Path(__file__).parent.parent / "mappings" / "myeloma" / "codes"
KEY = b"casebridge-example-key-do-not-use-in-production"
RESOURCE_ID = "https://casebridge.dev/fhir/identifier/resource"
ITEM_ID = "https://casebridge.dev/fhir/identifier/item"
CASE_ID = "https://casebridge.dev/fhir/identifier/case"
UCUM = "http://unitsofmeasure.org"
RELATIVE_DATE = "http://hl7.org/fhir/StructureDefinition/relative-date"
# The profiles that the mapping set claims, by the kind of datum.
_MCODE = "http://hl7.org/fhir/us/mcode/StructureDefinition/mcode-"
PROFILES = {
    "patient": _MCODE + "cancer-patient",
    "diagnosis": _MCODE + "primary-cancer-condition",
    "condition": "http://hl7.org/fhir/us/core/StructureDefinition/us-core-condition-problems-health-concerns",
    "drug": _MCODE + "cancer-related-medication-administration",
    "staging": _MCODE + "cancer-stage",
    "response": _MCODE + "cancer-disease-status",
}
ABSENT_URL = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
MASKED = {"extension": [{"url": ABSENT_URL, "valueCode": "masked"}]}
ABSENT = {"extension": [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "unknown"}]}

Json = dict[str, Any]
_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}

decode = msgspec.json.Decoder(float_hook=Decimal).decode
encode = msgspec.json.Encoder(decimal_format="number").encode


def concepts(table: str) -> dict[str, Json]:
    """Term → CodeableConcept. The dicts are shared by all that name the term: they go straight into the text."""
    found: dict[str, list[Json]] = {}
    with (CODES / f"{table}.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            codings = found.setdefault(row["term"], [])
            if row["code"]:
                codings.append({name: row[name] for name in ("system", "code", "display") if row[name]})
    return {term: {"coding": codings, "text": term} if codings else {"text": term} for term, codings in found.items()}


def codes(table: str) -> dict[str, str]:
    """Term → its first code."""
    return {term: concept["coding"][0]["code"] for term, concept in concepts(table).items() if "coding" in concept}


class Urls:
    """The identities of one case, as service.mapping.identity makes them."""

    def __init__(self, case: str) -> None:
        self.base = hashlib.blake2b(_message(case), key=KEY, digest_size=16)

    def of(self, section: str, above: str, values: list[Any]) -> str:
        digest = self.base.copy()
        digest.update(_message((section, above, values)))
        digits = digest.hexdigest()
        return f"urn:uuid:{digits[:8]}-{digits[8:12]}-8{digits[13:16]}-{_VARIANT[digits[16]]}{digits[17:20]}-{digits[20:]}"


def _message(value: Any) -> bytes:
    message = encode(value)
    return message if message.isascii() else unicodedata.normalize("NFC", message.decode()).encode()


# --- moments ----------------------------------------------------------------------------------------------------------

_RELATIVE = re.compile(
    r"day (?P<day>\d+) of (?P<of>\S+)|(?P<amount>\d+) (?P<unit>week|month)s? after (?P<start>\S+)"
    r"|(?P<word>at|after) (?P<event>\S+)"
)
_UNITS = {"week": "wk", "month": "mo"}
_RELATIONSHIPS = {"at": "concurrent-with-start", "after": "after"}
Events = dict[str, tuple[str, str]]  # id → (resource type, its own moment)


def moment(text: str, name: str, events: Events, *, required: bool = False) -> Json:
    """The properties of name[x] that a moment becomes."""
    if len(text) <= 10 and text[0].isdigit():
        return {name + "DateTime": text}
    if " to " in text:
        start, end = text.split(" to ")
        return {name + "Period": {"start": start, "end": end}}
    date, extension = _relative(text, events)
    if date is None and required:
        return {name + "Period": {"_start": extension, "_end": extension}}
    out: Json = {f"_{name}DateTime": extension}
    if date is not None:
        out[name + "DateTime"] = date
    return out


def _relative(text: str, events: Events) -> tuple[str | None, Json]:
    match = _RELATIVE.fullmatch(text)
    if match is None:
        raise ValueError("no moment that this benchmark knows")
    day, of, amount, unit, start, word, event = match.groups()
    if day:
        base = _day(events[of][1])
        date = None if base is None else (base + datetime.timedelta(int(day))).isoformat()
        return date, _extension(events, of, "after-start", {"value": int(day), "system": UCUM, "code": "d"})
    if amount:
        return None, _extension(events, start, "after-start", {"value": int(amount), "system": UCUM, "code": _UNITS[unit]})
    date = events[event][1] if word == "at" else None
    return date, _extension(events, event, _RELATIONSHIPS[word], ABSENT)


def _day(text: str) -> datetime.date | None:
    """The day on which an event starts; of the events of this record, all that days are counted from have one."""
    return datetime.date.fromisoformat(text[:10]) if text[0].isdigit() else None


def _extension(events: Events, event: str, relationship: str, offset: Json) -> Json:
    reference = {"type": events[event][0], "identifier": {"system": ITEM_ID, "value": event}}
    parts = [
        {"url": "event", "valueReference": reference},
        {"url": "relationship", "valueCode": relationship},
        {"url": "offset", "valueDuration": offset},
    ]
    return {"extension": [{"url": RELATIVE_DATE, "extension": parts}]}


_WORDS = {code: word for word, code in _RELATIONSHIPS.items()}
_UNIT_WORDS = {code: word for word, code in _UNITS.items()}


def read_moment(resource: Json, name: str) -> str:
    """The moment that name[x] holds, as the record writes it."""
    if extension := resource.get(f"_{name}DateTime"):
        return _words(extension)
    if date := resource.get(name + "DateTime"):
        return str(date)
    period = resource[name + "Period"]
    return _words(period["_start"]) if "_start" in period else f"{period['start']} to {period['end']}"


def _words(value: Json) -> str:
    event, relationship, offset = value["extension"][0]["extension"]
    name = event["valueReference"]["identifier"]["value"]
    duration = offset["valueDuration"]
    if "value" not in duration:
        return f"{_WORDS[relationship['valueCode']]} {name}"
    amount, code = duration["value"], duration["code"]
    if code == "d":
        return f"day {amount} of {name}"
    return f"{amount} {_UNIT_WORDS[code]}{'' if amount == 1 else 's'} after {name}"


# --- identities -------------------------------------------------------------------------------------------------------

_KEYS = {
    "diagnoses": ("Condition", ("diagnosis", "when")),
    "procedures": ("Procedure", ("procedure", "when", "sites")),
    "treatments": ("Procedure", ("treatment", "kind", "when")),
    "conditions": ("Condition", ("condition", "when", "sites")),
    "staging": ("Observation", ("system", "when")),
    "labs": ("Observation", ("test", "specimen", "when", "about")),
    "markers": ("Observation", ("marker", "of", "when")),
    "responses": ("Observation", ("response", "when", "after")),
}
_DRUG_KEY = ("drug", "when", "dose", "unit")


class Identities:
    """The fullUrl of each item, in the order of its section, and what other items refer to by id."""

    def __init__(self, record: Json) -> None:
        full_url = Urls(record["case"]).of
        self.patient = patient = full_url("", "", [])
        self.urls: dict[str, list[str]] = {}
        self.by_id: dict[str, str] = {}
        self.events: Events = {}
        for section, (resource_type, key) in _KEYS.items():
            self.urls[section] = urls = []
            for item in record.get(section, ()):
                url = full_url(section, patient, [item.get(name) for name in key])
                urls.append(url)
                if "id" in item:
                    self.by_id[item["id"]] = url
                    self.events[item["id"]] = (resource_type, item.get("when", ""))
        self.drugs = [
            [full_url("treatments.drugs", url, [drug.get(name) for name in _DRUG_KEY]) for drug in treatment["drugs"]]
            for url, treatment in zip(self.urls["treatments"], record["treatments"], strict=True)
        ]
