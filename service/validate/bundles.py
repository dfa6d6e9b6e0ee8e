"""Bundles: what each type of Bundle asks of its entries beyond the invariants. Source: http://hl7.org/fhir/R4/bundle.html"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from service.validate.place import Place, objects
from service.validate.references import ABSOLUTE, RESTFUL, entries_of, resolve
from service.validate.run import Run, scope_of

# Entries of these need no fullUrl: a server may give the identity, or has given it in the response.
WITHOUT_FULL_URL: Final = ("transaction", "batch", "transaction-response", "batch-response")
FIRST: Final = {"document": "Composition", "message": "MessageHeader"}
ONCE: Final = ("self", "first", "previous", "prev", "next", "last")

# Entries of these may refer to each other, and are resolved by what their fullUrl says.
REQUESTS: Final = ("transaction", "batch")
SECTION: Final[dict[str, Any]] = {"author": None, "focus": None, "entry": None, "section": {}}
# What a message is about travels with it: http://hl7.org/fhir/R4/messageheader-definitions.html#MessageHeader.focus
IN_MESSAGE: Final[dict[str, Any]] = {"focus": None}
IN_DOCUMENT: Final[dict[str, Any]] = {
    "subject": None,
    "encounter": None,
    "author": None,
    "attester": {"party": None},
    "custodian": None,
    "event": {"detail": None},
    "section": SECTION,
}

Entry = tuple[Place, dict[str, Any]]


def bundle(run: Run, resource: dict[str, Any], at: Place) -> None:
    """All rules of Bundles on one."""
    type_ = resource.get("type")
    entries = list(objects(resource, "entry", at))
    _first(run, type_, entries, at)
    seen: set[tuple[str, object]] = set()
    for place, entry in entries:
        _full_url(run, type_, entry, place)
        if type_ != "history":
            _unique(run, entry, place, seen)
    if type_ == "document" and entries:
        _complete(run, *entries[0], IN_DOCUMENT)
        _connected(run, entries)
    if type_ == "message" and entries:
        _complete(run, *entries[0], IN_MESSAGE)
    if type_ == "searchset":
        _search(run, resource, entries, at)


def _first(run: Run, type_: object, entries: list[Entry], at: Place) -> None:
    """A document begins with its Composition, a message with its MessageHeader."""
    wanted = FIRST.get(type_) if isinstance(type_, str) else None
    if wanted is None:
        return
    if not entries:
        run.add(at, "val-bundle-first", f"A {type_} has at least one entry, a {wanted}.")
        return
    place, entry = entries[0]
    resource = entry.get("resource")
    if not isinstance(resource, dict) or resource.get("resourceType") != wanted:
        run.add(place, "val-bundle-first", f"The first entry of a {type_} is a {wanted}.")


def _full_url(run: Run, type_: object, entry: dict[str, Any], place: Place) -> None:
    """The fullUrl of an entry: there, absolute, and in agreement with the id of the resource."""
    full_url, resource = entry.get("fullUrl"), entry.get("resource")
    if full_url is None:
        if type_ not in WITHOUT_FULL_URL and "_fullUrl" not in entry:
            run.add(place, "val-bundle-full-url", "The entry has no fullUrl.")
        elif type_ in REQUESTS and isinstance(resource, dict) and any(_leads_out(*each) for each in _strings(resource)):
            # What a reference means depends on the fullUrl of its entry: http://hl7.org/fhir/R4/bundle.html#references
            run.add(place, "val-bundle-full-url", "An entry whose resource refers to others must have a fullUrl.")
        return
    if not isinstance(full_url, str):
        return
    if not ABSOLUTE.match(full_url):
        run.add((place, "fullUrl", None), "val-bundle-full-url", "A fullUrl is absolute.")
        return
    match = RESTFUL.fullmatch(full_url)
    if not isinstance(resource, dict) or match is None or not run.book.is_resource(match[2]):
        return
    id_, name = resource.get("id"), resource.get("resourceType")
    if id_ is None and type_ not in WITHOUT_FULL_URL:
        run.add(place, "val-bundle-full-url", "The fullUrl looks like one of a server's, and the resource has no id.")
    elif id_ is not None and (id_ != match[3] or name != match[2]):
        run.add((place, "fullUrl", None), "val-bundle-full-url", "The fullUrl must end with the type and id of the resource.")


def _unique(run: Run, entry: dict[str, Any], place: Place, seen: set[tuple[str, object]]) -> None:
    """bdl-7: no two entries have the same fullUrl and version."""
    full_url, resource = entry.get("fullUrl"), entry.get("resource")
    if not isinstance(full_url, str):
        return
    meta = resource.get("meta") if isinstance(resource, dict) else None
    version = meta.get("versionId") if isinstance(meta, dict) else None
    key = (full_url, version if isinstance(version, str) else None)
    if key in seen:
        run.add((place, "fullUrl", None), "val-bundle-duplicate", "Another entry has this fullUrl and version (bdl-7).")
    seen.add(key)


def _complete(run: Run, place: Place, entry: dict[str, Any], paths: dict[str, Any]) -> None:
    """What the first entry refers to at these paths is in the Bundle: http://hl7.org/fhir/R4/documents.html#content"""
    first = entry.get("resource")
    if not isinstance(first, dict):
        return
    with run.inside(scope_of(run.scope, first, (place, "resource", None))):
        for at, literal in _referred((place, "resource", None), first, paths):
            if not literal.startswith("#") and resolve(run, literal) is None:
                run.add(at, "val-reference-bundle", "What the first entry refers to must be in the Bundle.")


