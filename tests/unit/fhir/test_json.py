"""The strict JSON door. The judge that we did not write is Python's own json module, made as strict as it can be.

The door has two paths. A key spelled with an escape is legal and never passes the fast one, so the same text under the
keys "a" and "\\u0061" takes each path in turn, and both must say the same: no test needs to reach inside.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from decimal import Decimal, localcontext
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import UnreadableInput
from service.fhir.json import SAFE_DIGITS, Json, Limits, dumps, loads, locate, pointer
from service.issues import Issue

FAST, SLOW = b'{"a":%s}', b'{"\\u0061":%s}'


def refused(text: bytes | str, **options: Any) -> Issue:
    with pytest.raises(UnreadableInput) as caught:
        loads(text, **options)
    [issue] = caught.value.issues
    assert issue.severity == "fatal"
    assert issue.fix
    return issue


def outcome(text: bytes) -> tuple[str, ...]:
    """What the door says, comparable: exact spelling of the value, or rule and pointer of the refusal."""
    try:
        return ("value", repr(loads(text)))
    except UnreadableInput as error:
        return ("refusal", error.issues[0].rule, str(error.issues[0].pointer))


# Values -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("frame", [FAST, SLOW])
@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("-0", 0),
        ("12345678901234567890123", 12345678901234567890123),
        ("-9223372036854775809", -9223372036854775809),
        ("19", 19),
        ("19.00", Decimal("19.00")),
        ("4.50", Decimal("4.50")),
        ("0.010", Decimal("0.010")),
        ("-0.0", Decimal("-0.0")),
        ("12345678901234567890.123", Decimal("12345678901234567890.123")),
        ("0.0000001", Decimal("0.0000001")),
        ("1E2", 100),
        ("1E+2", 100),
        ("1.50e-3", Decimal("0.00150")),
        ("1E-7", Decimal("0.0000001")),
        ("0e400", 0),
        ("-0E5", 0),
        ("true", True),
        ("null", None),
        ("[]", []),
        ("{}", {}),
        ('"mm[Hg] {a}"', "mm[Hg] {a}"),
        (r'"\u00e9\/\"\\\b\f\n\r\t"', 'é/"\\\b\f\n\r\t'),
        (r'"\ud83d\ude00"', "😀"),
        (r'"\\u0000 \\ud800"', r"\u0000 \ud800"),
        ('"\u2028\x7f\ufeff"', "\u2028\x7f\ufeff"),
        (' {"a b" :\t1 ,\r\n"ab": 2 } ', {"a b": 1, "ab": 2}),
        ('{"b":1,"a":{"b":2}}', {"b": 1, "a": {"b": 2}}),
    ],
)
def test_a_legal_value_is_read_exactly_on_both_paths(frame: bytes, text: str, value: Json) -> None:
    read = loads(frame % text.encode())["a"]
    assert (repr(read), type(read)) == (repr(value), type(value))


def test_bytes_and_str_are_read_alike_and_a_byte_order_mark_is_skipped() -> None:
    assert loads('{"a":"é"}') == loads('{"a":"é"}'.encode()) == loads(b"\xef\xbb\xbf" + '{"a":"é"}'.encode())
    issue = refused("\ufeff{]")
    assert str(issue.source) == "-:1:2"


def test_the_decimal_context_of_the_caller_changes_nothing() -> None:
    with localcontext() as context:
        context.prec = 3
        context.Emax = 5
        assert repr(loads("[123456.789, 1.23456E10]")) == "[Decimal('123456.789'), 12345600000]"
        assert refused("1e" + "9" * 1000).rule == "json-number"


# Refusals -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "rule", "where", "place"),
    [
        (b"", "json-syntax", "", "1:1"),
        (b'{"a":[1,', "json-syntax", "/a/1", "1:9"),
        (b'{"a":"b', "json-syntax", "/a", "1:8"),
        (b"[1,]", "json-syntax", "/1", "1:4"),
        (b"[1 -2]", "json-syntax", "", "1:4"),
        (b'{"a":1,}', "json-syntax", "", "1:8"),
        (b'{"a" 1}', "json-syntax", "", "1:6"),
        (b'{"a":\n [1}}', "json-syntax", "/a", "2:4"),
        (b"{1:2}", "json-syntax", "", "1:2"),
        (b"{'a':2}", "json-syntax", "", "1:2"),
        (b"[01]", "json-syntax", "/0", "1:2"),
        (b"[1.]", "json-syntax", "/0", "1:2"),
        (b"[.5]", "json-syntax", "/0", "1:2"),
        (b"[+1]", "json-syntax", "/0", "1:2"),
        (b"[True]", "json-syntax", "/0", "1:2"),
        (b"[nulls]", "json-syntax", "/0", "1:2"),
        (b"[1] // x", "json-syntax", "", "1:5"),
        (b"1 2", "json-syntax", "", "1:3"),
        (b'["\\x41"]', "json-syntax", "/0", "1:3"),
        (b'["\\u12"]', "json-syntax", "/0", "1:3"),
        (b'{"a":1,"b":2,"a":1}', "json-duplicate-key", "/a", "1:14"),
        (b'{"a":1,"\\u0061":1}', "json-duplicate-key", "/a", "1:8"),
        (b'[{"a/b":{"c~":1,\n"c~":1}}]', "json-duplicate-key", "/0/a~1b/c~0", "2:1"),
        (b'{"":1,"":1}', "json-duplicate-key", "/", "1:7"),
        (b'{"a":NaN}', "json-number", "/a", "1:6"),
        (b"[0,-Infinity]", "json-number", "/1", "1:4"),
        (b"[1e999]", "json-number", "/0", "1:2"),
        (b"[1E-401]", "json-number", "/0", "1:2"),
        (b"[1E+" + b"9" * 5000 + b"]", "json-number", "/0", "1:2"),
        (b"[-" + b"9" * 5000 + b"]", "json-number", "/0", "1:2"),
        (b'["\xff"]', "json-encoding", "/0", "1:3"),
        (b'{"\xc3":1}', "json-encoding", "", "1:3"),
        (b'["\xed\xa0\x80"]', "json-encoding", "/0", "1:3"),
        ('["\ud800"]', "json-encoding", "/0", "1:3"),
        ('{"a":1}'.encode("utf-16"), "json-encoding", "", "1:1"),
        ('{"a":1}'.encode("utf-16-le"), "json-encoding", "", "1:1"),
        ('{"a":1}'.encode("utf-16-be"), "json-encoding", "", "1:1"),
        ('{"a":1}'.encode("utf-32-le"), "json-encoding", "", "1:1"),
        ('{"a":1}'.encode("utf-32-be"), "json-encoding", "", "1:1"),
        ("1".encode("utf-16-le"), "json-encoding", "", "1:1"),
        (b'["\\ud800"]', "json-surrogate", "/0", "1:3"),
        (b'["\\udc00\\ud800"]', "json-surrogate", "/0", "1:3"),
        (b'["\xc3\xa9\\uD83D\\u0041"]', "json-surrogate", "/0", "1:4"),
        (b'["a\\u0000"]', "json-control", "/0", "1:4"),
        (b'{"\\u0000":1}', "json-control", "", "1:3"),
        (b'"\x00"', "json-control", "", "1:2"),
        (b'["a\tb"]', "json-control", "/0", "1:4"),
        (b"[\x0c1]", "json-control", "/0", "1:2"),
    ],
)
def test_an_illegal_text_is_refused_with_rule_and_place(text: bytes | str, rule: str, where: str, place: str) -> None:
    issue = refused(text, file="case.json")
    assert (issue.rule, issue.pointer, str(issue.source)) == (rule, where, f"case.json:{place}")


@pytest.mark.parametrize(
    ("text", "code"),
    [(b"[", "structure"), (b"[NaN]", "invalid"), (b"[" * 65, "too-costly"), (b" " * 20_000_001, "too-long")],
)
def test_the_code_is_of_the_fhir_issue_types(text: bytes, code: str) -> None:
    assert refused(text).code == code


@pytest.mark.parametrize("fault", ["01", "NaN", "1e999", '"\\q"', '"\\u0000"', '"\\ud800"', '"\t"', "Kowalski", "1 2"])
def test_no_text_carries_a_value(fault: str) -> None:
    issue = refused(f'{{"name":"Kowalski","born":19710203,"x":{fault},"y":["Kowalski 19710203"]}}')
    assert "Kowalski" not in f"{issue.text}{issue.fix}"
    assert "1971" not in f"{issue.text}{issue.fix}"


def test_a_duplicate_key_is_named_and_shortened() -> None:
    assert "'labs'" in refused('{"labs":1,"labs":2}').text
    member = f'"{"k" * 9999}":1'
    assert len(refused(f"{{{member},{member}}}").text) < 200


# Limits -------------------------------------------------------------------------------------------------------------


def nested(depth: int) -> list[bytes]:
    """Legal texts with exactly this many containers inside one another; brackets in strings mislead counters."""
    arrays, objects = b"[" * (depth - 1), b'{"[{":' * (depth - 1)
    return [
        arrays + b"[]" + b"]" * (depth - 1),
        objects + b'{"x":"}}"}' + b"}" * (depth - 1),
        b'["]]","\\"]\\\\",' + arrays + b"]" * (depth - 1) + b"]",
        b'["\\\\",' + arrays[1:] + b"[]" + b"]" * (depth - 2) + b',"\\\\"]',
        b'["]",' * (depth - 1) + b"[]" + b',"["]' * (depth - 1),
        b"[[[]],[{}]," + arrays + b"1" + b"]" * (depth - 1) + b"]",
        b'{"\\u0061":' + arrays + b'"["' + b"]" * (depth - 1) + b"}",
    ]


@pytest.mark.parametrize("depth", [3, 7, 64])
def test_depth_is_limited_exactly(depth: int) -> None:
    for text in nested(depth):
        assert loads(text, limits=Limits(max_depth=depth)) == json.loads(text)
    for text in nested(depth + 1):
        assert refused(text, limits=Limits(max_depth=depth)).rule == "json-depth"


def test_absurd_depth_is_refused_without_recursion() -> None:
    assert refused(b"[" * 100_000 + b"]" * 100_000).rule == "json-depth"
    assert refused(b'{"a":' * 100_000).pointer == "/a" * 64


def test_depth_beyond_the_recursion_limit_is_readable_if_allowed() -> None:
    value = loads(b"[" * 5000 + b"]" * 5000, limits=Limits(max_depth=5000))
    for _ in range(4999):
        [value] = value
    assert value == []


def test_size_is_limited_in_bytes() -> None:
    assert loads('"éé"', limits=Limits(max_bytes=6)) == "éé"
    issue = refused('"éé"', limits=Limits(max_bytes=5), file="case.json")
    assert (issue.rule, issue.pointer, str(issue.source)) == ("json-size", "", "case.json")


@pytest.mark.parametrize("frame", [FAST, SLOW])
@pytest.mark.parametrize("number", ["%s", "-%s", "0.%s", "%s.5", "1.%se-3"])
def test_digits_are_limited_exactly_under_every_interpreter_setting(frame: bytes, number: str) -> None:
    fraction_gains = 3 if "e" in number else 0
    longest = SAFE_DIGITS - fraction_gains
    usual = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(SAFE_DIGITS)
    try:
        loads(frame % (number % ("9" * longest)).encode())
        assert refused(frame % (number % ("9" * (longest + 1))).encode()).rule == "json-number"
    finally:
        sys.set_int_max_str_digits(usual)


def test_digits_in_a_string_are_no_number() -> None:
    assert loads('["%s"]' % ("9" * 5000)) == ["9" * 5000]


def test_limits_that_int_could_not_keep_are_refused() -> None:
    with pytest.raises(ValueError, match="max_digits"):
        Limits(max_digits=SAFE_DIGITS + 1)


# Writing, pointers, places ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Decimal("19.00"), b"19.00"),
        (Decimal("1E+2"), b"100"),
        ({"a": [Decimal("1E-7"), Decimal("-1.50E+3")]}, b'{"a":[0.0000001,-1500]}'),
        (["E+1", "1E+1", "NaN", Decimal("1E+1")], b'["E+1","1E+1","NaN",10]'),
        ({"b": "é/\u2028", "a": None}, '{"b":"é/\u2028","a":null}'.encode()),
    ],
)
def test_numbers_are_written_in_plain_digits_and_keys_in_their_order(value: Json, text: bytes) -> None:
    assert dumps(value) == text


def test_indented_text_has_two_spaces_a_level_and_ends_its_last_line() -> None:
    assert dumps({"a": [Decimal("1.0"), {}]}, indent=True) == b'{\n  "a": [\n    1.0,\n    {}\n  ]\n}\n'


@pytest.mark.parametrize("number", ["NaN", "sNaN", "Infinity", "-Infinity"])
def test_no_number_that_json_lacks_is_written(number: str) -> None:
    with pytest.raises(ValueError, match="NaN or Infinity"):
        dumps([Decimal(number)])


@pytest.mark.parametrize(
    ("steps", "expected"),
    [((), ""), (("foo", 0), "/foo/0"), (("",), "/"), (("a/b",), "/a~1b"), (("m~n",), "/m~0n"), (("~1",), "/~01")],
)
def test_pointers_are_spelled_as_in_rfc_6901_section_5(steps: tuple[str | int, ...], expected: str) -> None:
    assert pointer(*steps) == expected


def test_every_value_and_key_has_its_place() -> None:
    assert locate('{"é":\n {"b/" : [1, true]},\r\n"c":3}') == {
        "": (1, 1),
        "/é#key": (1, 2),
        "/é": (2, 2),
        "/é/b~1#key": (2, 3),
        "/é/b~1": (2, 10),
        "/é/b~1/0": (2, 11),
        "/é/b~1/1": (2, 14),
        "/c#key": (3, 1),
        "/c": (3, 5),
    }


@pytest.mark.parametrize("text", ['{"a":1,"a#key":2}', '{"a#key":2,"a":1}'])
def test_the_place_of_a_value_goes_before_the_place_of_a_key(text: str) -> None:
    assert locate(text)["/a#key"] == (1, text.index("2") + 1)


def test_the_room_for_places_is_bounded() -> None:
    text = f'{{"{"k" * 1000}":[{",".join("1" * 1000)}]}}'
    assert 2 < len(locate(text, limits=Limits(max_bytes=len(text)))) < 10


# Properties ---------------------------------------------------------------------------------------------------------

untimed = settings(deadline=None)

texts = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=8)
literals = st.from_regex(r"-?(0|[1-9][0-9]{0,24})\.[0-9]{1,24}", fullmatch=True)
scalars = st.none() | st.booleans() | st.integers() | st.integers(-(10**40), 10**40) | literals.map(Decimal) | texts
trees = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4))
spaces = st.text(" \t\r\n", max_size=2)


@st.composite
def spellings(draw: st.DrawFn, value: Json) -> str:
    """One of the many legal texts of a value: any whitespace, any escapes, decimals in plain digits."""
    if isinstance(value, str):
        body = "".join(draw(st.sampled_from(spelled_characters(char))) for char in value)
        text = f'"{body}"'
    elif isinstance(value, list):
        text = "[" + (",".join(draw(spellings(item)) for item in value) or draw(spaces)) + "]"
    elif isinstance(value, dict):
        members = (draw(spellings(key)) + ":" + draw(spellings(item)) for key, item in value.items())
        text = "{" + (",".join(members) or draw(spaces)) + "}"
    else:
        text = format(value, "f") if isinstance(value, Decimal) else json.dumps(value)
    return draw(spaces) + text + draw(spaces)


def spelled_characters(char: str) -> list[str]:
    escaped = json.dumps(char)[1:-1]
    plain = json.dumps(char, ensure_ascii=False)[1:-1]
    return [plain, escaped] + [f"\\u{ord(char):04X}"] * (ord(char) < 0x10000) + ["\\/"] * (char == "/")


def strictly(text: str) -> Json:
    """Python's own reading, with the refusals it offers. Raises ValueError."""

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    def members(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
        if len(dict(pairs)) < len(pairs):
            raise ValueError("duplicate key")
        return dict(pairs)

    return json.loads(text, parse_float=Decimal, parse_constant=refuse, object_pairs_hook=members)


@untimed
@given(st.data(), trees)
def test_any_spelling_of_a_value_is_read_as_that_value_on_both_paths(data: st.DataObject, tree: Json) -> None:
    text = data.draw(spellings(tree)).encode()
    assert outcome(FAST % text) == outcome(SLOW % text) == ("value", repr({"a": tree}))


@untimed
@given(trees, st.booleans())
def test_what_is_written_is_read_again_to_the_last_digit(tree: Json, indent: bool) -> None:
    assert repr(loads(dumps(tree, indent=indent))) == repr(tree)


@untimed
@given(st.decimals(allow_nan=False, allow_infinity=False, places=None).filter(lambda d: abs(d.adjusted()) < 300))
def test_any_decimal_is_written_in_plain_digits_and_keeps_its_value(number: Decimal) -> None:
    text = dumps([number])
    assert b"E" not in text
    assert loads(text) == [number]


@untimed
@given(st.data(), st.lists(trees, min_size=2, max_size=4), texts, trees, st.sampled_from([FAST, SLOW]))
def test_a_duplicate_key_is_refused_wherever_it_is(
    data: st.DataObject, values: list[Json], key: str, tree: Json, frame: bytes
) -> None:
    members = [f"{data.draw(spellings(key))}:{data.draw(spellings(value))}" for value in values]
    text = f"[{data.draw(spellings(tree))},{{{','.join(members)}}}]".encode()
    assert outcome(frame % text) == ("refusal", "json-duplicate-key", pointer("a", 1, key))


FRAGMENTS = [
    *"{}[]:,\"\\'-+.0eE \n\t\x00é",
    *[r'"a"', r'"b"', r'"a":', r'{"a":1}', r'"[{"', r'"\""', r'"\\"'],
    *[r'"\u00e9"', r'"\u0000"', r'"\ud800"', r'"\ud83d\ude00"'],
    *["1", "19.00", "1E2", "1E+2", "1E-7", "1e999", "-0", "-0.0", "true", "null", "NaN", "-Infinity"],
]
nearly_json = st.lists(st.sampled_from(FRAGMENTS), max_size=12).map(lambda parts: "".join(parts).encode())


@untimed
@given(st.binary(max_size=40) | nearly_json | st.text(max_size=20).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_no_bytes_at_all_get_more_than_a_value_or_a_refusal_and_both_paths_agree(text: bytes) -> None:
    assert outcome(text)
    assert outcome(FAST % text) == outcome(SLOW % text)


@untimed
@given(nearly_json)
def test_the_door_is_as_strict_as_python_and_reads_the_same(text: bytes) -> None:
    said = outcome(text)
    try:
        value = strictly(text.decode())
    except ValueError:
        assert said[0] == "refusal"
    else:
        # What Python reads and we refuse: characters and numbers that a FHIR server could not hold.
        ours_alone = {"json-surrogate", "json-control", "json-number"}
        assert said[1] in ours_alone if said[0] == "refusal" else loads(text) == value


def values_in(value: Json, *steps: str | int) -> Iterator[tuple[str, Json]]:
    yield pointer(*steps), value
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, item in inside:
        yield from values_in(item, *steps, step)


@untimed
@given(st.data(), trees)
def test_at_the_place_of_a_value_python_reads_that_value(data: st.DataObject, tree: Json) -> None:
    text = data.draw(spellings(tree))
    starts = [0, *(offset + 1 for offset, char in enumerate(text) if char == "\n")]
    places = locate(text)
    for where, value in values_in(tree):
        line, column = places[where]
        found, _ = json.JSONDecoder(parse_float=Decimal).raw_decode(text, starts[line - 1] + column - 1)
        assert found == value
