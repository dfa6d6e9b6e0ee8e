"""Value sets: R4's official expansions, the bindings of R4 and mCODE, and the rules of composition one by one."""

from __future__ import annotations

import json
import shutil
import tarfile
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest

from service.terminology import definitions, systems
from service.terminology.definitions import CodeSystem, Concept, Contained, ValueSet
from service.terminology.valuesets import Terminology, Unchecked, Verdict
from service.validate.packages import Package, Registry, core, load
from tests.support.registry import MCODE, PINS, US_CORE, fhir_package, needs, npm_package

EXPANSIONS: Final = "hl7.fhir.r4.expansions@4.0.1"
PINS.setdefault(EXPANSIONS, "18b2b00a6e26328bdbe4b2e273de5be32dfce21be37e0f582d18882bbce24e69")

SNOMED, LOINC = "http://snomed.info/sct", "http://loinc.org"
NO_CODE = "no code has blanks  like these"

Pair = tuple[str, str]


# The official expansions --------------------------------------------------------------------------------------------

# Expansions that differ from ours, and why. Executed: the test fails as soon as one of them agrees.
DIFFERENT: Final = {
    "http://hl7.org/fhir/ValueSet/currencies": "ISO 4217 has got new currencies since 2018",
    "http://hl7.org/fhir/ValueSet/c80-doc-typecodes": "the expansion stops after 1,000 codes (valueset-toocostly)",
    "http://hl7.org/fhir/ValueSet/mimetypes": "the expansion is empty (valueset-toocostly)",
    "http://hl7.org/fhir/ValueSet/detectedissue-category": "the expansion follows nested concepts only, not subsumedBy",
    "http://terminology.hl7.org/ValueSet/v3-ActPharmacySupplyType": "as above",
}
# Systems that no package here has, so that nothing can be said where an expansion has their codes: by how many expansions.
NOT_HERE: Final = {
    SNOMED: 41,
    LOINC: 5,
    "http://ihe.net/fhir/ValueSet/IHE.FormatCode.codesystem": 2,
    "http://hl7.org/fhir/sid/cvx": 1,
    "urn:oid:1.2.36.1.2001.1005.17": 1,
    # The bar is part of this system's own URL, and a registry takes what follows it for a version.
}
# Official expansions leave these out, which belong to a value set all the same: http://hl7.org/fhir/R4/valueset.html#expansion
LEFT_OUT: Final[Mapping[str, set[Any]]] = {
    "notSelectable": {True},
    "abstract": {True},
    "inactive": {True},
    "status": {"deprecated", "retired"},
}


@pytest.mark.network
def test_official_expansions() -> None:
    expansions = dict(_official())
    assert len(expansions) == 552
    terminology, codes = _terminology(core()), _codes_of_core(expansions)
    undecided: Counter[str] = Counter()
    different = set()
    for url, theirs in expansions.items():
        verdicts = [terminology.contains(url, *pair) for pair in theirs]
        undecided.update({system for verdict in verdicts if isinstance(verdict, Unchecked) for system in verdict.systems})
        if False in verdicts or _ours(terminology, url, codes) - theirs:
            different.add(url)
    assert different == set(DIFFERENT)
    assert undecided == NOT_HERE


def _official() -> Iterator[tuple[str, set[Pair]]]:
    """The expansions of value sets that R4 defines: URL, and the codes with their systems."""
    known = set(core().urls("ValueSet"))
    with tarfile.open(needs(npm_package, EXPANSIONS)) as archive:
        for member in archive:
            file = archive.extractfile(member)
            if file and member.name.startswith("package/ValueSet-") and member.name.endswith(".json"):
                resource = json.load(file)
                resource.pop("compose", None)
                listed = definitions.value_set(resource)
                if listed.url in known:
                    yield listed.url, {(each.system, each.code) for each in listed.expansion}


def _codes_of_core(expansions: Mapping[str, set[Pair]]) -> dict[str, set[str]]:
    """By system, all codes that could be in an expansion: those of definitions, without what is left out, and of expansions."""
    found: dict[str, set[str]] = {}
    for url in [*core().urls("CodeSystem"), systems.COUNTRIES, systems.CURRENCIES]:
        system = core().get("CodeSystem", url) or systems.code_system(url)
        assert system is not None
        found[url] = {each.code for each in _flat(system.concept) if not _is_left_out(each)}
    for pairs in expansions.values():
        for system_url, code in pairs:
            found.setdefault(system_url, set()).add(code)
    return found


def _is_left_out(concept: Concept) -> bool:
    return any(each.value in LEFT_OUT.get(each.code, ()) for each in concept.property)


