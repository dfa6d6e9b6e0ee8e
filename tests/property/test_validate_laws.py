"""Laws of the validator, whatever the resource: it answers, says the same again, quotes nothing, and takes linear time."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import UnreadableInput
from service.fhir.json import dumps, locate, pointer
from service.fhir.locate import Steps, locate_each
from service.issues import Issue, has_errors
from service.validate.validator import Validator, load_validator
from tests.support.definitions import CORE, HOME, PATIENT, bundle, element, package, profile, quantity, sliced

LOINC = "http://loinc.org"
ABSENT = {"url": CORE + "data-absent-reason", "valueCode": "unknown"}
DIV = '<div xmlns="http://www.w3.org/1999/xhtml"><p id="a">well</p><a href="#a">a</a></div>'
TEXT = {"status": "generated", "div": DIV}
JANE: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "jane",
    "meta": {"profile": [HOME + "sliced"]},
    "text": TEXT,
    "extension": [{"url": CORE + "patient-birthPlace", "valueAddress": {"city": "A"}}],
    "identifier": [{"system": "urn:ietf:rfc:3986", "value": "urn:oid:1.2.3"}],
    "name": [
        {"use": "official", "family": "A", "given": ["B", None], "_given": [None, {"extension": [ABSENT]}]},
        {"use": "old", "text": "C"},
    ],
    "gender": "female",
    "_birthDate": {"extension": [ABSENT]},
    "deceasedBoolean": False,
    "photo": [{"contentType": "text/plain", "data": "aGVsbG8=", "size": 5}],
}
PARTS = [
    {"code": {"coding": [{"system": LOINC, "code": code}]}, "valueQuantity": quantity("120.0", "mm[Hg]")}
    for code in ("8480-6", "8462-4")
]
PRESSURE: dict[str, Any] = {
    "resourceType": "Observation",
    "id": "bp",
    "status": "final",
    "category": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "vital-signs"}]}],
    "code": {"coding": [{"system": LOINC, "code": "85354-9"}]},
    "subject": {"reference": "Patient/jane", "type": "Patient"},
    "effectiveDateTime": "2020-01-01T08:00:00+05:45",
    "component": PARTS,
    "contained": [{"resourceType": "Basic", "id": "v", "code": {"text": "a"}, "subject": {"reference": "#"}}],
}
LETTER: dict[str, Any] = {
    "resourceType": "Composition",
    "id": "c",
    "status": "final",
    "type": {"text": "a letter"},
    "date": "2020",
    "author": [{"reference": "Patient/jane"}],
    "title": "A letter",
    "section": [{"title": "a", "entry": [{"reference": "Observation/bp"}]}],
}
QUESTIONS: dict[str, Any] = {
    "resourceType": "Questionnaire",
    "url": HOME + "q",
    "status": "draft",
    "item": [{"linkId": "1", "type": "group", "item": [{"linkId": "1.1", "type": "string", "text": "a", "maxLength": 3}]}],
}
ASKED = {"type": "display", "text": "a"}
COLOURS: dict[str, Any] = {
    "resourceType": "ValueSet",
    "url": HOME + "colours",
    "status": "draft",
    "compose": {"include": [{"system": HOME + "c", "concept": [{"code": "red"}]}]},
}
NOW = "2020-01-01T00:00:00Z"
SAMPLES: list[Any] = [
    JANE,
    PRESSURE,
    QUESTIONS,
    COLOURS,
    bundle(
        LETTER, JANE, PRESSURE, type_="document", identifier={"system": HOME, "value": "1"}, timestamp="2020-01-01T00:00:00Z"
    ),
    bundle(JANE, PRESSURE, type_="searchset", link=[{"relation": "self", "url": HOME}]),
]
PROFILES = [CORE + "bp", CORE + "vitalsigns", CORE + "Patient", CORE + "shareablevalueset", HOME + "sliced", HOME + "nowhere"]
# What is said at the first place only, so that the place depends on the order of the text
ONCE = ("val-binding-unchecked", "val-extension-unchecked", "val-profile-unknown", "val-invariant-unusable")


@cache
def definitions() -> list[Any]:
    """A profile of patients with names in slices, by value and by type."""
    return [
        profile(
            "sliced",
            "Patient",
            sliced("Patient.name", "value", "use", "openAtEnd", ordered=True),
            element("Patient.name:official", min=1, max="1"),
            element("Patient.name:official.use", fixedCode="official"),
            element("Patient.name:official.given", min=1),
            element("Patient.deceased[x]", type=[{"code": "boolean"}], patternBoolean=False),
            element("Patient.extension:place", max="1", type=[{"code": "Extension", "profile": [CORE + "patient-birthPlace"]}]),
            sliced("Patient.contained", "profile", "$this"),
            element("Patient.contained:patient", type=[{"code": "Patient", "profile": [HOME + "sliced"]}]),
        )
    ]


def made(folder: Path) -> Validator:
    return load_validator([package(folder, *definitions())])


@pytest.fixture(scope="module")
def validator(tmp_path_factory: pytest.TempPathFactory) -> Validator:
    return made(tmp_path_factory.mktemp("definitions"))


# Any JSON at all, and resources that went wrong in any way -------------------------------------------------------------

WORDS = st.sampled_from(
    f"# #v Patient/jane Patient?a=b urn:uuid:x document transaction {LOINC} 8867-4 2020-02-30 Bundle Patient Extension true "
    f'{HOME}sliced {CORE}bp <div/> é𝄞\\" {"(" * 500}'.split()
) | st.sampled_from(["", " "])
NAMES = """
    id _id resourceType contained entry resource fullUrl extension modifierExtension meta profile text div name coding code
    system value valueString valueQuantity reference type url a.b
    """
KEYS = st.sampled_from(NAMES.split())
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**9), max_value=10**9, places=3)
    | WORDS
    | st.text(max_size=5)
)
ANY_JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=8
)


def places(value: Any) -> list[tuple[Any, Any]]:
    """(what holds it, key or index) of every value below."""
    out: list[tuple[Any, Any]] = []
    stack = [value]
    while stack:
        each = stack.pop()
        members = list(each.items()) if isinstance(each, dict) else list(enumerate(each)) if isinstance(each, list) else []
        out += [(each, key) for key, _ in members]
        stack += [inner for _, inner in members]
    return out


def replace(draw: Any, holder: Any, key: Any) -> None:
    holder[key] = draw(ANY_JSON)


def delete(_draw: Any, holder: Any, key: Any) -> None:
    del holder[key]


def duplicate(draw: Any, holder: Any, key: Any) -> None:
    twin = copy.deepcopy(holder[key])
    if isinstance(holder, list):
        holder.insert(key, twin)
    else:
        holder[draw(st.just("_" + key) | KEYS)] = twin


def rename(draw: Any, holder: Any, key: Any) -> None:
    if isinstance(holder, dict):
        holder[draw(KEYS)] = holder.pop(key)


def nest(draw: Any, holder: Any, key: Any) -> None:
    holder[key] = [holder[key]] if draw(st.booleans()) else {draw(KEYS): holder[key]}


def unpack(_draw: Any, holder: Any, key: Any) -> None:
    inner = holder[key]
    if isinstance(inner, (list, dict)) and inner:
        holder[key] = inner[0] if isinstance(inner, list) else next(iter(inner.values()))


def graft(draw: Any, holder: Any, key: Any) -> None:
    other, step = draw(st.sampled_from(places(draw(st.sampled_from(SAMPLES)))))
    holder[key] = copy.deepcopy(other[step])


CHANGES: list[Callable[[Any, Any, Any], None]] = [replace, delete, duplicate, rename, nest, unpack, graft]


@st.composite
def spoiled(draw: Any, most: int = 4) -> Any:
    """A resource that was good, after some changes."""
    resource = copy.deepcopy(draw(st.sampled_from(SAMPLES)))
    for _ in range(draw(st.integers(0, most))):
        if found := places(resource):
            draw(st.sampled_from(CHANGES))(draw, *draw(st.sampled_from(found)))
    return resource


PROFILE_LISTS = st.lists(st.sampled_from(PROFILES), max_size=2)


def issues_of(validator: Validator, value: Any, profiles: Any = (), **options: Any) -> list[Issue]:
    try:
        return validator.validate(dumps(value), profiles=profiles, **options)
    except UnreadableInput:  # a control character: the door's own law
        return []


# The laws --------------------------------------------------------------------------------------------------------------


def test_the_samples_are_good(validator: Validator) -> None:
    for each in SAMPLES:
        assert not has_errors(issues_of(validator, each)), each["resourceType"]


def test_any_json_ends_in_issues(validator: Validator) -> None:
    @settings(max_examples=150)
    @given(ANY_JSON, PROFILE_LISTS)
    def law(value: Any, profiles: list[str]) -> None:
        assert all(isinstance(each, Issue) for each in issues_of(validator, value, profiles))
        # The same, taken for a resource
        issues_of(validator, {"resourceType": "Patient", "name": value, "contained": value, "extension": value}, profiles)

    law()


def test_a_spoiled_resource_ends_in_issues(validator: Validator) -> None:
    @settings(max_examples=300)
    @given(spoiled(), PROFILE_LISTS, st.booleans())
    def law(resource: Any, profiles: list[str], shown: bool) -> None:
        for issue in issues_of(validator, resource, profiles, show_values=shown, must_support=True):
            assert issue.pointer is not None
            assert issue.expression
            assert issue.source
            assert issue.source.line
            assert issue.fix

    law()


def test_it_says_the_same_again(validator: Validator, tmp_path: Path) -> None:
    """And so does another that was asked other things before."""
    other = made(tmp_path)

    @given(spoiled(), PROFILE_LISTS)
    def law(resource: Any, profiles: list[str]) -> None:
        first = issues_of(validator, resource, profiles)
        assert issues_of(validator, resource, profiles) == first
        assert issues_of(other, resource, profiles) == first

    law()


def shuffled(value: Any, random: Random) -> Any:
    """The same value, the members of its objects in another order."""
    if isinstance(value, list):
        return [shuffled(each, random) for each in value]
    if not isinstance(value, dict):
        return value
    names = list(value)
    random.shuffle(names)
    return {name: shuffled(value[name], random) for name in names}


def verdict(issues: list[Issue]) -> Any:
    told = {(issue.rule, "" if issue.rule in ONCE else issue.pointer, issue.severity) for issue in issues}
    # Of two forms of one choice FHIRPath sees one, whichever it is.
    return has_errors(issues) if any(rule == "val-choice" for rule, _, _ in told) else told


def test_order_of_members_and_white_space_change_no_verdict(validator: Validator) -> None:
    @given(spoiled(), st.randoms(use_true_random=False))
    def law(resource: Any, random: Random) -> None:
        plain = issues_of(validator, resource)
        assert verdict(issues_of(validator, shuffled(resource, random))) == verdict(plain)
        spread = validator.validate(dumps(resource, indent=True)) if plain else []
        assert verdict(spread) == verdict(plain)

    law()


CANARY, NUMBER = "Zq7canary", 765432198


def test_no_text_quotes_the_resource(validator: Validator) -> None:
    @settings(max_examples=300)
    @given(spoiled(), st.data())
    def law(resource: Any, data: st.DataObject) -> None:
        for holder, key in places(resource):
            if isinstance(holder[key], (dict, list)) or data.draw(st.integers(0, 3)) == 0:
                continue
            if isinstance(holder[key], str):
                holder[key] = data.draw(
                    st.sampled_from([CANARY, holder[key] + CANARY, holder[key] + "|" + CANARY, "#" + CANARY])
                )
            elif holder[key] is not None:
                holder[key] = NUMBER
        for issue in issues_of(validator, resource, PROFILES[:3], must_support=True):
            said = f"{issue.text} {issue.fix}"
            assert CANARY not in said
            assert str(NUMBER) not in said

    law()


def steps_of(value: Any, above: Steps = ()) -> list[Steps]:
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [above, *(steps for key, inner in members for steps in steps_of(inner, (*above, key)))]


TEXT_KEYS = st.text(st.characters(exclude_characters="#", exclude_categories=["Cs", "Cc"]), max_size=4)
TREES = st.recursive(
    st.none() | st.integers() | st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT_KEYS, inner, max_size=4),
    max_leaves=15,
)


def test_places_are_those_of_the_scanner() -> None:
    @settings(max_examples=200)
    @given(TREES, st.sampled_from([None, 0, 1]), st.booleans(), st.sampled_from(["", "\n ", "\ufeff", "\ufeff\r\n"]))
    def law(value: Any, indent: int | None, plain: bool, before: str) -> None:
        text = (before + json.dumps(value, indent=indent, ensure_ascii=plain)).encode()
        wanted, known = steps_of(value), locate(text)
        for steps, place in locate_each(text, wanted).items():
            at = pointer(*steps)
            assert place == known[at + "#key" if steps and isinstance(steps[-1], str) else at]
        assert locate_each(text, wanted).keys() == set(wanted)

    law()


# Linear time: twice the size takes about twice the steps, and no clock is asked -----------------------------------------


def steps_taken(run: Callable[[], object]) -> int:
    """Calls made meanwhile, of Python functions and of built-in ones."""
    count = 0

    def one(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(one)
    try:
        run()
    finally:
        sys.setprofile(None)
    return count


def chain(size: int) -> Any:
    inner: Any = {"url": HOME, "valueString": "a"}
    for _ in range(size):
        inner = {"url": HOME, "extension": [inner]}
    return PATIENT | {"extension": [inner]}


def entries(size: int) -> Any:
    return bundle(*(PATIENT | {"id": str(number)} for number in range(size)))


def observations(size: int, reference: Callable[[int], str]) -> Any:
    made = [{**PRESSURE, "id": str(number), "subject": {"reference": reference(number)}} for number in range(size)]
    return bundle(JANE, *made)


def from_entries(size: int) -> Any:
    """References that stand beside the resources, so that they are resolved by their ends."""
    made = entries(size)
    for number, entry in enumerate(made["entry"]):
        entry["extension"] = [{"url": HOME + "x", "valueReference": {"reference": f"Patient/{number}"}}]
    return made


def contained(size: int) -> Any:
    inside = [{"resourceType": "Organization", "id": str(number), "name": "A"} for number in range(size)]
    links = [{"reference": f"#{number}"} for number in range(size)]
    return PATIENT | {"contained": inside, "generalPractitioner": links}


def with_names(size: int) -> Any:
    return JANE | {"name": [JANE["name"][0], *({"use": "old", "text": str(number)} for number in range(size))]}


MANY: dict[str, tuple[Callable[[int], Any], int]] = {
    "entries": (entries, 100),
    "references to one": (lambda size: observations(size, lambda _: "Patient/jane"), 30),
    "references that lead nowhere": (lambda size: observations(size, lambda number: f"urn:uuid:{number}"), 30),
    "references beside the resources": (from_entries, 100),
    "contained resources": (contained, 100),
    "levels": (chain, 14),
    "characters": (lambda size: JANE | {"id": "a" * size, "language": "-" * size, "gender": "(" * size}, 20_000),
    "characters of a unit": (lambda size: {**PRESSURE, "valueQuantity": quantity("1", "m." * size + "m")}, 200),
    "characters of a narrative": (
        lambda size: JANE | {"text": TEXT | {"div": TEXT["div"].replace("well", "<b>a</b>" * size)}},
        100,
    ),
    "extensions": (lambda size: PATIENT | {"extension": [{"url": f"{HOME}{n}", "valueString": "a"} for n in range(size)]}, 50),
    "items of a slice": (with_names, 100),
    "claims": (lambda size: with_names(size) | {"meta": {"profile": [f"{HOME}sliced|{n}" for n in range(size)]}}, 50),
    "codings of a vital sign": (
        lambda size: {**PRESSURE, "code": {"coding": [{"system": LOINC, "code": "85354-9"}] * size}, "component": PARTS * size},
        50,
    ),
    "faults": (lambda size: PATIENT | {"name": [{"given": [1]}] * size}, 100),
    "unknown members": (lambda size: PATIENT | {f"x{number}": 1 for number in range(size)}, 50),
    "questions": (
        lambda size: QUESTIONS | {"item": [{"linkId": str(n), "type": "display", "text": "a"} for n in range(size)]},
        100,
    ),
}


@pytest.mark.parametrize("what", MANY)
def test_twice_as_many_take_twice_the_steps(validator: Validator, what: str) -> None:
    make, size = MANY[what]
    once, twice = (dumps(make(each)) for each in (size, 2 * size))
    validator.validate(twice)  # what is compiled and looked up for the first time is no part of it
    small, large = (steps_taken(lambda text=text: validator.validate(text)) for text in (once, twice))  # type: ignore[misc]
    assert large < 2.3 * small
