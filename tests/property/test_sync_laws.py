"""The laws of synchronisation without I/O: comparing is exact, what is split stays whole, a plan follows from what is known."""

from __future__ import annotations

import copy
import itertools
import random
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.fhir import json
from service.sync import payload
from service.sync.canonical import DEPLOYMENT, URN, digest_of, digest_of_wire, from_wire, references_in, to_wire
from service.sync.chunks import Inseparable, chunks
from service.sync.differences import Difference, differences
from service.sync.plan import ACTIONS, Known, Wanted, changes_of, decide
from service.sync.retire import retired
from service.sync.server import Resource
from tests.support.by_hand import FACTS, PATIENT, cases
from tests.support.strategies import numbers

BASE = "https://fhir.example.org/r4"

# --- values as the JSON door reads them -----------------------------------------------------------------------------------

NAMES = st.sampled_from(["a", "b", "code", "value", "reference", "_value", "id"])
# Some look like what they are not.
TEXTS = ["", "x", "1.5", "true", 'a "b\\', '"reference":"urn:uuid:i-1"', "urn:uuid:i-1", "Patient/1", "e\u0301", "\u2028"]
SCALARS = st.one_of(numbers(), st.sampled_from(TEXTS), st.booleans(), st.none())
VALUES = st.recursive(
    SCALARS, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=3)), max_leaves=8
)
OBJECTS = st.dictionaries(NAMES, VALUES, max_size=4)


@st.composite
def pairs(draw: Any) -> tuple[Any, Any]:
    """Two objects that have much in common: mostly one is the other, changed in one place, or in none."""
    one = draw(OBJECTS)
    other = draw(st.one_of(OBJECTS, st.just(one), st.just(shuffled(one, draw(st.randoms(use_true_random=False))))))
    places = [place for place in leaves(other) if place]
    if places and draw(st.booleans()):
        *way, last = draw(st.sampled_from(places))
        other = copy.deepcopy(other)
        holder = other
        for step in way:
            holder = holder[step]
        holder[last] = draw(VALUES)
    return one, other


