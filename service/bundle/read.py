"""Resources out of a Bundle of any type that holds them, each with its fullUrl and its place."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from service.issues import Issue

# resource, its fullUrl, its expression, and the other names by which references may call it
Read = tuple[dict[str, Any], str, str, tuple[str, ...]]

# Bundles that hold what is; a history also holds what was, a message what somebody wants.
TYPES = ("collection", "transaction", "batch", "searchset", "document")
_BUNDLE_KEYS = frozenset(["resourceType", "id", "meta", "identifier", "type", "timestamp", "total", "link", "entry"])
_ENTRY_KEYS = frozenset(["fullUrl", "resource", "request", "response", "search", "link", "id"])


def read_bundle(bundle: Any) -> tuple[list[Read], list[Issue]]:
    """Each entry's resource with its names and its place; and what is no Bundle of facts, or no entry of one.

    References name the fullUrl first, then Type/id where the fullUrl ends so: http://hl7.org/fhir/R4/bundle.html#references.
    What may change the meaning of an entry (a DELETE, a modifier, implicit rules) is an issue: it is never overlooked.
    """
    if not isinstance(bundle, dict) or bundle.get("resourceType") != "Bundle":
        text, fix = "expected a FHIR Bundle: an object with resourceType 'Bundle'", "send the Bundle that holds the case"
        return [], [_issue("structure", "bundle-expected", text, fix, "$this")]
    entries = bundle.get("entry", [])
    if not isinstance(entries, list) or not entries:
        return [], [_issue("required", "bundle-empty", "the Bundle has no entries", "send resources", "Bundle.entry")]
    found: list[Read] = []
    issues = list(_bundle_issues(bundle))
    for index, entry in enumerate(entries):
        resource = entry.get("resource") if isinstance(entry, dict) else None
        if isinstance(resource, dict) and isinstance(resource.get("resourceType"), str):
            found.append((resource, *_names(entry, resource, f"Bundle.entry[{index}].resource")))
            if not entry.keys() <= _ENTRY_KEYS or "request" in entry:
                issues += _entry_issues(entry, f"Bundle.entry[{index}]")
        else:
            text = "this entry holds no resource"
            issues.append(_issue("structure", "bundle-entry", text, "remove the entry", f"Bundle.entry[{index}].resource"))
    return found, [*issues, *_repeated(found)]


def _bundle_issues(bundle: dict[str, Any]) -> Iterator[Issue]:
    if bundle.get("type") not in TYPES:
        fix = f"send a Bundle of type {', '.join(TYPES)}"
        yield _issue("not-supported", "bundle-type", "this type of Bundle does not say what is the case", fix, "Bundle.type")
    for name in sorted(bundle.keys() - _BUNDLE_KEYS):
        yield _unread(f"Bundle.{name}" if name.isidentifier() else "Bundle")


def _entry_issues(entry: dict[str, Any], expression: str) -> Iterator[Issue]:
    request = entry.get("request", {})
    if not isinstance(request, dict) or request.get("method", "POST") not in ("POST", "PUT"):
        text = "this entry asks for something else than to create or update its resource"
        yield _issue("not-supported", "bundle-request", text, "take the entry out", f"{expression}.request.method")
    for name in sorted(entry.keys() - _ENTRY_KEYS):
        yield _unread(f"{expression}.{name}" if name.isidentifier() else expression)


def _unread(expression: str) -> Issue:
    text = "this is not read, and could change what the resources mean"
    return _issue("not-supported", "bundle-unmapped-element", text, "remove it, if it may be", expression)


def _issue(code: str, rule: str, text: str, fix: str, expression: str) -> Issue:
    return Issue("error", code, rule, text, fix=fix, expression=expression)


def _names(entry: dict[str, Any], resource: dict[str, Any], expression: str) -> tuple[str, str, tuple[str, ...]]:
    full_url, name = entry.get("fullUrl"), resource.get("id")
    local = f"{resource['resourceType']}/{name}" if isinstance(name, str) else ""
    if not isinstance(full_url, str):
        return local, expression, ()
    return full_url, expression, (local,) if local and full_url.endswith("/" + local) else ()


def _repeated(found: list[Read]) -> Iterator[Issue]:
    seen: set[str] = set()
    for _resource, url, expression, _names in found:
        if url in seen:
            text = "two entries have this fullUrl (or none): references could not tell them apart"
            yield _issue("duplicate", "bundle-full-url", text, "give each entry its own fullUrl", expression)
        seen.add(url)
