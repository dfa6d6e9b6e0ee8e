"""Questionnaires: conditions refer to other items of the form.

Source: http://hl7.org/fhir/R4/questionnaire-definitions.html#Questionnaire.item.enableWhen.question
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from service.validate.place import Place, objects
from service.validate.run import Run

Item = tuple[Place, dict[str, Any]]


def questionnaire(run: Run, resource: dict[str, Any], at: Place) -> None:
    """Each enableWhen names an item of the questionnaire, and neither its own nor one within it."""
    items = list(_items(resource, at))
    known = {link for _place, item in items if isinstance(link := item.get("linkId"), str)}
    for place, item in items:
        for here, condition in objects(item, "enableWhen", place):
            asked = condition.get("question")
            if not isinstance(asked, str):
                continue
            if asked not in known:
                run.add((here, "question", None), "val-questionnaire", "No item of the questionnaire has this linkId.")
            elif asked in {item.get("linkId")} | {inner.get("linkId") for _place, inner in _items(item, place)}:
                text = "An item cannot depend on the answer to itself, or to what lies within it."
                run.add((here, "question", None), "val-questionnaire", text)


def _items(value: dict[str, Any], at: Place) -> Iterator[Item]:
    """All items below a questionnaire or an item."""
    for place, item in objects(value, "item", at):
        yield place, item
        yield from _items(item, place)
