"""HL7's own suite for validators: our verdict is the one on record, at least as often as the Java validators' is."""

from __future__ import annotations

import pytest

from tests.support import agreement, hl7_cases, verdicts
from tests.support.registry import needs

pytestmark = pytest.mark.network


def test_our_verdict_is_the_one_on_record() -> None:
    known = agreement.known_failures("hl7-cases")
    cases = needs(lambda: list(hl7_cases.cases()))
    wrong = {case.sample.name for case in cases if case.valid == bool(agreement.errors_of("hl7-cases", case.sample))}
    assert sorted(wrong - set(known)) == []
    assert sorted(set(known) - wrong) == [], "right now: take them off known_failures.yaml"


def test_we_are_right_at_least_as_often_as_either_judge() -> None:
    cases = needs(lambda: list(hl7_cases.cases()))
    records = verdicts.read("hl7-cases")
    known = agreement.known_failures("hl7-cases")
    judged = [(case.valid, records[case.sample.name]) for case in cases]
    right = {
        "ours": sum(case.sample.name not in known for case in cases),
        "hapi": sum(valid != bool(record.hapi) for valid, record in judged),
        "hl7": sum(valid != bool(record.hl7) for valid, record in judged),
    }
    assert right["ours"] >= max(right["hapi"], right["hl7"]), right
