"""Contained resources: each has an id of its own and is referred to. Source: http://hl7.org/fhir/R4/references.html#contained"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from service.fhir.json import Json
from service.validate.place import Place
from service.validate.run import Run

LINK: Final = re.compile(r"""href=["'](#[^"']*)["']""")
DOM_3 = "Nothing in the resource refers to this contained resource, nor does that refer to its container (dom-3)."


def contained(run: Run, resource: dict[str, Any], at: Place) -> None:
    """The ids of contained resources, and dom-3: each is referred to, or refers to its container."""
    items = resource.get("contained")
    if not isinstance(items, list):
        return
    seen: set[str] = set()
    # What References referred to was noted on the walk. Only where that is not all, a search tells what else may refer.
    referred: set[str] = run.scope.caches.get("referred", set())
    if not {"#" + str(each.get("id")) for each in items if isinstance(each, dict)} <= referred:
        referred = set(_fragments(resource))
    for index, each in enumerate(items):
        if not isinstance(each, dict):
            continue
        place, id_ = (at, "contained", index), each.get("id")
        if not isinstance(id_, str):
            run.add(place, "val-contained", "A contained resource must have an id.")
        elif id_ in seen:
            run.add((place, "id", None), "val-contained", "Another contained resource has this id.")
        elif "#" + id_ not in referred and "#" not in _fragments(each):
            run.add(place, "dom-3", DOM_3)
        seen.add(id_ if isinstance(id_, str) else "")


def _fragments(value: Json) -> Iterator[str]:
    """All strings under a value that may refer to a contained resource: they begin with #, or a narrative has them as links."""
    stack = [value]
    while stack:
        each = stack.pop()
        if isinstance(each, dict):
            stack += each.values()
        elif isinstance(each, list):
            stack += each
        elif isinstance(each, str) and each.startswith("#"):
            yield each
        elif isinstance(each, str) and each.startswith("<div"):
            yield from LINK.findall(each)
