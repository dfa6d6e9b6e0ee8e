"""HL7's own suite for validators: our verdict is the one on record."""

from __future__ import annotations

import pytest

from tests.support import agreement, hl7_cases
from tests.support.registry import needs

pytestmark = pytest.mark.network


def test_our_verdict_is_the_one_on_record() -> None:
    known = agreement.known_failures("hl7-cases")
    cases = needs(lambda: list(hl7_cases.cases()))
    wrong = {case.sample.name for case in cases if case.valid == bool(agreement.errors_of("hl7-cases", case.sample))}
    assert sorted(wrong - set(known)) == []
    assert sorted(set(known) - wrong) == [], "right now: take them off known_failures.yaml"
