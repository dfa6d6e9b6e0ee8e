"""How long to wait."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.sync.waiting import LONGEST, Deadline, Gate, backoff, retry_after

NOW = datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0),
        ("120", 120),
        (" 7 ", 7),
        ("1000000000", 1e9),
        ("9" * 30, LONGEST),
        ("9" * 5000, LONGEST),
        ("0" * 500 + "5", 5),
        ("Sun, 06 Nov 1994 08:51:37 GMT", 120),
        ("Sunday, 06-Nov-94 08:51:37 GMT", 120),
        ("Sun Nov  6 08:51:37 1994", 120),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 0),
        ("Sun, 06 Nov 1993 08:49:37 GMT", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", LONGEST),
    ],
)
def test_both_forms_are_read(header: str, seconds: float) -> None:
    assert retry_after(header, NOW) == seconds


@pytest.mark.parametrize(
    "header",
    [None, "", "soon", "-5", "1.5", "1e9", "0x10", "\u0661\u0662", "²", "12 13", "Sun, 99 Nov 1994 08:49:37 GMT", "NaN", "inf"],
)
def test_garbage_asks_for_nothing(header: str | None) -> None:
    assert retry_after(header, NOW) is None


@given(st.one_of(st.text(), st.from_regex(r"[A-Z][a-z]{2}, [0-9]{1,6} (Jan|Feb) [0-9]{1,9} [0-9:]{0,12} ?[A-Z+0-9]{0,6}")))
def test_no_header_raises_or_asks_for_more_than_the_cap(header: str) -> None:
    seconds = retry_after(header, NOW)
    assert seconds is None or 0 <= seconds <= LONGEST


def test_backoff_grows_to_its_cap_with_full_jitter() -> None:
    assert [backoff(number, random=lambda: 1.0) for number in (0, 1, 2, 6, 7, 10_000)] == [0.5, 1, 2, 32, 60, 60]
    assert backoff(5, random=lambda: 0.0) == 0
    assert backoff(3, base=1, cap=5, random=lambda: 0.5) == 2.5


def test_deadline_counts_down_and_stays_at_zero() -> None:
    clock = iter([10.0, 12.0, 14.9, 15.0, 99.0])
    deadline = Deadline(5, lambda: next(clock))
    assert deadline.left() == 3
    deadline.check()
    with pytest.raises(TimeoutError):
        deadline.check()
    assert deadline.left() == 0


def test_gate_is_per_server_and_never_opens_earlier() -> None:
    at = [100.0]
    gate = Gate(lambda: at[0])
    gate.close("a", 30)
    gate.close("a", 5)
    assert (gate.left("a"), gate.left("b")) == (30, 0)
    at[0] += 29
    assert gate.left("a") == 1
    at[0] += 1
    assert gate.left("a") == 0
