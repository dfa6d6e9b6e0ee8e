"""Search values as FHIR writes them. Sources: http://hl7.org/fhir/R4/search.html#escaping, http://hl7.org/fhir/R4/http.html#ccreate"""

from __future__ import annotations

import re
from urllib.parse import quote

_MARKS = re.compile(r"[\\,$|]")


def token(system: str, value: str) -> str:
    """A search value `system|value` in which no character of either is taken for a separator; not yet percent-encoded."""
    return f"{_escaped(system)}|{_escaped(value)}"


def condition(parameter: str, system: str, value: str) -> str:
    """The query of a conditional create, percent-encoded: no resource must have this token yet."""
    return f"{parameter}={quote(_escaped(system), safe=':/')}|{quote(_escaped(value), safe='')}"


def _escaped(text: str) -> str:
    return _MARKS.sub(r"\\\g<0>", text)
