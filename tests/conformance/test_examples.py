"""Official examples and definitions of R4, and made-up patients: we say what both foreign judges say."""

from __future__ import annotations

import pytest

from tests.support import agreement
from tests.support.registry import needs

pytestmark = pytest.mark.network


@pytest.mark.parametrize("corpus", ["r4-examples", "r4-definitions", "made", "synthea"])
def test_we_say_what_both_judges_say(corpus: str) -> None:
    found = needs(lambda: list(agreement.outcomes(corpus)))
    assert found
    assert not (complaint := agreement.complaint(corpus, found)), f"\n{complaint}"