def _flat(concepts: tuple[Concept, ...]) -> Iterator[Concept]:
    for each in concepts:
        yield each
        yield from _flat(each.concept)


def _ours(terminology: Terminology, url: str, codes: Mapping[str, set[str]]) -> set[Pair]:
    pairs = ((system, code) for system in _systems(url, set()) for code in codes.get(system, ()))
    return {pair for pair in pairs if terminology.contains(url, *pair) is True}


def _systems(url: str, met: set[str]) -> set[str]:
    """The systems that a value set names, with those of its imports."""
    record = core().get("ValueSet", url.partition("|")[0])
    if record is None or url in met:
        return set()
    met.add(url)
    imported = [_systems(each, met) for include in record.include for each in include.value_set]
    return {include.system for include in record.include if include.system}.union(*imported)


# Bindings -----------------------------------------------------------------------------------------------------------


def _bound(package: Package, *, types_only: bool = False) -> set[str]:
    """The value sets that the snapshots of a package bind as required, without versions."""
    found = set()
    for url in package.urls("StructureDefinition"):
        definition = package.get("StructureDefinition", url)
        if definition and not (types_only and definition.derivation == "constraint"):
            bindings = [each.binding for each in definition.snapshot if each.binding]
            found |= {each.value_set.partition("|")[0] for each in bindings if each.strength == "required" and each.value_set}
    return found


def _undecidable(terminology: Terminology, value_sets: set[str]) -> set[str]:
    return {url for url in value_sets if terminology.contains(url, None, NO_CODE) is not False}


def test_required_bindings_of_r4_can_be_decided() -> None:
    bound = _bound(core(), types_only=True)
    assert len(bound) == 225
    assert _undecidable(_terminology(core()), bound) == {"http://loinc.org/vs/LL379-9"}  # in LOINC's own package only


# By package, alone with R4 core: its value sets, and how many need SNOMED CT, LOINC, VSAC and other things that are not here.
@pytest.mark.network
@pytest.mark.parametrize(("name", "value_sets", "undecidable"), [(MCODE, 103, 41), (US_CORE, 36, 20)])
def test_value_sets_of_packages_can_be_decided(name: str, value_sets: int, undecidable: int, tmp_path: Path) -> None:
    package = _alone(name, tmp_path)
    urls = set(package.urls("ValueSet"))
    assert (len(urls), len(_undecidable(_terminology(core(), package), urls))) == (value_sets, undecidable)


@pytest.mark.network
def test_listed_codes_are_members_though_their_system_is_not_here(tmp_path: Path) -> None:
    terminology = _terminology(core(), _alone(MCODE, tmp_path))
    trend = "http://hl7.org/fhir/us/mcode/ValueSet/mcode-condition-status-trend-vs"
    assert terminology.contains(trend, SNOMED, "268910001") is True
    assert terminology.contains(trend, SNOMED, "1") is False


def _alone(name: str, folder: Path) -> Package:
    """A package without those that it depends on, which may lie beside it."""
    (package,), _ = load([Path(shutil.copy(needs(fhir_package, name), folder / "package.tgz"))])
    return package


@cache
def _terminology(*packages: Package) -> Terminology:
    registry = Registry(packages)
    return Terminology(registry.value_set, registry.code_system)


@pytest.mark.parametrize(
    ("value_set", "code", "verdict"),
    [
        ("administrative-gender|4.0.1", "male", True),
        ("administrative-gender", "Male", False),
        ("mimetypes", "text/plain", True),
        ("mimetypes", "nonsense", False),
        ("all-languages", "de-AT", True),
        ("languages", "de-AT", True),
        ("languages", "de-LU", False),
        ("ucum-units", "mg/dL", True),
        ("ucum-units", "mgs", False),
        ("currencies", "EUR", True),
        ("iso3166-1-2", "DE", True),
        ("iso3166-1-3", "DE", False),
        ("iso3166-1-N", "276", True),
        ("all-types", "Patient", True),
        ("not-there", "x", Unchecked(("http://hl7.org/fhir/ValueSet/not-there",))),
    ],
)
def test_code_elements(value_set: str, code: str, verdict: Verdict) -> None:
    assert _terminology(core()).contains(f"http://hl7.org/fhir/ValueSet/{value_set}", None, code) == verdict


# Composition --------------------------------------------------------------------------------------------------------
# Put to both Java validators as required bindings (HAPI 8.8.1, org.hl7.fhir.validation 6.7.9): what they agree on is so
# here, but for three things. They refuse what they can't decide. They refuse a listed code that its system does not have,
# of which `code` tells the caller. Of parents that a property names, HAPI takes none and HL7 those of one property only.
# Of the filters each lacks some: HAPI those on properties, HL7's `in` and `generalizes`.

