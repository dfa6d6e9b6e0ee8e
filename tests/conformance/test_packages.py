"""mCODE's and Genomics Reporting's own examples, and mutants of mCODE's, under their profiles."""

from __future__ import annotations

import pytest

from tests.support import agreement, mutants
from tests.support.registry import needs

pytestmark = pytest.mark.network


@pytest.mark.parametrize("corpus", ["mcode-examples", "genomics-examples"])
def test_we_say_of_examples_what_both_judges_say(corpus: str) -> None:
    found = needs(lambda: list(agreement.outcomes(corpus)))
    assert found
    assert not (complaint := agreement.complaint(corpus, found)), f"\n{complaint}"


@pytest.mark.parametrize("name", mutants.MCODE_CLASSES)
def test_we_find_what_breaks_a_profile(name: str) -> None:
    found = needs(lambda: list(agreement.outcomes("mcode-mutants", f"{name}/")))
    assert found
    assert not (complaint := agreement.complaint("mcode-mutants", found)), f"\n{complaint}"
