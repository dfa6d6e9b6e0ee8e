"""The grammar of docs/moments.md, both ways, and its FHIR form, both ways. One table holds every form of a moment."""

from __future__ import annotations

import datetime
import itertools
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from service.mapping import moments
from service.mapping.moments import DATA_ABSENT, DATE, RELATIVE_DATE, Point, Span, computed_date, parse, put, take, write

D = Decimal
# text as written → what it means
POINTS = {
    "2018": Point("2018"),
    "2018-08": Point("2018-08"),
    "2018-08-21": Point("2018-08-21"),
    "2020-02-29": Point("2020-02-29"),
    "2018-08-21T10:30:00+02:00": Point("2018-08-21T10:30:00+02:00"),
    "2018-08-21T10:30:00.120Z": Point("2018-08-21T10:30:00.120Z"),
    "2016-12-31T23:59:60Z": Point("2016-12-31T23:59:60Z"),
    "day 14 of hsct": Point(None, "hsct", "after-start", D(14), "d"),
    "day 0 of hsct": Point(None, "hsct", "after-start", D(0), "d"),
    "day -3 of hsct": Point(None, "hsct", "before-start", D(3), "d"),
    "by day 30 of hsct": Point(None, "hsct", "after-start", D(30), "d", "by"),
    "past day 30 of hsct": Point(None, "hsct", "after-start", D(30), "d", "past"),
    "1 week after hsct": Point(None, "hsct", "after-start", D(1), "wk"),
    "6 months after hsct": Point(None, "hsct", "after-start", D(6), "mo"),
    "2 hours before hsct": Point(None, "hsct", "before-start", D(2), "h"),
    "1.5 years after hsct": Point(None, "hsct", "after-start", D("1.5"), "a"),
    "1.0 years after hsct": Point(None, "hsct", "after-start", D("1.0"), "a"),
    "by 2 weeks before hsct": Point(None, "hsct", "before-start", D(2), "wk", "by"),
    "past 3 months after hsct": Point(None, "hsct", "after-start", D(3), "mo", "past"),
    "at hsct": Point(event="hsct", relationship="concurrent-with-start"),
    "before hsct": Point(event="hsct", relationship="before"),
    "after hsct": Point(event="hsct", relationship="after"),
    "during hsct": Point(event="hsct", relationship="concurrent"),
    "day 1 of to": Point(None, "to", "after-start", D(1), "d"),
    "at 2018": Point(event="2018", relationship="concurrent-with-start"),
    "at a.b_c-d": Point(event="a.b_c-d", relationship="concurrent-with-start"),
}
SPANS = {
    "2018-08 to 2018-11": Span(Point("2018-08"), Point("2018-11")),
    "2018 to 2018-11": Span(Point("2018"), Point("2018-11")),
    "from 2018-07": Span(Point("2018-07"), None),
    "until 2018-07": Span(None, Point("2018-07")),
    "days -10 to -9 of hsct": Span(
        POINTS["day -3 of hsct"]._replace(amount=D(10)), POINTS["day -3 of hsct"]._replace(amount=D(9))
    ),
    "days -1 to 4 of hsct": Span(Point(None, "hsct", "before-start", D(1), "d"), Point(None, "hsct", "after-start", D(4), "d")),
    "at car-t to day 14 of car-t": Span(parse("at car-t"), parse("day 14 of car-t")),  # type: ignore[arg-type]
    "from day 3 of car-t": Span(parse("day 3 of car-t"), None),  # type: ignore[arg-type]
    "2018-08-01 to at hsct": Span(Point("2018-08-01"), parse("at hsct")),  # type: ignore[arg-type]
}
NONE = [
    *("", " ", "2018-8", "2018-13", "2018-00", "2018-02-30", "2019-02-29", "2018-04-31", "0999", "18-08-2018", "2018/08"),
    *(
        "2018-08-21T10:30+02:00",
        "2018-08-21T10:30:00",
        "2018-08-21T24:00:00Z",
        "2018-08-21 10:30:00Z",
        "2018-08-21T10:30:00+15:00",
    ),
    *(
        "day 01 of hsct",
        "day -0 of hsct",
        "day +3 of hsct",
        "day 3 of",
        "Day 3 of hsct",
        "day 3 of a b",
        "day 3.5 of hsct",
        "day three of x",
    ),
    *(
        "1 weeks after hsct",
        "2 week after hsct",
        "0 weeks after hsct",
        "01 weeks after hsct",
        "2 days after hsct",
        "1.5 week after hsct",
    ),
    *(
        "days 3 to 3 of hsct",
        "days 4 to 3 of hsct",
        "day 3 of hsct to day 4 of hsct",
        "2018-09 to 2018-08",
        "2019 to 2018-08",
        "2018 to 2018",
    ),
    *(
        "at hsct to at hsct",
        "from",
        "until",
        "from 2018 to 2019",
        "by 2018",
        "by at hsct",
        "of hsct",
        "hsct",
        "2018\n",
        "٢٠١٨",
        "day ٣ of x",
    ),
]


