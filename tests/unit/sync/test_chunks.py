"""Splitting by hand: cases that a reader can check. The laws, over random graphs, are in tests/property/test_sync_laws.py."""

from __future__ import annotations

import itertools

import pytest

from service.errors import ServerRefused
from service.sync.chunks import MOST_ENTRIES, Inseparable, after_refusal, chunks, circles

NONE: dict[str, set[str]] = {}


@pytest.mark.parametrize(
    ("names", "references", "most", "parts"),
    [
        ("abc", NONE, 3, ["abc"]),
        ("abcde", NONE, 2, ["ab", "cd", "e"]),
        ("abc", {"a": "c"}, 2, ["ca", "b"]),
        ("abcd", {"a": "b", "b": "a"}, 2, ["ab", "cd"]),
        ("abcd", {"a": "d", "d": "b", "b": "a"}, 3, ["abd", "c"]),
        ("abcd", {"b": "cd"}, 3, ["acd", "b"]),
        ("abc", {"a": "a"}, 1, ["a", "b", "c"]),
        ("abc", {"a": "xyz", "x": "a"}, 1, ["a", "b", "c"]),
        ("a", NONE, 1, ["a"]),
    ],
    ids=[
        "all in one",
        "in the order given",
        "first what is referred to",
        "two in a circle",
        "three in a circle, in the order given",
        "after both that it refers to",
        "to itself",
        "to what is not among them",
        "one",
    ],
)
def test_parts(names: str, references: dict[str, str], most: int, parts: list[str]) -> None:
    assert chunks(names, references, most) == [list(part) for part in parts]


@pytest.mark.parametrize("most", [0, 1, 2])
def test_a_circle_that_is_too_large_is_told_with_its_size(most: int) -> None:
    with pytest.raises(Inseparable) as caught:
        chunks("xabc", {"a": "b", "b": "c", "c": "a"}, most)
    assert caught.value.size == (3 if most else 1)
    assert str(caught.value.size) in str(caught.value)


def test_a_circle_that_fits_is_no_reason_to_give_up() -> None:
    assert chunks("abc", {"a": "b", "b": "c", "c": "a"}, 3) == [["a", "b", "c"]]


def test_a_long_chain_needs_no_deep_stack() -> None:
    names = [str(number) for number in range(5000)]
    chain = {one: {other} for one, other in itertools.pairwise(names)}
    parts = chunks(names, chain, MOST_ENTRIES)
    assert [len(part) for part in parts] == [500] * 10
    assert [name for part in parts for name in part] == names[::-1]
    assert [*circles(names, {**chain, names[-1]: {names[0]}})] == [names]


HAPI = "HAPI-0528: Unable to process transaction bundle with 501 entries: exceeded configured limit of 500"
MICROSOFT = "The number of entries exceeds the maximum permitted transaction bundle size of 50."


@pytest.mark.parametrize(
    ("status", "said", "sent", "most"),
    [
        (413, "", 100, 50),
        (413, "", 3, 1),
        (413, "", 1, 0),
        (413, HAPI, 501, 500),
        (413, HAPI, 500, 250),
        (400, MICROSOFT, 200, 50),
        (400, MICROSOFT, 50, 25),
        (400, "Patient.birthDate: of 50 dates one is none", 200, None),
        (422, "", 200, None),
        (400, "a limit of the server", 200, None),
        (400, "The attachment exceeds the maximum size of 65536 bytes.", 200, None),
    ],
)
def test_what_to_try_after_a_refusal(status: int, said: str, sent: int, most: int | None) -> None:
    outcome = {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "diagnostics": said}]}
    assert after_refusal(ServerRefused([], status=status, outcome=outcome), sent) == most


@pytest.mark.parametrize(
    "outcome", [None, {}, {"issue": None}, {"issue": ["text"]}, {"issue": [{}]}, {"issue": [{"diagnostics": 7}]}]
)
def test_a_refusal_may_say_anything(outcome: dict[str, object] | None) -> None:
    assert after_refusal(ServerRefused([], status=413, outcome=outcome), 10) == 5
    assert after_refusal(ServerRefused([], status=422, outcome=outcome), 10) is None
