"""What a converter may ask about the rest of the record: other items, the patient, the day of a named event."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from service.mapping import moments


@dataclass(slots=True, eq=False)
class Entry:
    """One item of the record on its way to or from its resource: `section` is where its row file takes it from.

    `step` leads to it from the item above: ("labs", 3), or ("course", -1) where it is no list.
    """

    section: str
    resource_type: str
    item: dict[str, Any]
    parent: Entry | None
    full_url: str
    step: tuple[str, int] = ("", -1)

    @property
    def pointer(self) -> str:
        """JSON Pointer of the item in the record."""
        if self.parent is None:
            return ""
        name, index = self.step
        return f"{self.parent.pointer}/{name}" + (f"/{index}" if index >= 0 else "")


@dataclass(slots=True)
class Scope:
    """The items of one record, by their ids; made anew for each conversion, so that an Engine is shared freely."""

    items_system: str
    items: dict[str, Entry] = field(default_factory=dict)
    by_url: dict[str, Entry] = field(default_factory=dict)
    patient_url: str = ""
    anchors: frozenset[str] = frozenset()
    _moments: dict[str, moments.Point | moments.Span] = field(default_factory=dict)
    _days: dict[str, str | None] = field(default_factory=dict)
    _hints: int = 20

    def patient(self) -> dict[str, Any]:
        return {"reference": self.patient_url}

    def refer(self, item: str, sections: Sequence[str]) -> dict[str, Any]:
        """The Reference to the item of that id. Raises ValueError where no item of these sections has it."""
        entry = self.items.get(item)
        if entry is None or entry.section not in sections:
            raise ValueError(f"no item of {', '.join(sections)} has this id{self._nearest(item, sections)}")
        return {"reference": entry.full_url}

    def item_at(self, reference: Mapping[str, Any], sections: Sequence[str]) -> str:
        """The id of the item that a Reference leads to. Raises ValueError where it leads to none of these sections."""
        entry = self.at(reference.get("reference"))
        if entry is None or entry.section not in sections or "id" not in entry.item:
            raise ValueError(f"the reference leads to no item of {', '.join(sections)} in this bundle")
        return str(entry.item["id"])

    def at(self, reference: Any) -> Entry | None:
        """The entry that a literal reference names, in whatever version: http://hl7.org/fhir/R4/references.html#literal"""
        return self.by_url.get(reference.partition("/_history/")[0]) if isinstance(reference, str) else None

    def moment(self, text: str) -> moments.Point | moments.Span:
        """The moment that a text writes, parsed once for the record: items share few moments. Raises ValueError."""
        found = self._moments.get(text)
        if found is None:
            found = self._moments[text] = moments.parse(text)
        return found

    def event(self, item: str) -> dict[str, Any]:
        """A logical Reference to a named event: servers rewrite literal ones everywhere but inside primitive extensions."""
        return {
            "type": self._anchor(item).resource_type,
            "identifier": {"system": self.items_system, "value": item},
        }

    def day_of(self, item: str) -> str | None:
        """The date of a named event as precisely as it is known, None where it has none. Raises ValueError for a circle.

        A chain of events, each told by the next, is walked to its end and resolved backwards: it may be long.
        """
        chain: dict[str, moments.Point | None] = {}
        event = item
        while event not in self._days:
            if event in chain:
                raise ValueError("the events name each other in a circle: give one of them a date")
            point = chain[event] = self._start(self._anchor(event))
            if point is None or not moments.rests_on_event(point):
                break
            event = point.event
        for name, point in reversed(chain.items()):
            self._days[name] = moments.computed_date(point, self._days.__getitem__) if point else None
        return self._days[item]

    def _start(self, entry: Entry) -> moments.Point | None:
        moment = self.moment(entry.item["when"])
        return moment.start if isinstance(moment, moments.Span) else moment

    def _anchor(self, item: str) -> Entry:
        entry = self.items.get(item)
        if entry is None or entry.section not in self.anchors or "when" not in entry.item:
            known = sorted(self.anchors)
            raise ValueError(f"no dated event has this id{self._nearest(item, known)}; events are items of {', '.join(known)}")
        return entry

    def _nearest(self, item: str, sections: Sequence[str]) -> str:
        """A hint by place, for an id is the case's own and is not repeated; only for the first few, for each is dear."""
        if not self._hints or len(item) > 200:
            return ""
        self._hints -= 1
        known = [name for name, entry in self.items.items() if entry.section in sections]
        near = difflib.get_close_matches(item, known, n=1)
        return f"; did you mean the id at {self.items[near[0]].pointer}/id?" if near else ""
