"""The content of code systems: hierarchies of all three kinds, filters, spellings, displays, and patterns that are refused."""

from __future__ import annotations

from typing import Any

import pytest

from service.terminology.codesystems import Content, safe_pattern
from service.terminology.definitions import Filter, code_system


def content(*concepts: dict[str, Any], **more: Any) -> Content:
    return Content(code_system({"url": "http://example.org/cs", "content": "complete", "concept": concepts, **more}))


def with_property(code: str, **values: Any) -> dict[str, Any]:
    return {"code": code, "property": [{"code": name, "valueCode": value} for name, value in values.items()]}


# animal > mammal > cat, dog; mammal > whale by a property of whale; swimmer > whale, fish by a property of swimmer.
LIVING = content(
    {"code": "animal", "concept": [{"code": "mammal", "concept": [{"code": "cat"}, with_property("dog", legs="4")]}]},
    with_property("whale", subsumedBy="mammal", legs="0"),
    {"code": "swimmer", "property": [{"code": "child", "valueCode": code} for code in ("whale", "fish")]},
    with_property("fish", parent="animal", legs="0", tame=True),
)


@pytest.mark.parametrize(
    ("by", "chosen"),
    [
        (("concept", "is-a", "mammal"), "cat dog mammal whale"),
        (("concept", "is-a", "swimmer"), "fish swimmer whale"),
        (("concept", "is-a", "unknown"), ""),
        (("concept", "descendent-of", "animal"), "cat dog fish mammal whale"),
        (("concept", "is-not-a", "mammal"), "animal fish swimmer"),
        (("concept", "generalizes", "whale"), "animal mammal swimmer whale"),
        (("code", "=", "cat"), "cat"),
        (("code", "in", "cat, dog,unknown"), "cat dog"),
        (("code", "not-in", "cat,dog"), "animal fish mammal swimmer whale"),
        (("code", "regex", "[a-d].*"), "animal cat dog"),
        (("code", "exists", "true"), "animal cat dog fish mammal swimmer whale"),
        (("code", "exists", "false"), ""),
        (("parent", "=", "mammal"), "cat dog whale"),
        (("child", "=", "whale"), "mammal swimmer"),
        (("child", "exists", "false"), "cat dog fish whale"),
        (("legs", "=", "0"), "fish whale"),
        (("legs", "in", "4,6"), "dog"),
        (("legs", "not-in", "0"), "animal cat dog mammal swimmer"),
        (("legs", "exists", "true"), "dog fish whale"),
        (("legs", "regex", "[1-9]"), "dog"),
        (("tame", "=", "true"), "fish"),
    ],
)
def test_filters(by: tuple[str, str, str], chosen: str) -> None:
    found = LIVING.chosen(Filter(*by))
    assert found is not None
    assert sorted(found) == chosen.split()


@pytest.mark.parametrize(
    "by",
    [
        ("wings", "exists", "false"),  # a property that no concept has
        ("legs", "is-a", "4"),  # an operator that is none for a property
        ("code", "child-of", "mammal"),  # an operator of a later FHIR
        ("code", "regex", "(a+)+"),
        ("legs", "regex", "(a+)+"),
    ],
)
def test_filters_that_cannot_be_computed(by: tuple[str, str, str]) -> None:
    assert LIVING.chosen(Filter(*by)) is None


def test_a_circle_of_parents_ends() -> None:
    ring = content(with_property("a", parent="b"), with_property("b", parent="a"))
    assert ring.chosen(Filter("concept", "is-a", "a")) == frozenset("ab")
    assert ring.chosen(Filter("concept", "descendent-of", "a")) == frozenset("b")


def test_letter_case() -> None:
    assert content({"code": "Ab"}).find("ab") is None
    assert content({"code": "Ab"}, caseSensitive=False).find("aB") == "Ab"


def test_displays_with_designations_and_those_of_a_supplement() -> None:
    concept = {"code": "a", "display": "One", "designation": [{"value": "Eins"}, {"value": "One"}]}
    added = code_system({"url": "http://example.org/more", "concept": [{"code": "a", "designation": [{"value": "Un"}]}]})
    base = code_system({"url": "http://example.org/cs", "concept": [concept, {"code": "b"}]})
    assert Content(base).displays("a") == ("One", "Eins")
    assert Content(base, added).displays("a") == ("One", "Eins", "Un")
    assert Content(base, added).displays("b") == ()


@pytest.mark.parametrize("text", ["[A-Z]{3}", "[0-9]{3}", "LA\\d+-\\d", "(en|de)-.*", "a?b", "", "^a$"])
def test_safe_patterns(text: str) -> None:
    assert safe_pattern(text) is not None


REFUSED = [
    "(a+)+",
    "(a|a)(a|a)(a|a)",
    "(a|a)*",
    "a*a*a*b",
    r"(a)\1",
    "(?=a)",
    "(?i)a",
    "a{2,}b{2,}c{2,}",
    "(",
    "a{,9}{,9}{,9}",
    "[a",
    "a**",
]


@pytest.mark.parametrize("text", REFUSED)
def test_patterns_that_are_refused(text: str) -> None:
    assert safe_pattern(text) is None
