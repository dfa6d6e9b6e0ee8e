"""Systems without content in a package: judged by the examples of their RFCs, by R4's own expansions, and by HAPI."""

from __future__ import annotations

import json
import mimetypes
import tarfile
from collections.abc import Iterator
from typing import Any

import pytest

from service.terminology import systems
from service.terminology.codesystems import Content
from service.terminology.definitions import Filter
from service.terminology.systems import is_language, is_mime_type, is_unit
from tests.support.registry import R4_EXAMPLES, fhir_package, needs

# RFC 5646 appendix A, whole.
LANGUAGES = """
    de fr ja i-enochian zh-Hant zh-Hans sr-Cyrl sr-Latn zh-cmn-Hans-CN cmn-Hans-CN zh-yue-HK yue-HK zh-Hans-CN sr-Latn-RS
    sl-rozaj sl-rozaj-biske sl-nedis de-CH-1901 sl-IT-nedis hy-Latn-IT-arevela de-DE en-US es-419 de-CH-x-phonebk
    az-Arab-x-AZE-derbend x-whatever qaa-Qaaa-QM-x-southern de-Qaaa sr-Latn-QM sr-Qaaa-RS en-US-u-islamcal
    zh-CN-a-myext-x-private en-a-myext-b-another
    """.split()  # noqa: SIM905
NO_LANGUAGES = ["de-419-DE", "a-DE", "ar-a-aaa-b-bbb-a-ccc"]

# What HAPI 8.8.1 refuses as well, in Patient.language.
REFUSED_BY_HAPI = ["xx", "zz", "english", "en_US", "", "e", "en-", "-en", "en-US-", "en US", "en-YY"]

MIME_TYPES = [
    "text/plain; charset=utf-8",
    'text/plain;charset="utf-8"',
    "application/vnd.x+json",
    "image/*",
    "json",
    "xml",
    "ttl",
]
NO_MIME_TYPES = ["", "nonsense", "text/", "/plain", "a/b/c", "a b/c", "text/plain; charset", "text/plain,text/html", "text/ä"]


@pytest.mark.parametrize("code", LANGUAGES)
def test_languages_of_the_rfc(code: str) -> None:
    assert is_language(code)
    assert is_language(code.lower())
    assert is_language(code.upper())


@pytest.mark.parametrize("code", NO_LANGUAGES + REFUSED_BY_HAPI)
def test_what_is_no_language(code: str) -> None:
    assert not is_language(code)


@pytest.mark.parametrize("code", MIME_TYPES)
def test_mime_types(code: str) -> None:
    assert is_mime_type(code)


def test_mime_types_that_python_knows() -> None:
    known = {*mimetypes.types_map.values(), *mimetypes.common_types.values()}
    assert [each for each in known if not is_mime_type(each)] == []


@pytest.mark.parametrize("code", NO_MIME_TYPES)
def test_what_is_no_mime_type(code: str) -> None:
    assert not is_mime_type(code)


@pytest.mark.network
def test_mime_types_of_the_official_examples() -> None:
    found: set[str] = set()
    with tarfile.open(needs(fhir_package, R4_EXAMPLES)) as archive:
        for member in archive:
            file = archive.extractfile(member)
            if file and member.name.endswith(".json") and b'"contentType"' in (text := file.read()):
                found.update(_content_types(json.loads(text)))
    assert len(found) > 10
    assert [code for code in found if not is_mime_type(code)] == []


def _content_types(value: Any) -> Iterator[str]:
    if isinstance(value, dict) and isinstance(value.get("contentType"), str):
        yield value["contentType"]
    for below in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _content_types(below)


def test_a_language_filter_looks_at_the_parts_of_the_tag() -> None:
    """As in US Core's value set simple-language."""
    parts = ("ext-lang", "script", "variant", "extension", "private-use")
    simple = systems.rule(systems.LANGUAGES, [Filter(part, "exists", "false") for part in parts])
    assert simple is not None
    assert [code for code in LANGUAGES if simple(code)] == ["de", "fr", "ja", "yue-HK", "de-DE", "en-US", "es-419"]
    assert systems.rule(systems.LANGUAGES, [Filter("suppress-script", "exists", "false")]) is None
    assert systems.rule(systems.UCUM, [Filter("canonical", "=", "m")]) is None


def test_units() -> None:
    assert is_unit("mg/dL")
    assert not is_unit("mgs")
    assert systems.rule(systems.UCUM) is is_unit


# HAPI 8.8.1 takes those of two and three letters, and no numbers; the value set iso3166-1-N is made of the numbers.
@pytest.mark.parametrize(("code", "is_there"), [("DE", True), ("DEU", True), ("276", True), ("AN", False), ("de", False)])
def test_countries(code: str, is_there: bool) -> None:
    record = systems.code_system(systems.COUNTRIES)
    assert record is not None
    content = Content(record)
    assert (content.find(code) is not None) is is_there
    assert len(content.codes) == 3 * 249


@pytest.mark.parametrize(("code", "is_there"), [("EUR", True), ("XXX", True), ("eur", False), ("DEM", False), ("QQQ", False)])
def test_currencies(code: str, is_there: bool) -> None:
    record = systems.code_system(systems.CURRENCIES)
    assert record is not None
    assert (Content(record).find(code) is not None) is is_there


def test_other_systems_are_not_listed_here() -> None:
    assert systems.code_system("http://loinc.org") is None
    assert systems.rule("http://loinc.org") is None