ABC = "http://example.org/abc"
PART = "http://example.org/part"
OLD = "http://example.org/old"
MORE = "http://example.org/more"
A_BANG: Final = {"code": "a", "designation": [{"value": "A!"}]}
SYSTEMS: Final[list[dict[str, Any]]] = [
    {"url": ABC, "content": "complete", "concept": [{"code": code, "display": f"The {code}"} for code in "abc"]},
    {"url": PART, "content": "fragment", "concept": [{"code": "p", "concept": [{"code": "q"}]}]},
    {"url": OLD, "content": "complete", "caseSensitive": False, "concept": [{"code": "Ab"}]},
    {
        "url": MORE,
        "content": "supplement",
        "supplements": f"{ABC}|1",
        "concept": [{"code": "a", "designation": [{"value": "A!"}]}],
    },
    {"url": SNOMED, "content": "not-present"},
]


def made(**value_sets: dict[str, Any]) -> Terminology:
    """A terminology with the systems above, and value sets given by name and `compose`."""
    known = {each["url"]: definitions.code_system(each) for each in SYSTEMS}
    sets = {f"vs:{name}": definitions.value_set({"url": f"vs:{name}", "compose": it}) for name, it in value_sets.items()}
    return Terminology(sets.get, known.get)


def listing(system: str, *codes: str) -> dict[str, Any]:
    return {"system": system, "concept": [{"code": code} for code in codes]}


def members(terminology: Terminology, value_set: str) -> str:
    return "".join(code for code in "abcx" if terminology.contains(value_set, ABC, code) is True)


def test_a_whole_system_a_list_and_what_is_left_out() -> None:
    terminology = made(
        whole={"include": [{"system": ABC}]},
        two={"include": [listing(ABC, "a"), listing(ABC, "b")]},
        rest={"include": [{"system": ABC}], "exclude": [listing(ABC, "b")]},
        filtered={"include": [{"system": ABC, "filter": [{"property": "code", "op": "regex", "value": "[bc]"}]}]},
    )
    found = {name: members(terminology, f"vs:{name}") for name in ("whole", "two", "rest", "filtered")}
    assert found == {"whole": "abc", "two": "ab", "rest": "ac", "filtered": "bc"}


def test_imports_unite_across_includes_and_intersect_within_one() -> None:
    terminology = made(
        ab={"include": [listing(ABC, "a", "b")]},
        bc={"include": [listing(ABC, "b", "c")]},
        either={"include": [{"valueSet": ["vs:ab"]}, {"valueSet": ["vs:bc|7"]}]},
        both={"include": [{"valueSet": ["vs:ab", "vs:bc"]}]},
        listed={"include": [{**listing(ABC, "a", "c"), "valueSet": ["vs:bc"]}]},
        without={"include": [{"system": ABC}], "exclude": [{"valueSet": ["vs:ab"]}]},
    )
    found = {name: members(terminology, f"vs:{name}") for name in ("either", "both", "listed", "without")}
    assert found == {"either": "abc", "both": "b", "listed": "c", "without": "c"}


def test_imports_that_go_round_come_to_an_end() -> None:
    terminology = made(
        a={"include": [listing(ABC, "a"), {"valueSet": ["vs:b"]}]},
        b={"include": [listing(ABC, "b"), {"valueSet": ["vs:c"]}]},
        c={"include": [listing(ABC, "c"), {"valueSet": ["vs:a"]}, {"valueSet": ["vs:c"]}]},
    )
    assert {name: members(terminology, f"vs:{name}") for name in "abc"} == {"a": "abc", "b": "abc", "c": "abc"}


def test_imports_without_end_are_not_decided() -> None:
    def value_set(url: str) -> ValueSet:
        return definitions.value_set({"url": url, "compose": {"include": [{"valueSet": [url + "+"]}]}})

    terminology = Terminology(value_set, lambda url: None)
    assert terminology.contains("vs:a", ABC, "a") == Unchecked(("vs:a",))


