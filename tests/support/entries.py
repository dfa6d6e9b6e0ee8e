"""Resources of a few lines, the entries that write and read them, and what a FhirServer answers to these."""

from __future__ import annotations

import uuid
from typing import Any, Final

import pytest

from service.errors import ServerRefused
from service.fhir.search import condition
from service.sync import pages
from service.sync.server import FhirServer, Resource

# Values of identifiers with every character that a search, a condition or a URL could take for something else.
ODD: Final = [
    "plain",
    "comma,comma",
    "pipe|pipe",
    "dollar$dollar",
    "back\\slash",
    "ends in backslash\\",
    "Änne Müller",
    "two  blanks",
    "a&b=c",
    "1+1",
    "100%25",
    "semi;colon#hash?",
    "\\,$|&+ ü",
]


def patient(system: str, value: str = "p", **more: Any) -> Resource:
    return {"resourceType": "Patient", "identifier": [{"system": system, "value": value}], **more}


def observation(system: str, subject: str, value: str = "o", **more: Any) -> Resource:
    plain = {"status": "final", "code": {"text": "a finding"}, "subject": {"reference": subject}}
    return {"resourceType": "Observation", "identifier": [{"system": system, "value": value}], **plain, **more}


def urn() -> str:
    return f"urn:uuid:{uuid.uuid4()}"


def create(resource: Resource, full_url: str = "", **request: str) -> Resource:
    return _entry("POST", resource["resourceType"], resource, full_url, request)


def create_once(resource: Resource, full_url: str = "") -> Resource:
    """A conditional create, by the resource's own identifier."""
    one = resource["identifier"][0]
    return create(resource, full_url, ifNoneExist=condition("identifier", one["system"], one["value"]))


def put(resource: Resource, **request: str) -> Resource:
    return _entry("PUT", f"{resource['resourceType']}/{resource['id']}", resource, "", request)


def delete(resource: Resource) -> Resource:
    return _entry("DELETE", place(resource), None, "", {})


def get(url: str) -> Resource:
    return _entry("GET", url, None, "", {})


def _entry(method: str, url: str, resource: Resource | None, full_url: str, request: dict[str, str]) -> Resource:
    entry: Resource = {"fullUrl": full_url or urn()} if method == "POST" else {}
    return {**entry, **({"resource": resource} if resource else {}), "request": {"method": method, "url": url, **request}}


def place(resource: Resource) -> str:
    return f"{resource['resourceType']}/{resource['id']}"


def version(resource: Resource) -> str:
    return str(resource["meta"]["versionId"])


def said(resource: Resource | None) -> Resource:
    """A resource without the request's id at the end of meta.source: HAPI answers with all of it, and stores its beginning."""
    assert resource is not None
    meta = {**resource["meta"], "source": resource["meta"].get("source", "").partition("#")[0]}
    return {**resource, "meta": meta}


def etag(resource: Resource) -> str:
    return f'W/"{version(resource)}"'


def transact(server: FhirServer, *entries: Resource) -> list[Resource]:
    """The entries of the response to a transaction."""
    answer = server.submit({"resourceType": "Bundle", "type": "transaction", "entry": [*entries]})
    assert answer["type"] == "transaction-response"
    return list(answer["entry"])


def batch(server: FhirServer, *entries: Resource) -> list[Resource]:
    answer = server.submit({"resourceType": "Bundle", "type": "batch", "entry": [*entries]})
    assert answer["type"] == "batch-response"
    return list(answer["entry"])


def statuses(entries: list[Resource]) -> list[str]:
    return [entry["response"]["status"] for entry in entries]


def stored(server: FhirServer, *entries: Resource) -> list[Resource]:
    return [entry["resource"] for entry in transact(server, *entries)]


def found(server: FhirServer, system: str, resource_type: str = "Patient") -> list[Resource]:
    """All of a type that have an identifier of this system."""
    return list(pages.resources(server, lambda: server.search(resource_type, [("identifier", f"{system}|")])))


def refusal(server: FhirServer, *entries: Resource) -> ServerRefused:
    with pytest.raises(ServerRefused) as caught:
        transact(server, *entries)
    assert caught.value.outcome is not None
    assert caught.value.outcome["resourceType"] == "OperationOutcome"
    return caught.value
