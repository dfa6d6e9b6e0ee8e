"""Single-fault mutants of valid resources: we find what both foreign judges find, and raise no alarm where both are silent."""

from __future__ import annotations

import pytest

from tests.support import agreement, mutants, verdicts
from tests.support.registry import needs

pytestmark = pytest.mark.network


@pytest.mark.parametrize("name", mutants.BASE_CLASSES)
def test_we_find_what_both_judges_find(name: str) -> None:
    found = needs(lambda: list(agreement.outcomes("mutants", f"{name}/")))
    assert found
    assert not (complaint := agreement.complaint("mutants", found)), f"\n{complaint}"


def test_every_known_failure_is_a_sample() -> None:
    """One that was renamed away would never be run again."""
    for corpus in verdicts.corpora():
        assert set(agreement.known_failures(corpus)) <= set(verdicts.read(corpus)), corpus


def test_every_decision_is_about_something() -> None:
    names = {name for corpus in verdicts.corpora() for name in verdicts.read(corpus)}
    assert set(agreement.decisions()) <= names | set(mutants.CLASSES)
