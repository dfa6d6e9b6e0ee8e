"""What FHIR takes as a primitive: judged by the regexes of its own definitions, and by HL7's and HAPI's validators.

The verdicts in VALID and INVALID are those of both Java validators (HAPI 8.8.1, org.hl7.fhir.validation 6.7.9), which
agreed on all of these values but one: HL7's finds no target for the canonical "#a". Where ours is another verdict, OURS
has it, with the reason.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import pytest

from service.fhir.definitions import load
from service.fhir.json import loads
from service.fhir.primitives import CHECKS, problem

UUID = "urn:uuid:c757873d-ec9a-4326-a141-556f43239520"
OID = "urn:oid:2.16.840.1.113883.6.1"

VALID: dict[str, list[Any]] = {
    "boolean": [True, False],
    "integer": [0, 1, -1, 2147483647, -2147483648],
    "unsignedInt": [0, 2147483647],
    "positiveInt": [1, 2147483647],
    "decimal": [0, -1, Decimal("1.0"), Decimal("1E+3"), Decimal("1E-7"), Decimal("-0.0"), 10**25, Decimal("0." + "1" * 20)],
    "string": [
        "a",
        " ",
        "  a",
        "a ",
        "a\tb",
        "a\nb",
        "a\r\nb",
        "a\x7fb",
        "\u00a0",
        "\u3000",
        "😀",
        "a\x01b",
        "a\x00b",
        "x" * 1048576,
    ],
    "markdown": ["a", " ", "  a", "a\nb", "<b>x</b>", "\n"],
    "code": ["a", "a b", "é", "a\u200bb"],
    "id": ["a", "a" * 64, "a.b-c", "."],
    "uri": ["http://a", UUID, OID, "#a", "a", "é", "http://a<b>", "http://a{b}", "http://a|1", "http://[bad", "urn:x", ":"],
    "url": ["http://a", "a", "é", "mailto:x@y", UUID, OID],
    "canonical": ["http://a", "http://a|1", "http://a|1#x", "http://a|", UUID, UUID + "|1", OID, "x:y", "urn:x", "#a"],
    "oid": [OID, "urn:oid:2.999.0"],
    "uuid": [UUID, "urn:uuid:00000000-0000-0000-0000-000000000000"],
    "date": ["2021", "2021-02", "2021-02-28", "2020-02-29", "2000-02-29", "0001", "9999-12-31", "0999"],
    "dateTime": [
        *("2021", "2021-02", "2021-02-28", "2021-02-28T10:00:00Z", "2021-02-28T23:59:60Z", "2021-02-28T10:00:00+14:00"),
        *("2021-02-28T10:00:00-14:00", "2021-02-28T10:00:00+13:59", "2021-02-28T10:00:00-00:00"),
        *("2021-02-28T10:00:00.1Z", "2021-02-28T10:00:00.1234567890123Z"),
    ],
    "instant": ["2021-02-28T10:00:00Z", "2021-02-28T10:00:00.123+01:00", "2021-02-28T10:00:60Z", "0001-01-01T00:00:00Z"],
    "time": ["10:00:00", "23:59:60", "00:00:60"],
    "base64Binary": ["QUJD", "QUI=", "QQ==", "QR==", "QUJD ", " QUJD", "QU JD", "QU\nJD", "Q U I =", "\nQUJD\n", "QUI =\n"],
    "xhtml": ['<div xmlns="http://www.w3.org/1999/xhtml">a</div>'],
}

NO_TEXT: list[Any] = ["", 1, True, None, {}, []]
NO_NUMBER: list[Any] = ["1", "", True, None]
INVALID: dict[str, list[Any]] = {
    "boolean": ["true", "", 1, 0, None],
    "integer": [*NO_NUMBER, 2147483648, -2147483649, Decimal("1.0"), Decimal("1.5"), Decimal("1E+3"), 10**20],
    "unsignedInt": [*NO_NUMBER, -1, 2147483648, Decimal("1.0")],
    "positiveInt": [*NO_NUMBER, 0, -1, 2147483648, Decimal("1.0")],
    "decimal": NO_NUMBER,
    "string": [*NO_TEXT, "x" * 1048577],
    "markdown": NO_TEXT,
    "code": [*NO_TEXT, " a", "a ", "a  b", "a\tb", "a\nb", "a\u00a0b", "a\u3000b", "a\u2003b"],
    "id": [*NO_TEXT, "a b", "a_b", "a" * 65, "é", "a\n", " a", "a/b", "ａ"],
    "uri": [
        *NO_TEXT,
        *("a b", " http://a", "http://a ", "a\nb", "urn:uuid:x", UUID + "|1", "urn:oid:3.2.3"),
        *("urn:uuid:C757873D-EC9A-4326-A141-556F43239520", "urn:oid:1.02.3", "urn:oid:1", "urn:oid:", "urn:oid:1.2.3.x"),
    ],
    "url": [*NO_TEXT, "a b", "urn:uuid:x", "urn:oid:3.1"],
    "canonical": [*NO_TEXT, "a b", "a", "/a/b", "|1", "1:a", "Questionnaire/1", "urn:uuid:x", "urn:oid:4", "http://a|1 0"],
    "oid": [*NO_TEXT, "1.2.3", "urn:oid:3.1", "urn:oid:1.01", "urn:oid:1", "urn:oid:1.2.", "URN:OID:1.2", OID + "|1"],
    "uuid": [
        *NO_TEXT,
        *(UUID[9:], "urn:uuid:x", "urn:uuid:c757873dec9a4326a141556f43239520", "URN:UUID:" + UUID[9:]),
        "urn:uuid:C757873D-EC9A-4326-A141-556F43239520",
    ],
    "date": [
        *NO_TEXT,
        *("2021-02-29", "2021-02-30", "1900-02-29", "2021-04-31", "2021-06-31", "2021-02-00", "2021-01-32"),
        *("2021-13", "2021-00", "2021-1-1", "0000", "0000-01-01", "10000", "21", "-2021", " 2021", "2021 ", "２０２１", 2021),
        *("2021-02-28T00:00:00Z", "2021-02-28Z"),
    ],
    "dateTime": [
        *NO_TEXT,
        *("2021-02-30", "2021-02-28T", "2021-02T10:00:00Z", "2021-02-28 10:00:00Z", "0000-01-01T00:00:00Z"),
        *(f"2021-02-28T{time}" for time in ("10:00:00", "10:00Z", "10Z", "24:00:00Z", "23:59:61Z", "23:60:00Z", "10:00:00Z ")),
        *(f"2021-02-28T10:00:00{zone}" for zone in ("+14:01", "+15:00", "+13:60", "z", ".Z", "+0100", "+01")),
        *("2021-02-30T10:00:00Z", "2021-06-31T10:00:00Z", "2021-02-29T10:00:00.5+01:00", "2021-02-28t10:00:00Z"),
    ],
    "instant": [
        *NO_TEXT,
        *("2021-02-28", "2021", "2021-02-28T10:00:00", "2021-02-30T10:00:00Z", "2021-02-28T24:00:00Z"),
        *("2021-02-28T10:00:00+15:00", "2021-02-28T10:00Z"),
    ],
    "time": [
        *NO_TEXT,
        *("10:00", "24:00:00", "23:59:61", "10:60:00", "10:00:00Z", "10:00:00+01:00", "1:00:00", "T10:00:00"),
        "10:00:00.",
    ],
    "base64Binary": [*NO_TEXT, "QUJ", "QUJD=", "QUJ-", "QUJ_", "QUJDé", "QUJDRA", "QQ", "A", "="],
    "xhtml": NO_TEXT,
}

CONTROL = "no blank, and no character of a code or URI either; Java warns"
PADDING = "RFC 4648, cited by datatypes.html#base64Binary, pads at the end only, with at most two ="
DOTS = "the regex of datatypes.html#oid takes it; Java wants the last dot further on"
OURS: list[tuple[str, str, bool, str]] = [
    *((kind, "a\x01b", False, CONTROL) for kind in ("code", "uri")),
    ("markdown", "x" * 1048577, False, "markdown is a kind of string, which SHALL NOT exceed 1 MB: datatypes.html#string"),
    ("code", " ", False, "datatypes.html#code: no leading or trailing whitespace; Java stops at a warning"),
    ("uri", OID + "#x", True, "RFC 3986: any URI may have a fragment, as Java has it for urn:uuid"),
    *((kind, "urn:oid:1.2.3", True, DOTS) for kind in ("oid", "uri", "url", "canonical")),
    ("oid", "urn:oid:0.1", True, DOTS),
    ("oid", "urn:oid:2." + "9" * 40, True, DOTS),
    ("canonical", OID + "|1", True, "references.html#canonical: any canonical may have a version"),
    ("canonical", "HTTP://x", True, "RFC 3986 section 3.1: schemes are in either case"),
    ("time", "10:00:00.123", True, "the regex of datatypes.html#time has fractions"),
    *(("base64Binary", text, False, PADDING) for text in ("Q===", "====", "QQ==QQ==", "QUI=QUI=")),
    ("base64Binary", " ", False, "datatypes.html#base64Binary: the regex wants a group of four at least"),
]

# The regexes of the StructureDefinitions in hl7.fhir.r4.core 4.0.1. They alone would take 2021-02-30 and urn:uuid:x.
YEAR = "([0-9]([0-9]([0-9][1-9]|[1-9]0)|[1-9]00)|[1-9]000)"
MOMENT = r"T([01][0-9]|2[0-3]):[0-5][0-9]:([0-5][0-9]|60)(\.[0-9]+)?(Z|(\+|-)((0[0-9]|1[0-3]):[0-5][0-9]|14:00))"
REGEXES = {
    "canonical": r"\S*",
    "code": r"[^\s]+(\s[^\s]+)*",
    "date": YEAR + "(-(0[1-9]|1[0-2])(-(0[1-9]|[1-2][0-9]|3[0-1]))?)?",
    "dateTime": YEAR + f"(-(0[1-9]|1[0-2])(-(0[1-9]|[1-2][0-9]|3[0-1])({MOMENT})?)?)?",
    "id": r"[A-Za-z0-9\-\.]{1,64}",
    "instant": YEAR + "-(0[1-9]|1[0-2])-(0[1-9]|[1-2][0-9]|3[0-1])" + MOMENT,
    "oid": r"urn:oid:[0-2](\.(0|[1-9][0-9]*))+",
    "time": r"([01][0-9]|2[0-3]):[0-5][0-9]:([0-5][0-9]|60)(\.[0-9]+)?",
    "uri": r"\S*",
    "url": r"\S*",
    "uuid": "urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
}


def cases(table: dict[str, list[Any]]) -> list[Any]:
    return [pytest.param(kind, value, id=f"{kind}-{value!r:.50}") for kind, values in table.items() for value in values]


@pytest.mark.parametrize(("kind", "value"), cases(VALID))
def test_takes_what_both_java_validators_take(kind: str, value: Any) -> None:
    assert problem(kind, value) is None


@pytest.mark.parametrize(("kind", "value"), cases(INVALID))
def test_refuses_what_both_java_validators_refuse(kind: str, value: Any) -> None:
    assert problem(kind, value) is not None


@pytest.mark.parametrize(("kind", "value", "valid", "reason"), OURS)
def test_differs_from_java_with_a_reason(kind: str, value: str, valid: bool, reason: str) -> None:
    assert (problem(kind, value) is None) is valid, reason


@pytest.mark.parametrize("kind", REGEXES)
def test_takes_nothing_that_the_regex_of_the_definition_refuses(kind: str) -> None:
    values = [value for value in VALID[kind] + INVALID[kind] if isinstance(value, str)]
    values += [value for other, value, _, _ in OURS if other == kind]
    assert [value for value in values if problem(kind, value) is None and not re.fullmatch(REGEXES[kind], value)] == []


def test_knows_every_primitive_type_of_r4() -> None:
    kinds = {name for name, found in load().types.items() if found.kind == "primitive-type"}
    assert set(CHECKS) == kinds == set(VALID) == set(INVALID)


def test_raises_for_a_type_that_is_none() -> None:
    with pytest.raises(KeyError):
        problem("Quantity", {})


def test_every_day_of_four_centuries() -> None:
    """The Gregorian calendar repeats after 400 years: the pattern has as many days as they have."""
    days = [f"{2000 + year}-{month:02}-{day:02}" for year in range(400) for month in range(14) for day in range(33)]
    assert sum(problem("date", day) is None for day in days) == 146_097


def test_never_quotes_the_value() -> None:
    for kind in CHECKS:
        found = problem(kind, " Müller\t") or problem(kind, {"Müller": 1})
        assert found is not None
        assert found.startswith("expected ")
        assert "Müller" not in found


@pytest.mark.parametrize("text", ["1.0", "1e3", "-0.0", "1E400"])
def test_takes_decimals_as_the_json_door_reads_them(text: str) -> None:
    assert problem("decimal", loads(text)) is None


@pytest.mark.parametrize("kind", CHECKS)
@pytest.mark.parametrize("part", [" ", "a", "a ", "1.", "urn:oid:1", "0", "=", "#", "\n", "2021-", "a:"])
def test_long_hostile_texts_end(kind: str, part: str) -> None:
    """A pattern that backtracks would not come back from these."""
    problem(kind, part * 50_000 + "\x00")