def _connected(run: Run, entries: list[Entry]) -> None:
    """A document holds its Composition and what that leads to, by references from either side.

    Source: http://hl7.org/fhir/R4/documents.html#content
    """
    linked: dict[int, set[int]] = {index: set() for index in range(len(entries))}
    where = {id(entry.get("resource")): index for index, (_place, entry) in enumerate(entries)}
    for index, (place, entry) in enumerate(entries):
        for other in _leads_to(run, place, entry):
            if (found := where.get(id(other))) is not None:
                linked[index].add(found)
                linked[found].add(index)
    reached, waiting = {0}, [0]
    while waiting:
        waiting += (new := linked[waiting.pop()] - reached)
        reached |= new
    for index in sorted(linked.keys() - reached):
        run.add(entries[index][0], "val-bundle-first", "No reference connects this entry with the Composition.")


def _leads_to(run: Run, place: Place, entry: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The resources of the Bundle that the resource of an entry names, by a reference or by their fullUrl."""
    resource = entry.get("resource")
    if not isinstance(resource, dict):
        return
    full_urls = entries_of(run.scope)
    with run.inside(scope_of(run.scope, resource, (place, "resource", None))):
        for name, text in _strings(resource):
            if (_leads_out(name, text) or text in full_urls) and (found := resolve(run, text)):
                yield found.resource


def _leads_out(name: str, text: str) -> bool:
    """Whether a string is a reference that leads out of its resource."""
    return name == "reference" and not text.startswith("#")


def _strings(value: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(member name, string) of all strings anywhere within a value."""
    stack: list[tuple[str, Any]] = [("", value)]
    while stack:
        name, each = stack.pop()
        if isinstance(each, dict):
            stack += each.items()
        elif isinstance(each, list):
            stack += [(name, item) for item in each]
        elif isinstance(each, str):
            yield name, each


def _referred(at: Place, value: Any, paths: dict[str, Any]) -> Iterator[tuple[Place, str]]:
    """The references at some paths, each with its place."""
    for name, below in paths.items():
        items = value.get(name) if isinstance(value, dict) else None
        if items is None:
            continue
        for index, each in enumerate(items if isinstance(items, list) else [items]):
            place = (at, name, index if isinstance(items, list) else None)
            if below is None and isinstance(each, dict) and isinstance(each.get("reference"), str):
                yield (place, "reference", None), each["reference"]
            elif below is not None:
                yield from _referred(place, each, SECTION if name == "section" else below)


def _search(run: Run, resource: dict[str, Any], entries: list[Entry], at: Place) -> None:
    """A search set says what was searched for, each link once; its results are resources with ids."""
    links = [each for _place, each in objects(resource, "link", at)]
    relations = [each.get("relation") for each in links]
    if "self" not in relations:
        run.add(at, "val-bundle-search", "A search set should have a self link.")
    for relation in ONCE:
        if relations.count(relation) > 1:
            run.add(at, "val-bundle-link", f"The link {relation} stands more than once.")
    searched = _searched(run, links)
    for place, entry in entries:
        found = entry.get("resource")
        if not isinstance(found, dict):
            run.add(place, "val-bundle-search", "An entry of a search set has a resource.", severity="error")
            continue
        search = entry.get("search")
        mode = search.get("mode") if isinstance(search, dict) else None
        is_outcome = found.get("resourceType") == "OperationOutcome"
        if mode == "outcome" and not is_outcome:
            run.add(place, "val-bundle-search", "An entry of mode outcome is an OperationOutcome.", severity="error")
        elif mode == "match" and not is_outcome and searched not in (None, found.get("resourceType")):
            run.add(place, "val-bundle-search", f"What matches a search for {searched} is of that type.", severity="error")
        elif mode == "match" and "id" not in found:
            run.add(place, "val-bundle-search", "A result of a search must have an id.", severity="error")
        elif "id" not in found and not is_outcome:
            run.add(place, "val-bundle-search", "A resource that a search gives should have an id.")


def _searched(run: Run, links: list[dict[str, Any]]) -> str | None:
    """The type that was searched for, where the self link tells it: [base]/[type]?[parameters].

    Source: http://hl7.org/fhir/R4/http.html#search
    """
    urls = [each.get("url") for each in links if each.get("relation") == "self"]
    path = urls[0].partition("?")[0] if urls and isinstance(urls[0], str) else ""
    last = path.rpartition("/")[2]
    return last if run.book.is_resource(last) else None