def leaves(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    yield place
    for key, item in items:
        yield from leaves(item, (*place, key))


def shuffled(value: Any, by: random.Random) -> Any:
    """The same JSON with the members of each object in another order."""
    if isinstance(value, dict):
        names = by.sample(sorted(value), len(value))
        return {name: shuffled(value[name], by) for name in names}
    return [shuffled(item, by) for item in value] if isinstance(value, list) else value


def text_of(value: Any) -> bytes:
    """JSON with sorted names: an oracle that shares nothing with the digest but the door."""
    return json.dumps(in_order(value))


def in_order(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: in_order(value[name]) for name in sorted(value)}
    return [in_order(item) for item in value] if isinstance(value, list) else value


# --- digests and differences ----------------------------------------------------------------------------------------------


@given(pairs())
def test_a_digest_knows_all_that_json_says_and_not_the_order_of_its_names(pair: tuple[Any, Any]) -> None:
    one, other = pair
    assert (digest_of(one) == digest_of(other)) == (text_of(one) == text_of(other))


@given(OBJECTS, st.randoms(use_true_random=False))
def test_the_order_of_properties_is_no_part_of_a_digest(one: Any, by: random.Random) -> None:
    assert digest_of(shuffled(one, by)) == digest_of(one)


@given(pairs())
def test_there_are_differences_where_the_digests_differ_and_they_lead_from_one_to_the_other(pair: tuple[Any, Any]) -> None:
    one, other = pair
    found = list(differences(one, other))
    assert (not found) == (digest_of(one) == digest_of(other))
    assert text_of(applied(one, found)) == text_of(other)
    assert all(text_of(each.before) != text_of(each.after) for each in found if each.kind == "changed")


def applied(before: Any, found: list[Difference]) -> Any:
    """What the differences make of a value. Items of a list are taken away from its end."""
    out = copy.deepcopy({"": before})
    taken = [each for each in found if each.kind == "removed"]
    for each in [*(one for one in found if one.kind != "removed"), *reversed(taken)]:
        steps = [int(index) if index else name for name, index in re.findall(r"([^.\[\]]+)|\[(\d+)\]", each.place)]
        holder: Any = out
        for step in ["", *steps][:-1]:
            holder = holder[step]
        last = ["", *steps][-1]
        if each.kind == "removed":
            del holder[last]
        elif isinstance(holder, list) and each.kind == "added":
            assert last == len(holder)
            holder.append(each.after)
        else:
            assert (last in holder if isinstance(holder, dict) else last < len(holder)) == (each.kind == "changed")
            holder[last] = each.after
    return out[""]


# --- the canonical form ---------------------------------------------------------------------------------------------------

IDENTITIES = ("i-1", "i-2", "i-3")
KNOWN = {"i-1": "Patient/1", "i-2": "Observation/1", "i-3": "Observation/a.b-c"}
ELSEWHERE = (
    "#within",
    "Patient/77",
    "Patient/12",
    "https://other.example.org/r4/Patient/1",
    "urn:oid:1.2.3",
    "Patient?identifier=x",
)
META = {
    "profile": ["https://example.org/p"],
    "source": "urn:x",
    "security": [{"code": "R"}],
    "tag": [{"system": "s", "code": "c"}],
}


@st.composite
def resources(draw: Any) -> Resource:
    """A resource in canonical form: anything, with references to what is known, to what is not yet, and elsewhere."""
    targets = st.sampled_from([*(URN + one for one in (*IDENTITIES, "i-new")), *ELSEWHERE])
    references = st.builds(lambda target, more: {**more, "reference": target}, targets, OBJECTS)
    held: dict[str, Any] = draw(st.dictionaries(st.sampled_from(["subject", "code", "focus"]), st.one_of(references, VALUES)))
    held["many"] = draw(st.lists(st.one_of(references, VALUES), max_size=3))
    names = draw(st.sets(st.sampled_from(sorted(META))))
    return {"resourceType": "Observation", **held, **({"meta": {name: META[name] for name in sorted(names)}} if names else {})}


@given(
    resources(),
    st.sets(st.sampled_from(IDENTITIES)),
    st.sampled_from(["{}", BASE + "/{}", "{}/_history/3", BASE + "/{}/_history/3"]),
)
def test_what_a_server_gives_back_is_what_was_meant(resource: Resource, there: set[str], written: str) -> None:
    """Whatever a server adds, and in whichever of the ways of R4 it writes the references that it resolved."""
    known = {identity: KNOWN[identity] for identity in there}
    before = copy.deepcopy(resource)
    wire = to_wire(resource, known, "here")
    assert resource == before, "what is wanted stays as it is"
    assert list(wire)[:2] == ["resourceType", "meta"]
    assert {"system": DEPLOYMENT, "code": "here"} in wire["meta"]["tag"]
    stored = as_stored(wire, set(known.values()), written)
    identities = {place: identity for identity, place in known.items()}
    back = from_wire(stored, identities, BASE)
    assert text_of(back) == text_of(resource)
    assert references_in(back) == references_in(resource) == set(meant(resource))
    assert digest_of_wire(stored, identities, BASE) == digest_of(resource)


def meant(value: Any) -> Iterator[str]:
    """The identities that a resource refers to, by walking through it."""
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for item in items:
        yield from meant(item)
    if isinstance(value, dict) and isinstance(value.get("reference"), str) and value["reference"].startswith(URN):
        yield value["reference"].removeprefix(URN)


def as_stored(wire: Resource, places: set[str], written: str) -> Resource:
    """With the server's own id and meta, and its own way of writing references."""

    def copied(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                name: written.format(item) if name == "reference" and isinstance(item, str) and item in places else copied(item)
                for name, item in value.items()
            }
        return [copied(item) for item in value] if isinstance(value, list) else value

    out: Resource = copied(wire)
    source = {"source": out["meta"].get("source", "") + "#r4nd0m"}
    return {**out, "id": "17", "meta": {**out["meta"], **source, "versionId": "3", "lastUpdated": "2026-01-02T03:04:05.678Z"}}


# --- the payload ----------------------------------------------------------------------------------------------------------


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs", "Cc"])), OBJECTS, max_size=3), st.text("ab|/#é"))
def test_a_payload_brings_back_the_case_to_the_digit(facts: Mapping[str, Resource], text: str) -> None:
    wanted = Wanted(text, text, text, text, text, facts)
    back = payload.load(payload.dump(wanted))
    assert back == wanted
    assert list(back.resources) == list(facts), "in the same order"
    assert [digest_of(one) for one in back.resources.values()] == [digest_of(one) for one in facts.values()]
    assert payload.dump(back) == payload.dump(wanted)


# --- parts ----------------------------------------------------------------------------------------------------------------


@st.composite
def graphs(draw: Any) -> tuple[list[str], dict[str, set[str]]]:
    """Names in any order, and which refer to which: to themselves and to what is not among them, too."""
    count = draw(st.integers(0, 9))
    names = draw(st.permutations([f"n{number}" for number in range(count)]))
    targets = st.sets(st.sampled_from([*names, "elsewhere"]), max_size=3)
    return list(names), {name: draw(targets) for name in names if draw(st.booleans())}


@given(graphs(), st.integers(1, 10))
def test_parts_are_within_the_limit_closed_and_complete(graph: tuple[list[str], dict[str, set[str]]], most: int) -> None:
    names, references = graph
    together = circles_by_hand(names, references)
    if max((len(circle) for circle in together), default=0) > most:
        with pytest.raises(Inseparable) as caught:
            chunks(names, references, most)
        assert caught.value.size in {len(circle) for circle in together if len(circle) > most}
        return
    parts = chunks(names, references, most)
    assert parts == chunks(names, references, most)
    assert sorted(itertools.chain(*parts)) == sorted(names), "each name once"
    assert all(len(part) <= most for part in parts)
    place = {name: position for position, part in enumerate(parts) for name in part}
    for name in names:
        assert all(place[target] <= place[name] for target in references.get(name, ()) if target in place)
    assert all(len({place[name] for name in circle}) == 1 for circle in together)


def circles_by_hand(names: list[str], references: dict[str, set[str]]) -> list[set[str]]:
    """By following every reference: who reaches each other is one circle."""
    reached = {name: {name} for name in names}
    for _ in names:
        for name in names:
            reached[name] |= {far for near in reached[name] for far in references.get(near, ()) if far in reached}
    return [{other for other in names if other in reached[name] and name in reached[other]} for name in names]


# --- plans ----------------------------------------------------------------------------------------------------------------


@st.composite
def knowledge(draw: Any) -> tuple[Wanted, dict[str, Known]]:
    """A case, and anything that may be known of a server: by the ledger, by reading, of facts that it has or had."""
    wanted, other = draw(cases()), draw(cases())
    known = {}
    for identity in draw(st.sets(st.sampled_from([PATIENT, *FACTS]))):
        contents = [one.resources[identity] for one in (wanted, other) if identity in one.resources]
        contents += [taken for one in contents if (taken := retired(one))]
        contents = contents or [{"resourceType": "Observation", "language": "de"}]
        some = st.sampled_from([*contents, contents[0] | {"language": "de"}])
        known[identity] = Known(
            resource_type=draw(some)["resourceType"],
            resource_id="17",
            version=draw(st.sampled_from(["1", "2"])),
            wanted=draw(st.one_of(st.none(), some.map(digest_of))),
            stored=draw(st.one_of(st.none(), some.map(digest_of))),
            current=draw(st.one_of(st.none(), some)),
            gone=draw(st.booleans()),
            retired=draw(st.booleans()),
        )
    return wanted, known


@given(knowledge(), st.booleans(), st.randoms(use_true_random=False))
def test_a_plan_depends_on_nothing_but_what_is_known(
    found: tuple[Wanted, dict[str, Known]], overwrite: bool, by: random.Random
) -> None:
    wanted, known = found
    steps = decide(wanted, known, overwrite=overwrite)
    assert steps == decide(wanted, copy.deepcopy(known), overwrite=overwrite)
    other_order = {identity: known[identity] for identity in by.sample(sorted(known), len(known))}
    assert {step.key for step in decide(wanted, other_order, overwrite=overwrite)} == {step.key for step in steps}
    identities = [step.identity for step in steps]
    assert identities[: len(wanted.resources)] == list(wanted.resources), "the facts of the case first, in its order"
    assert len(set(identities)) == len(identities)
    assert set(identities) <= {*wanted.resources, *known}
    assert all(step.action in ACTIONS for step in steps)


@given(knowledge())
def test_no_plan_changes_what_someone_else_has_changed_unless_it_may(found: tuple[Wanted, dict[str, Known]]) -> None:
    wanted, known = found
    for step in changes_of(decide(wanted, known)):
        one = known.get(step.identity)
        assert one is None or not (one.gone or one.is_edited)
    assert all(step.action != "conflict" for step in decide(wanted, known, overwrite=True))


@given(knowledge(), st.booleans())
def test_a_change_names_the_version_that_it_replaces(found: tuple[Wanted, dict[str, Known]], overwrite: bool) -> None:
    wanted, known = found
    for step in changes_of(decide(wanted, known, overwrite=overwrite)):
        one = known.get(step.identity)
        place = (step.resource_id, step.version)
        assert place == ("", "") if step.action == "create" else one and place == (one.resource_id, one.version)