@pytest.mark.parametrize(("text", "moment"), [*POINTS.items(), *SPANS.items()])
def test_grammar_both_ways(text: str, moment: Point | Span) -> None:
    assert parse(text) == moment
    assert write(moment) == text


def accepts(text: str) -> bool:
    """As a field does: the form holds the pattern, the converter parses."""
    if not re.fullmatch(f"{moments.POINT}|{moments.PERIOD}", text):
        return False
    try:
        parse(text)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("text", NONE)
def test_what_is_no_moment(text: str) -> None:
    assert not accepts(text)


@pytest.mark.parametrize("text", [*POINTS, *SPANS])
def test_the_pattern_of_the_form_knows_every_moment(text: str) -> None:
    assert accepts(text)


def test_a_refusal_names_no_value() -> None:
    with pytest.raises(ValueError, match="not a moment") as caught:
        parse("Jane Kowalski")
    assert "Kowalski" not in str(caught.value)


def test_each_form_of_a_moment_is_read_in_one_way_only() -> None:
    seen = [parse(text) for text in (*POINTS, *SPANS)]
    assert all(one != other for one, other in itertools.combinations(seen, 2))


def refer(event: str) -> dict[str, Any]:
    return {"type": "Procedure", "identifier": {"system": "https://example.org/item", "value": event}}


def day_of(date: str | None) -> Callable[[str], str | None]:
    return lambda _event: date


def in_fhir(point: Point, date: str | None = None) -> dict[str, Any]:
    out: dict[str, Any] = {}
    put(out, "effectiveDateTime", point, day_of(date), refer)
    return out


@pytest.mark.parametrize("date", [None, "2018", "2018-08", "2018-08-21", "2018-08-21T10:30:00Z"])
@pytest.mark.parametrize("text", POINTS)
def test_fhir_both_ways(text: str, date: str | None) -> None:
    point = POINTS[text]
    assert take(in_fhir(point, date), "effectiveDateTime") == point


def test_the_extension_as_r4_shapes_it() -> None:
    assert in_fhir(parse("day 14 of car-t")) == {  # type: ignore[arg-type]
        "_effectiveDateTime": {
            "extension": [
                {
                    "url": RELATIVE_DATE,
                    "extension": [
                        {"url": "event", "valueReference": refer("car-t")},
                        {"url": "relationship", "valueCode": "after-start"},
                        {"url": "offset", "valueDuration": {"value": 14, "system": moments.UCUM, "code": "d"}},
                    ],
                }
            ]
        }
    }


def offset(text: str) -> dict[str, Any]:
    (relative,) = in_fhir(parse(text))["_effectiveDateTime"]["extension"]  # type: ignore[arg-type]
    found: dict[str, Any] = relative["extension"][2]["valueDuration"]
    return found


@pytest.mark.parametrize(
    ("text", "comparator"),
    [
        ("by day 30 of x", "<="),
        ("past day 30 of x", ">"),
        ("by day -30 of x", ">="),
        ("past day -30 of x", "<"),
        ("by 2 weeks after x", "<="),
        ("past 2 weeks before x", "<"),
    ],
)
def test_bounds_in_time_are_comparators_of_the_distance(text: str, comparator: str) -> None:
    assert offset(text)["comparator"] == comparator


