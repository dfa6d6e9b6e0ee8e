"""Narrative: the XHTML of a text, by the rules that FHIR gives it. Source: http://hl7.org/fhir/R4/narrative.html"""

from __future__ import annotations

from typing import Any

from service.validate.place import Place
from service.validate.references import contained_of
from service.validate.run import Run
from service.validate.xhtml import problems, read


def narrative(run: Run, value: dict[str, Any], at: Place) -> None:
    """txt-1 and txt-2: the div has only what a narrative may have, and something to read."""
    div = value.get("div")
    if isinstance(div, str):
        for problem in problems(div):
            run.add((at, "div", None), "val-xhtml", problem[0].upper() + problem[1:] + ".")


def links(run: Run, resource: dict[str, Any], at: Place) -> None:
    """A link within the narrative of a resource leads to a place in it, or to a contained resource."""
    text = resource.get("text")
    div = text.get("div") if isinstance(text, dict) else None
    if not isinstance(div, str) or "#" not in div:
        return
    content = read(div)
    if content.links - content.names - contained_of(run.scope.root).keys() - {""}:
        run.add(((at, "text", None), "div", None), "val-xhtml", "A link of the narrative leads to no place in it.")
