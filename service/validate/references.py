"""References: their form, where they lead within the resource and its Bundle, and whether that is what the element allows.

Sources: http://hl7.org/fhir/R4/references.html and http://hl7.org/fhir/R4/bundle.html#references
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from service.fhir.definitions import CORE, load
from service.fhir.json import Json
from service.validate.place import Place, objects
from service.validate.run import Rule, Run, Scope

if TYPE_CHECKING:
    from service.validate.rulebook import Rulebook
    from service.validate.rules import Element

ANY: Final = CORE + "Resource"
# [type]/[id], with a version or without, after whatever base: http://hl7.org/fhir/R4/references.html#literal
RESTFUL: Final = re.compile(r"(?:(.*)/)?([A-Z][A-Za-z]{1,63})/([A-Za-z0-9.-]{1,64})(?:/_history/([A-Za-z0-9.-]{1,64}))?")
CONDITIONAL: Final = re.compile(r"([A-Z][A-Za-z]{1,63})\?[^?]+")
BLANK: Final = re.compile(r"\s")
ABSOLUTE: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


def reference(run: Run, value: dict[str, Any], at: Place) -> None:
    """A Reference by itself: its form, and whether it leads anywhere within what is at hand."""
    literal = value.get("reference")
    if not isinstance(literal, str) or not literal:
        return
    place = (at, "reference", None)
    if literal.startswith("#"):
        run.scope.root.caches.setdefault("referred", set()).add(literal)
    found = _destinations(run, literal)
    if len(found) == 1 and "type" not in value and literal != "#":
        return  # what leads to just one resource is as it should be
    if BLANK.search(literal):
        run.add(place, "val-reference", "A reference holds no blanks.")
        return
    _leads(run, literal, place, found)
    stated = value.get("type")
    if isinstance(stated, str) and run.book.is_resource(stated):
        type_ = type_of(run, literal)
        if type_ and stated != type_:
            run.add((at, "type", None), "val-reference-type", f"The type says one thing, the reference leads to {type_}.")


def _leads(run: Run, literal: str, place: Place, found: list[Scope]) -> None:
    """Whether a reference leads where its form says that it should."""
    if literal == "#":
        if run.scope.container is None:
            run.add(place, "val-reference-contained", "Only a contained resource refers so to the one that contains it.")
    elif literal.startswith("#"):
        if not found:
            run.add(place, "val-reference-contained", "The resource contains nothing with this id.")
    elif ABSOLUTE.match(literal):
        if literal.startswith(("urn:uuid:", "urn:oid:")) and in_bundle(run.scope) and not found:
            run.add(place, "val-reference-bundle", "No entry of the Bundle has this fullUrl.")
    else:
        _relative(run, literal, place)
    if len(found) > 1 and _current(run.scope):
        run.add(place, "val-reference-bundle", "Several entries of the Bundle have this fullUrl: name the version.")


def _current(scope: Scope) -> bool:
    """Whether the Bundle shows one state of things, and not how they came about."""
    bundle = scope.root.bundle
    return bundle is not None and bundle.resource.get("type") != "history"


def _relative(run: Run, literal: str, place: Place) -> None:
    match = RESTFUL.fullmatch(literal)
    if match and match[1] is None and run.book.is_resource(match[2]):
        return
    bundle = run.scope.root.bundle
    condition = CONDITIONAL.fullmatch(literal)
    if condition and run.book.is_resource(condition[1]):
        if bundle is not None and bundle.resource.get("type") not in ("transaction", "batch"):
            run.add(place, "val-reference", "A conditional reference stands only in a transaction or batch.")
    else:
        # Others may know other types and deeper paths: the form is odd, and no rule forbids it. What is not even pairs of
        # a name and an id can be resolved nowhere in a Bundle: http://hl7.org/fhir/R4/bundle.html#references
        is_lost = bundle is not None and literal.count("/") not in (1, 3)
        text = "A relative reference has the form [type]/[id], its type one of FHIR R4."
        run.add(place, "val-reference", text, severity="error" if is_lost else "warning")


def target(element: Element, book: Rulebook) -> Rule | None:
    """The rule that a Reference leads to a type that is allowed, or to a resource that meets a profile that is allowed."""
    type_ = element.type
    if type_ is None or element.code != "Reference" or not type_.target_profile:
        return None
    if ANY in type_.target_profile:
        return _any_target
    profiles = type_.target_profile
    types = {book.type_of_profile(each) for each in profiles}
    if None in types or "Resource" in types:
        return None
    allowed = frozenset(each for each in types if each)
    special = all(not each.startswith(CORE) or each[len(CORE) :] not in allowed for each in profiles)

    def rule(run: Run, value: Json, at: Place) -> None:
        literal = value.get("reference") if isinstance(value, dict) else None
        stated = value.get("type") if isinstance(value, dict) else None
        found = (type_of(run, literal) or _type_in(literal)) if isinstance(literal, str) else None
        if found and found not in allowed:
            text = f"The reference leads to {found}; allowed are {', '.join(sorted(allowed))}."
            run.add(at, "val-reference-target", text)
        elif isinstance(stated, str) and stated.removeprefix(CORE) not in allowed:
            text = f"The type of the reference is none of those allowed: {', '.join(sorted(allowed))}."
            # Without a reference the type is a hint of what a display or an identifier stands for.
            run.add((at, "type", None), "val-reference-target", text, severity=None if literal else "warning")
        elif special and isinstance(literal, str) and (scope := resolve(run, literal)):
            run.book.refers_to_one_of(run, scope, profiles, at)

    return rule


def _any_target(run: Run, value: Json, at: Place) -> None:
    """The rule of an element that may refer to any resource: to a resource at least."""
    literal = value.get("reference") if isinstance(value, dict) else None
    named = load().type(_type_in(literal) or "") if isinstance(literal, str) else None
    if named is not None and named.kind != "resource":
        run.add(at, "val-reference-target", "The reference leads to a type of data, and to no resource.")


def type_of(run: Run, literal: str) -> str | None:
    """The type of the resource that a reference leads to: as it was found, or else as the reference itself tells."""
    scope = resolve(run, literal)
    if scope is not None:
        found = scope.resource.get("resourceType")
        return found if isinstance(found, str) and run.book.is_resource(found) else None
    match = RESTFUL.fullmatch(literal)
    return match[2] if match and run.book.is_resource(match[2]) else None


def _type_in(literal: str) -> str | None:
    """The type that stands where a reference names that of its resource: a data type, say, which no reference can lead to."""
    match = RESTFUL.fullmatch(literal)
    return match[2] if match and load().type(match[2]) is not None else None


def resolve(run: Run, literal: str) -> Scope | None:
    """The resource that a reference leads to within the resource and its Bundle; None where it leads out of them."""
    found = _destinations(run, literal)
    return found[0] if found else None


def _destinations(run: Run, literal: str) -> list[Scope]:
    """All resources that a reference leads to: one, unless a Bundle has several versions of it."""
    led: dict[str, list[Scope]] = run.scope.caches.setdefault("led", {})
    if literal not in led:
        led[literal] = _led_to(run.scope, literal)
    return led[literal]


def _led_to(scope: Scope, literal: str) -> list[Scope]:
    root = scope.root
    if literal.startswith("#") and scope.resource.get("resourceType") == "Bundle":
        return [found[literal[1:]] for found in _contained_in(scope) if literal[1:] in found]
    if literal.startswith("#"):
        found = root if literal == "#" else contained_of(root).get(literal[1:])
        return [found] if found else []
    if scope.resource.get("resourceType") == "Bundle":
        return _by_end(scope, literal)
    absolute = literal if ABSOLUTE.match(literal) else _absolute(literal, root.full_url)
    bundle = root.bundle
    while bundle is not None and absolute is not None:
        if entries := _find(entries_of(bundle), absolute):
            return entries
        bundle = bundle.bundle
    return []


def in_bundle(scope: Scope) -> bool:
    return scope.root.bundle is not None


def _absolute(literal: str, full_url: str | None) -> str | None:
    """A relative reference on the base of the entry that it stands in; None where that has no RESTful fullUrl."""
    match = RESTFUL.fullmatch(full_url) if full_url else None
    return f"{match[1]}/{literal}" if match and match[1] else None


def _by_end(bundle: Scope, literal: str) -> list[Scope]:
    """What a reference leads to, seen from the Bundle: which entry it stood in, and so its base, is not known."""
    entries = entries_of(bundle)
    if literal in entries or ABSOLUTE.match(literal):
        return entries.get(literal, [])
    if "ends" not in bundle.caches:
        ends: dict[str, list[Scope]] = {}
        for full_url, scopes in entries.items():
            if match := RESTFUL.fullmatch(full_url):
                ends.setdefault(f"{match[2]}/{match[3]}", []).extend(scopes)
        bundle.caches["ends"] = ends
    found: list[Scope] = bundle.caches["ends"].get(literal, [])
    return found


def _find(entries: dict[str, list[Scope]], absolute: str) -> list[Scope]:
    found = entries.get(absolute)
    if found is None:
        plain, _, version = absolute.partition("/_history/")
        found = [each for each in entries.get(plain, ()) if not version or _version(each) in (version, None)]
    return found


def _version(scope: Scope) -> Json:
    meta = scope.resource.get("meta")
    return meta.get("versionId") if isinstance(meta, dict) else None


def entries_of(bundle: Scope) -> dict[str, list[Scope]]:
    """fullUrl → the resources under it, in a Bundle."""
    if "entries" not in bundle.caches:
        found: dict[str, list[Scope]] = {}
        for full_url, scope in _entries(bundle):
            found.setdefault(full_url, []).append(scope)
        bundle.caches["entries"] = found
    entries: dict[str, list[Scope]] = bundle.caches["entries"]
    return entries


def _entries(bundle: Scope) -> Iterator[tuple[str, Scope]]:
    for place, entry in objects(bundle.resource, "entry", bundle.at):
        full_url, resource = entry.get("fullUrl"), entry.get("resource")
        if isinstance(full_url, str) and isinstance(resource, dict):
            yield full_url, Scope(resource, (place, "resource", None), bundle=bundle, full_url=full_url)


def _contained_in(bundle: Scope) -> Iterator[dict[str, Scope]]:
    """What the resources of a Bundle contain: seen from the Bundle, it is not known which of them a reference stood in."""
    for _full_url, entry in _entries(bundle):
        yield contained_of(entry)


def contained_of(root: Scope) -> dict[str, Scope]:
    """id → the resource that a resource contains under it."""
    if "contained" not in root.caches:
        found: dict[str, Scope] = {}
        for place, each in objects(root.resource, "contained", root.at):
            if isinstance(each.get("id"), str):
                found.setdefault(each["id"], Scope(each, place, container=root, bundle=root.bundle, full_url=root.full_url))
        root.caches["contained"] = found
    contained: dict[str, Scope] = root.caches["contained"]
    return contained