def test_what_one_include_decides_no_other_can_undo() -> None:
    below = {"property": "concept", "op": "is-a", "value": "1"}
    terminology = made(
        some={"include": [{"system": SNOMED, "filter": [below]}, listing(SNOMED, "7"), {"system": ABC}]},
        less={"include": [listing(SNOMED, "7", "8")], "exclude": [{"system": SNOMED, "filter": [below]}, listing(SNOMED, "8")]},
        imported={"include": [listing(ABC, "a"), {"valueSet": ["vs:nowhere"]}]},
    )
    missing = Unchecked((SNOMED,))
    assert [terminology.contains("vs:some", SNOMED, code) for code in "78"] == [True, missing]
    assert [terminology.contains("vs:some", ABC, code) for code in "ax"] == [True, False]
    assert [terminology.contains("vs:some", None, code) for code in "7ax"] == [True, True, missing]
    assert [terminology.contains("vs:less", SNOMED, code) for code in "789"] == [missing, False, False]
    assert [terminology.contains("vs:imported", ABC, code) for code in "ab"] == [True, Unchecked(("vs:nowhere",))]


def test_a_fragment_has_codes_and_may_have_more() -> None:
    terminology = made(
        whole={"include": [{"system": PART}]},
        below={"include": [{"system": PART, "filter": [{"property": "concept", "op": "descendent-of", "value": "p"}]}]},
    )
    missing = Unchecked((PART,))
    assert [terminology.contains("vs:whole", PART, code) for code in "pqx"] == [True, True, missing]
    assert [terminology.contains("vs:below", PART, code) for code in "pqx"] == [missing, True, missing]


def test_a_filter_that_cannot_be_computed_decides_nothing() -> None:
    terminology = made(a={"include": [{"system": ABC, "filter": [{"property": "code", "op": "regex", "value": "(a+)+"}]}]})
    assert terminology.contains("vs:a", ABC, "a") == Unchecked((ABC,))


def test_letter_case_counts_unless_the_system_says_otherwise() -> None:
    terminology = made(
        whole={"include": [{"system": OLD}]}, listed={"include": [listing(OLD, "Ab")]}, abc={"include": [{"system": ABC}]}
    )
    assert terminology.contains("vs:whole", OLD, "aB") is True
    assert terminology.contains("vs:listed", OLD, "ab") is True
    assert terminology.contains("vs:whole", OLD, "b") is False
    assert terminology.contains("vs:abc", ABC, "A") is False


def test_a_value_set_that_only_brings_an_expansion_or_nothing() -> None:
    sets = {"vs:e": ValueSet("vs:e", expansion=(Contained(ABC, "a"),)), "vs:n": ValueSet("vs:n")}
    terminology = Terminology(sets.get, lambda url: None)
    assert members(terminology, "vs:e") == "a"
    assert terminology.contains("vs:e", SNOMED, "a") is False
    assert terminology.contains("vs:n", ABC, "a") == Unchecked(("vs:n",))


def test_only_what_is_asked_for_is_looked_up() -> None:
    asked: list[str] = []

    def code_system(url: str) -> CodeSystem | None:
        asked.append(url)
        return core().get("CodeSystem", url)

    terminology = Terminology(lambda url: core().get("ValueSet", url), code_system)
    for code in ("male", "female", "none"):
        terminology.contains("http://hl7.org/fhir/ValueSet/administrative-gender", None, code)
    assert asked == ["http://hl7.org/fhir/administrative-gender"]


# Codes in their systems ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("system", "code", "known", "system_known"),
    [
        (ABC, "a", True, True),
        (ABC, "A", False, True),
        (OLD, "aB", True, True),
        (PART, "q", True, True),
        (PART, "x", None, True),
        (MORE, "a", True, True),
        (MORE, "x", False, True),
        (SNOMED, "1", None, True),
        ("http://example.org/nowhere", "a", None, False),
        ("http://unitsofmeasure.org", "mg", True, True),
        ("http://unitsofmeasure.org", "mgs", False, True),
        ("urn:iso:std:iso:3166", "DE", True, True),
        ("urn:iso:std:iso:3166", "XX", False, True),
    ],
)
def test_codes_in_their_systems(system: str, code: str, known: bool | None, system_known: bool) -> None:
    verdict = made().code(system, code)
    assert (verdict.known, verdict.system_known, verdict.display_ok) == (known, system_known, None)


# As HL7's validator has it, but for blanks, which it compares; HAPI compares no displays.
@pytest.mark.parametrize(
    ("system", "display", "is_right"),
    [(ABC, "The a", True), (ABC, " the  A", True), (ABC, "Another", False), (ABC, "A!", False), (MORE, "a!", True)],
)
def test_displays(system: str, display: str, is_right: bool) -> None:
    verdict = made().code(system, "a", display)
    assert verdict.display_ok is is_right
    assert verdict.displays[0] == "The a"


def test_a_display_of_what_has_none_is_not_judged() -> None:
    assert made().code(OLD, "Ab", "anything").display_ok is None
    assert made().code(SNOMED, "1", "anything").display_ok is None
