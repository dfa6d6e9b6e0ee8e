"""Narrative: http://hl7.org/fhir/R4/narrative.html; the XHTML by itself is looked at in test_xhtml.py."""

from __future__ import annotations

import pytest

from tests.support.definitions import OBSERVATION, PATIENT, core, found


def text(content: str) -> dict[str, object]:
    return {"text": {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{content}</div>'}}


DIV = ("val-xhtml", "Patient.text.div")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("<p>well</p>", []),
        ("<p>not<b> well", [DIV]),
        ("<script>1</script>", [DIV]),  # txt-1
        ("  ", [DIV]),  # txt-2
        ('<a href="#here">a</a><p id="here">b</p>', []),
        ('<a href="#here">a</a><a name="here">b</a>', []),
        ('<a href="#there">a</a>', [DIV]),
        ('<a href="#">a</a>', []),
        ('<a href="http://example.org/#there">a</a>', []),
    ],
)
def test_the_narrative_of_a_resource(content: str, expected: list[tuple[str, str]]) -> None:
    assert found(PATIENT | text(content)) == expected


def test_a_link_may_lead_to_a_contained_resource() -> None:
    inside = {"contained": [PATIENT | {"id": "p"}], "subject": {"reference": "#p"}}
    assert found(OBSERVATION | inside | text('<a href="#p">a</a>')) == []


def test_nothing_of_it_is_quoted() -> None:
    resource = b'{"resourceType": "Patient", "text": {"status": "generated", "div": "<div><Miller/>"}}'
    assert all("Miller" not in f"{issue.text}{issue.fix}" for issue in core().validate(resource))
