"""Identities: the same for the same item, other for any other, under each key; nothing of the record can be seen in them."""

from __future__ import annotations

import re
import unicodedata
import uuid
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.mapping.identity import Identities

KEY = b"a key for tests"
Item = tuple[str, str, str, tuple[Any, ...]]


def of(item: Item, key: bytes = KEY) -> str:
    case, section, above, values = item
    return Identities(key, case).of(section, above, values)


texts = st.text(max_size=5).map(lambda text: unicodedata.normalize("NFC", text)).filter(lambda t: t.isprintable())
values = st.lists(st.none() | texts | st.integers(-5, 5) | st.lists(texts, max_size=2), max_size=3).map(tuple)
items = st.tuples(texts, texts, texts, values)


@given(items)
def test_it_is_a_uuid_of_version_8_in_lower_case(item: Item) -> None:
    url = of(item)
    assert re.fullmatch(r"urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", url)
    assert uuid.UUID(url[9:]).version == 8


@given(items, items)
def test_two_items_share_it_only_if_they_are_one(one: Item, other: Item) -> None:
    assert (of(one) == of(other)) == (one == other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("a", "bc", "", ()), ("ab", "c", "", ())),
        (("a", "b", "c", ()), ("a", "b", "", ("c",))),
        (("a", "b", "", ("x", None)), ("a", "b", "", (None, "x"))),
        (("a", "b", "", ("x,y",)), ("a", "b", "", ("x", "y"))),
        (("a", "b", "", ("1",)), ("a", "b", "", (1,))),
        (("a", "b", "", (Decimal("1.0"),)), ("a", "b", "", (Decimal("1.00"),))),
        (("a", "b", "", (["x"], "y")), ("a", "b", "", (["x", "y"],))),
    ],
)
def test_what_reads_alike_is_not_alike(one: Item, other: Item) -> None:
    assert of(one) != of(other)


def test_two_spellings_of_one_text_are_one_identity() -> None:
    assert of(("Müller", "labs", "", ("é",))) == of(("Mu\u0308ller", "labs", "", ("e\u0301",)))


def test_the_order_of_an_objects_fields_is_no_part_of_it() -> None:
    assert of(("a", "b", "", ({"low": 1, "high": 2},))) == of(("a", "b", "", ({"high": 2, "low": 1},)))


@pytest.mark.parametrize("key", [b"", b"another key", b"k" * 64, b"k" * 65, b"k" * 1000])
def test_another_key_gives_another_identity(key: bytes) -> None:
    item: Item = ("case-1", "labs", "", ("Hemoglobin",))
    assert of(item, key) != of(item)
    assert of(item, key) == of(item, key)


def test_keys_that_begin_alike_differ() -> None:
    item: Item = ("case-1", "labs", "", ())
    assert len({of(item, b"k" * length) for length in (63, 64, 65, 100, 1000)}) == 5


def test_one_object_serves_many_items() -> None:
    identities = Identities(KEY, "case-1")
    first = identities.of("labs", "", ("a",))
    identities.of("labs", "", ("b",))
    assert identities.of("labs", "", ("a",)) == first == Identities(KEY, "case-1").of("labs", "", ("a",))
