"""Dates, quantities, texts and patterns, where HL7's suite leaves a case open."""

from __future__ import annotations

from typing import Any

import pytest

from service.validate.fhirpath import PathError, compile_path, root_node
from service.validate.fhirpath.functions import patterns
from service.validate.fhirpath.functions.conversions import to_string

NODE = root_node({"resourceType": "Basic"})


def run(text: str) -> list[Any]:
    return compile_path(text).evaluate(NODE)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # An unknown offset leaves open what lies within it, and nothing else.
        ("@2012-04-15T23:00 < @2012-04-16T10:00Z", []),
        ("@2012-04-15T10:00 < @2012-04-17T10:00Z", [True]),
        ("@2012-04-15 < @2012-04-15T10:00Z", []),
        ("@2012 < @2013-06-01T00:00:00Z", [True]),
        ("@2012-12-31T23:30-01:00 = @2013-01-01T00:30Z", [True]),
        ("@2016-02-29T01:30+02:00 < @2016-02-28T23:31Z", [True]),
        ("@0001-01-01T00:00+14:00 < @0001-01-02T00:00Z", [True]),
        ("@2012-01 = @2012-01T", [True]),
        ("@2012-01-01 ~ @2012-01", [False]),
    ],
)
def test_moments_compare(text: str, expected: list[bool]) -> None:
    assert run(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("@2016-01-31 + 1 month", "2016-02-29"),
        ("@2016-02-29 + 1 year", "2017-02-28"),
        ("@2014 + 23 months", "2015"),
        ("@2014-01 + 45 days", "2014-02"),
        ("@2014 - 800 days", "2012"),
        ("@2014-03-01T00:30:00 - 1 hour", "2014-02-28T23:30:00"),
        ("@T23:30 + 1 hour", "00:30"),
        ("@T10:00 - 11 hours", "23:00"),
        ("@9999-12-31 + 1 day", None),
        ("@0001 - 1 year", None),
        ("@2014-01-01 + 99999999999999999999 years", None),
    ],
)
def test_moments_move(text: str, expected: str | None) -> None:
    assert [to_string(item) for item in run(text)] == ([expected] if expected else [])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3.4 'g/dL' = 34 'g/L'", [True]),
        ("15 'g/L' = 1.5 'g/dL'", [True]),
        ("1 'g' > 1 'm'", []),
        ("1 'g' = 1 'm'", [False]),
        ("1 'nonsense' < 2 'nonsense'", [True]),
        ("1 year > 11 months", [True]),
        ("12 months = 1 year", [True]),
        ("1 = 1 '1'", [True]),
        ("(1 'g' + 500 'mg') = 1.5 'g'", [True]),
        ("(1 'g' + 1 'm')", []),
        ("(6 'g' / 2) = 3 'g'", [True]),
        ("(1 'g' | 1000 'mg').count()", [1]),
        ("1 'g' / 0", []),
    ],
)
def test_quantities(text: str, expected: list[Any]) -> None:
    assert run(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("'abc'.replaceMatches('(b)', '[$1]')", ["a[b]c"]),
        ("'abc'.replaceMatches('(?P<x>b)', '${x}${x}')", ["abbc"]),
        (r"'abc'.replaceMatches('b', '\\1')", [r"a\1c"]),
        ("'a,b'.split(',')", ["a", "b"]),
        ("'a'.substring(0, -1)", [""]),
        ("'abc'.lastIndexOf('c')", [2]),
        ("'x'.decode('base64')", []),
    ],
)
def test_texts(text: str, expected: list[Any]) -> None:
    assert run(text) == expected


# Those of R4's invariants that repeat a group, and the usual ones.
SAFE = [
    "[A-Z]([A-Za-z0-9_]){0,254}",
    r"^[a-zA-Z0-9\/\-_\[\]\@]+$",
    r"[^\s\.,:;\'\"\/|?!@#$%&*()\[\]{}]{1,64}(\.[^\s\.,:;\'\"\/|?!@#$%&*()\[\]{}]{1,64}(\[x\])?(\:[^\s\.]+)?)*",
    r"[A-Za-z][A-Za-z0-9]*(\.[a-z][A-Za-z0-9]*(\[x])?)*",
    r"^http:\/\/hl7\.org\/fhirpath\/System\.[A-Z][A-Za-z]+$",
    "^[0-9]{2}D[0-9]{7}$",
    ".*Library.*",
    r"(\d\d)*",
]
EXPONENTIAL = [
    "(a+)+$",
    "(a*)*",
    "(a|a)*$",
    "(a|aa)+$",
    "(.*a){20}",
    "(a?a?)*b",
    "((ab)*)*",
    "(x+x+)+y",
    r"(\w+\s?)*$",
    r"(a)\1*",
    r"(\.a*a*)*!",
    r"(\.(ab|b|a))*!",
    "(?i)(a+A)*",
    r"(\.\w*[\u4e00-\u9fff]*)*",
    "(a(?=a*)a*)*",
]


@pytest.mark.parametrize("pattern", SAFE)
def test_a_pattern_that_ends_is_taken(pattern: str) -> None:
    assert patterns.found(pattern, "Observation.value[x].Library:a", whole=False) in (True, False)


@pytest.mark.parametrize("pattern", EXPONENTIAL)
def test_a_pattern_that_may_not_end_is_refused(pattern: str) -> None:
    with pytest.raises(PathError):
        patterns.found(pattern, "a" * 60 + "!")


def test_a_text_may_be_too_long_for_a_pattern() -> None:
    with pytest.raises(PathError, match="too long"):
        patterns.found(".*a.*b.*c.*d", "a" * 10_000)
    assert patterns.found("^[a-z]+$", "a" * 20_000)
