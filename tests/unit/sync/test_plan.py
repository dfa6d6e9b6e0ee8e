"""What is decided about one fact, for everything that can be known of it: a table, and what stands in the steps."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from service.sync.canonical import digest_of
from service.sync.plan import DELETED, EDITED, FOREIGN, Known, Step, changes_of, decide
from service.sync.retire import retired
from service.sync.server import Resource
from tests.support.by_hand import PATIENT, case, fact

WANTED = fact("a", Decimal("1.50"))
BEFORE = fact("a", Decimal("1.5"))
# As the server has it after it added something to what we sent.
ALTERED = WANTED | {"language": "en"}
EDIT = WANTED | {"status": "amended"}
GONE = "it is no longer in the case"


def known(sent: Resource | None = None, stored: Resource | None = None, current: Resource | None = None, **more: bool) -> Known:
    """Of Observation/7, version 3: what we sent last, what the server made of it, and what it holds now where it was read."""
    digests = [digest_of(one) if one else None for one in (sent, stored or sent)]
    return Known("Observation", "7", "3", "2026-01-02T03:04:05Z", *digests, current=current, **more)


def taken_back(resource: Resource) -> Resource:
    made = retired(resource)
    assert made is not None
    return made


RETIRED = taken_back(BEFORE)

# What is known → the step, its reason, and the step and reason where foreign edits may be replaced (None: the same).
OF_THE_CASE: dict[str, tuple[Known | None, tuple[str, str], tuple[str, str] | None]] = {
    "never seen": (None, ("create", ""), None),
    "as written, by the ledger": (known(WANTED), ("unchanged", ""), None),
    "changed in the case, by the ledger": (known(BEFORE), ("update", ""), None),
    "taken back, by the ledger": (known(WANTED, retired=True), ("update", ""), None),
    "as written, read": (known(WANTED, current=WANTED), ("unchanged", ""), None),
    "changed in the case, read": (known(BEFORE, current=BEFORE), ("update", ""), None),
    "taken back, read": (known(RETIRED, current=RETIRED, retired=True), ("update", ""), None),
    "altered by the server as it took it": (known(WANTED, ALTERED, ALTERED), ("unchanged", ""), None),
    "altered by the server, then changed in the case": (known(BEFORE, ALTERED, ALTERED), ("update", ""), None),
    "there as wanted, whoever wrote it": (known(current=WANTED), ("unchanged", ""), None),
    "edited to what the case says now": (known(BEFORE, current=WANTED), ("unchanged", ""), None),
    "brought back by someone to what the case says": (known(RETIRED, current=WANTED, retired=True), ("unchanged", ""), None),
    "edited, unchanged in the case": (known(WANTED, current=EDIT), ("unchanged", EDITED), ("update", "")),
    "edited, changed in the case": (known(BEFORE, current=EDIT), ("conflict", EDITED), ("update", "")),
    "taken back, then edited": (known(RETIRED, current=EDIT, retired=True), ("conflict", EDITED), ("update", "")),
    "taken back with the very same digest, then edited": (
        known(WANTED, current=EDIT, retired=True),
        ("conflict", EDITED),
        ("update", ""),
    ),
    "written by someone else": (known(current=EDIT), ("conflict", FOREIGN), ("update", "")),
    "deleted by someone": (known(WANTED, gone=True), ("conflict", DELETED), ("create", DELETED)),
    "deleted, changed in the case": (known(BEFORE, gone=True), ("conflict", DELETED), ("create", DELETED)),
}
NO_LONGER_OF_THE_CASE: dict[str, tuple[Known, tuple[str, str] | None, tuple[str, str] | None]] = {
    "by the ledger": (known(WANTED), ("retire", GONE), ("retire", GONE)),
    "as written, read": (known(WANTED, current=WANTED), ("retire", GONE), ("retire", GONE)),
    "altered by the server": (known(WANTED, ALTERED, ALTERED), ("retire", GONE), ("retire", GONE)),
    "edited": (known(WANTED, current=EDIT), ("conflict", EDITED), ("retire", GONE)),
    "written by someone else": (known(current=EDIT), ("conflict", FOREIGN), ("retire", GONE)),
    "deleted by someone": (known(WANTED, gone=True), None, None),
    "taken back, by the ledger": (known(WANTED, retired=True), None, None),
    "taken back, read": (known(RETIRED, current=RETIRED, retired=True), None, None),
    "taken back by another outbox": (known(current=RETIRED), None, None),
}


def step(one: Known | None, *, overwrite: bool, is_wanted: bool = True) -> Step | None:
    """The one step about the fact `a`; None where there is none."""
    wanted = case(*([WANTED] if is_wanted else []))
    there = {PATIENT: replace(known(wanted.resources[PATIENT]), resource_type="Patient")} | ({"a": one} if one else {})
    steps = {step.identity: step for step in decide(wanted, there, overwrite=overwrite)}
    assert steps.pop(PATIENT).action == "unchanged"
    return steps.get("a")


@pytest.mark.parametrize("name", OF_THE_CASE)
def test_a_fact_of_the_case(name: str) -> None:
    one, careful, bold = OF_THE_CASE[name]
    for overwrite, (action, reason) in ((False, careful), (True, bold or careful)):
        made = step(one, overwrite=overwrite)
        assert made is not None
        assert (made.action, made.reason, made.digest) == (action, reason, digest_of(WANTED))
        place = ("", "") if one is None or action == "create" else ("7", "3")
        assert (made.resource_type, made.resource_id, made.version) == ("Observation", *place)


@pytest.mark.parametrize("name", NO_LONGER_OF_THE_CASE)
def test_a_fact_that_is_no_longer_of_the_case(name: str) -> None:
    one, careful, bold = NO_LONGER_OF_THE_CASE[name]
    for overwrite, expected in ((False, careful), (True, bold)):
        made = step(one, overwrite=overwrite, is_wanted=False)
        assert (made and (made.action, made.reason)) == expected
        assert made is None or (made.resource_id, made.version, made.digest) == ("7", "3", "")


@pytest.mark.parametrize(("overwrite", "action"), [(False, "conflict"), (True, "retire")])
def test_a_fact_that_was_taken_back_and_that_someone_brought_back(overwrite: bool, action: str) -> None:
    made = step(known(RETIRED, current=WANTED, retired=True), overwrite=overwrite, is_wanted=False)
    assert made is not None
    assert made.action == action


def test_what_would_change_is_told_element_by_element() -> None:
    for action, one in (
        ("update", known(BEFORE, current=BEFORE)),
        ("conflict", known(BEFORE, current=BEFORE | {"status": "amended"})),
    ):
        made = step(one, overwrite=False)
        assert made is not None
        assert made.action == action
        places = {change.place: (str(change.before), str(change.after)) for change in made.changes}
        assert places["extension[0].valueDecimal"] == ("1.5", "1.50")
        assert ("status" in places) == (action == "conflict")


def test_nothing_is_told_of_what_was_not_read_or_does_not_change() -> None:
    for one in (None, known(BEFORE), known(WANTED), known(WANTED, current=EDIT), known(BEFORE, gone=True)):
        made = step(one, overwrite=False)
        assert made is not None
        assert made.changes == ()


def test_the_facts_of_the_case_come_in_its_order_and_then_those_that_left_it() -> None:
    wanted = case(fact("c"), fact("a"), fact("b"))
    left = {"z": known(fact("z")), "y": known(fact("y"))}
    steps = decide(wanted, {"b": known(fact("b"))} | left)
    assert [step.identity for step in steps] == [PATIENT, "c", "a", "b", "z", "y"]
    assert [step.identity for step in changes_of(steps)] == [PATIENT, "c", "a", "z", "y"]


def test_a_step_is_another_one_as_soon_as_case_or_server_has_changed() -> None:
    base = Step("update", "a", "Observation", "7", "3", digest="d", reason="r")
    same = [replace(base, reason="other"), replace(base, resource_id="8")]
    other = [replace(base, **{name: "x"}) for name in ("action", "identity", "version", "digest")]
    assert {one.key for one in same} == {base.key}
    assert base.key not in {one.key for one in other}
    assert len({one.key for one in other}) == 4
    assert Step("create", "a", "Observation", digest="d").key == "create a - d"
    assert Step("retire", "a", "Observation", "7", "3").key == "retire a 3 -"


def test_neither_a_plan_nor_what_is_known_shows_a_value_when_it_is_printed() -> None:
    wanted = case(fact("a", Decimal("4711.5")))
    there = {"a": known(BEFORE, current=fact("a", Decimal("1147.5")))}
    steps = decide(wanted, there)
    assert steps[1].changes
    shown = f"{wanted!r}{there!r}{steps!r}"
    assert "4711.5" not in shown
    assert "1147.5" not in shown
