"""Resources out of a Bundle of any type that holds them, each with its fullUrl and its place."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from service.issues import Issue

Read = tuple[dict[str, Any], str, str]


def read_bundle(bundle: Any) -> tuple[list[Read], list[Issue]]:
    """(resource, the URL that references use for it, its expression) of each entry, and what is no Bundle entry.

    In a bundle of new resources references name the fullUrl; in one that a server answered they name Type/id, so a resource
    with an id is known by that: http://hl7.org/fhir/R4/bundle.html#references.
    """
    if not isinstance(bundle, dict) or bundle.get("resourceType") != "Bundle":
        text, fix = "expected a FHIR Bundle: an object with resourceType 'Bundle'", "send the Bundle that holds the case"
        return [], [Issue("error", "structure", "bundle-expected", text, fix=fix, expression="$this")]
    entries = bundle.get("entry", [])
    if not isinstance(entries, list) or not entries:
        text = "the Bundle has no entries"
        return [], [
            Issue("error", "required", "bundle-empty", text, fix="send a Bundle with resources", expression="Bundle.entry")
        ]
    found: list[Read] = []
    issues: list[Issue] = []
    for index, entry in enumerate(entries):
        expression = f"Bundle.entry[{index}].resource"
        resource = entry.get("resource") if isinstance(entry, dict) else None
        if isinstance(resource, dict) and isinstance(resource.get("resourceType"), str):
            found.append((resource, _url(entry, resource), expression))
        else:
            text = "this entry holds no resource"
            issues.append(Issue("error", "structure", "bundle-entry", text, fix="remove the entry", expression=expression))
    return found, [*issues, *_repeated(found)]


def _url(entry: dict[str, Any], resource: dict[str, Any]) -> str:
    full_url = entry.get("fullUrl")
    if isinstance(full_url, str) and full_url.startswith("urn:"):
        return full_url
    if isinstance(resource.get("id"), str):
        return f"{resource['resourceType']}/{resource['id']}"
    return full_url if isinstance(full_url, str) else ""


def _repeated(found: list[Read]) -> Iterator[Issue]:
    seen: set[str] = set()
    for _resource, url, expression in found:
        if url in seen:
            text = "two entries have this fullUrl (or none): references could not tell them apart"
            yield Issue(
                "error", "duplicate", "bundle-full-url", text, fix="give each entry its own fullUrl", expression=expression
            )
        seen.add(url)