def test_a_distance_that_nobody_stated_is_absent_and_not_zero() -> None:
    assert offset("before x") == {"extension": [{"url": DATA_ABSENT, "valueCode": "unknown"}]}


@pytest.mark.parametrize(
    ("text", "value"), [("1.0 years after x", "1.0"), ("1.50 weeks after x", "1.50"), ("3 weeks after x", "3")]
)
def test_digits_of_a_distance_stay(text: str, value: str) -> None:
    assert str(offset(text)["value"]) == value


@pytest.mark.parametrize(
    ("text", "event", "date"),
    [
        ("2018-08", None, "2018-08"),
        ("day 14 of x", "2018-08-21", "2018-09-04"),
        ("day -3 of x", "2018-03-01", "2018-02-26"),
        ("day 0 of x", "2018-08-21", "2018-08-21"),
        ("at x", "2018-08-21", "2018-08-21"),
        ("at x", "2018", "2018"),  # no more precise than the event
        ("day 14 of x", None, None),
        ("day 14 of x", "2018-08", None),  # a month has no fourteenth day after it
        ("day 14 of x", "2018-08-21T10:30:00Z", None),
        ("by day 14 of x", "2018-08-21", None),
        ("past day 14 of x", "2018-08-21", None),
        ("2 weeks after x", "2018-08-21", None),  # "two weeks" is rarely the fourteenth day
        ("1 month after x", "2018-01-31", None),
        ("2 hours after x", "2018-08-21", None),
        ("before x", "2018-08-21", None),
        ("after x", "2018-08-21", None),
        ("during x", "2018-08-21", None),
    ],
)
def test_only_what_follows_is_computed(text: str, event: str | None, date: str | None) -> None:
    point = parse(text)
    assert isinstance(point, Point)
    assert computed_date(point, day_of(event)) == date
    assert in_fhir(point, event).get("effectiveDateTime") == date
    assert ("_effectiveDateTime" in in_fhir(point, event)) == (point.date is None)


def test_a_day_after_the_end_of_the_calendar() -> None:
    with pytest.raises(ValueError, match="leaves the calendar"):
        in_fhir(parse("day 9 of x"), "9999-12-30")  # type: ignore[arg-type]


def test_take_of_what_is_not_there() -> None:
    assert take({}, "onset") is None
    assert take({"_onset": {"extension": [{"url": DATA_ABSENT, "valueCode": "unknown"}]}}, "onset") is None


@pytest.mark.parametrize("year", [1900, 1904, 2000, 2019, 2020, 2100, 9996])
def test_the_days_are_those_of_the_calendar(year: int) -> None:
    """Against the calendar of the standard library, each day of a year and those that no month has."""
    for month, day in itertools.product(range(1, 14), range(33)):
        text = f"{year}-{month:02}-{day:02}"
        try:
            exists = bool(datetime.date(year, month, day))
        except ValueError:
            exists = False
        assert bool(re.fullmatch(DATE, text)) is exists, text


@pytest.mark.parametrize(
    ("text", "ends_after_it_starts"),
    [
        ("2022-01-02T01:00:00+14:00 to 2022-01-01T23:00:00-05:00", True),
        ("2022-01-01T23:00:00-05:00 to 2022-01-02T01:00:00+14:00", False),
        ("2022-01-01T23:59:60Z to 2022-01-02", True),
        ("2022-01-02 to 2022-01-01T23:59:59Z", False),
        ("2022-01 to 2022-01-15", True),
        ("2022 to 2021-12", False),
    ],
)
def test_a_period_is_judged_by_instants_where_both_ends_are(text: str, ends_after_it_starts: bool) -> None:
    if ends_after_it_starts:
        assert write(parse(text)) == text
    else:
        with pytest.raises(ValueError, match="before it starts"):
            parse(text)
