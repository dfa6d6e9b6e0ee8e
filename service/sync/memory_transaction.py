"""A transaction in the memory server: what its entries ask for, in the order that R4 demands, with references resolved.

Sources: http://hl7.org/fhir/R4/http.html#trules and, for what the text leaves open, HAPI 8.8.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl

from service.fhir.definitions import load
from service.sync.memory_search import find, satisfies
from service.sync.memory_store import Key, Store, copied, references, refused, status_line
from service.sync.server import Resource

# Deletions come first and reading last: http://hl7.org/fhir/R4/http.html#trules
ORDER: Final = ("DELETE", "POST", "PUT", "GET")
# Elements of the types url and uri, where the server puts the ids that it gave, too: HAPI 8.8 rewrites these.
_URIS: Final = re.compile(r"url|uri|.*U(?:rl|ri)")
_LITERAL: Final = re.compile(r"([A-Z][A-Za-z]+)/([A-Za-z0-9.-]{1,64})(?:/_history/[A-Za-z0-9.-]{1,64})?")


@dataclass
class Step:
    """One entry on its way: `key` is the resource it is about, once that is known; `status` what came of it."""

    method: str
    url: str
    request: Resource
    full_urls: list[str]
    body: Resource | None
    key: Key = ("", "")
    status: int = 200
    result: Resource | None = None


class Transaction:
    """Carries entries out on a store, all of them or none. `stale`: status of an If-Match that does not hold."""

    def __init__(self, store: Store, base: str, get: Callable[[str], Resource], stale: int) -> None:
        self._store = store
        self._base = base
        self._get = get
        self._stale = stale
        self._ids: dict[str, str] = {}

    def run(self, entries: Sequence[Resource]) -> list[Resource]:
        """The entries of the response. Raises ServerRefused, and then nothing was done."""
        steps = _merged([_step(entry) for entry in entries])
        _check_once(url for step in steps for url in step.full_urls)
        _check_once(step.url for step in steps if step.method in ("PUT", "DELETE"))
        with self._store.atomic():
            self._carry_out(sorted(steps, key=lambda step: ORDER.index(step.method)))
            return [self._response(step) for step in steps]

    def _carry_out(self, steps: Sequence[Step]) -> None:
        request = self._store.new_request()
        for step in steps:
            _PREPARE[step.method](self, step)
            self._ids.update(dict.fromkeys(step.full_urls, "/".join(step.key)))
        for step in steps:
            if step.body is not None:
                step.result = self._store.write(step.key, self._resolved(step.body), request)
        self._check_references(steps)
        for step in steps:
            if step.method == "GET":
                step.result = self._get(step.url)

    def _delete(self, step: Step) -> None:
        step.key = _key(step.url)
        self._check_version(step)
        self._store.delete(step.key)
        step.status = 204

    def _create(self, step: Step) -> None:
        body = _body(step)
        if step.url != body.get("resourceType"):
            raise refused(400, "a resource is posted to the URL of another type", "post it to its own type")
        found = self._matches(step.url, step.request.get("ifNoneExist", ""), body)
        if found:
            step.key, step.body, step.result = found[0], None, self._store.current(found[0])
        else:
            step.key, step.status = self._store.new_key(step.url), 201

    def _matches(self, resource_type: str, condition: str, body: Resource) -> list[Key]:
        """What a conditional create finds already there: nothing or one. http://hl7.org/fhir/R4/http.html#ccreate"""
        criteria = parse_qsl(condition, keep_blank_values=True)
        found = find(self._store, resource_type, criteria) if criteria else []
        if len(found) > 1:
            raise refused(412, "several resources match the condition of a create", "merge them on the server")
        if criteria and not satisfies(body, criteria):
            raise refused(412, "a resource does not meet the condition of its own create", "ask for an identifier that it has")
        return found

    def _update(self, step: Step) -> None:
        body, step.key = _body(step), _key(step.url)
        if body.get("resourceType") != step.key[0] or body.get("id", step.key[1]) != step.key[1]:
            raise refused(400, "type or id of a resource are not those of its URL", "put it to its own URL")
        if not self._store.version(step.key) and step.key[1].isdecimal():
            raise refused(400, "an id of a client's own has only digits", "give it a letter")
        self._check_version(step)
        step.status = 200 if self._store.current(step.key) else 201

    def _read(self, step: Step) -> None:
        """Reading waits until all is written."""

    def _check_version(self, step: Step) -> None:
        """http://hl7.org/fhir/R4/http.html#concurrency; where there is nothing yet, HAPI does not look."""
        wanted, version = step.request.get("ifMatch"), self._store.version(step.key)
        if wanted is None or not version:
            return
        if not (match := re.fullmatch(r'W/"(.*)"', wanted)):
            raise refused(400, "an ifMatch is no weak ETag", 'write it like W/"1"')
        if match[1] != str(version):
            raise refused(self._stale, "the version in an ifMatch is not the current one", "read the resource again")

    def _resolved(self, value: Any, name: str = "") -> Any:
        """A copy of a resource in which references to entries of the transaction are the literal ones they have now."""
        if isinstance(value, dict):
            return {key: copied(item) if key[:1] == "_" else self._resolved(item, key) for key, item in value.items()}
        if isinstance(value, list):
            return [self._resolved(item, name) for item in value]
        if isinstance(value, str) and name == "reference":
            return self._literal(value)
        return self._ids.get(value, value) if isinstance(value, str) and _URIS.fullmatch(name) else value

    def _literal(self, reference: str) -> str:
        """A reference as it is stored: relative, and without a version, as HAPI keeps it."""
        if reference in self._ids:
            return self._ids[reference]
        if reference.startswith("urn:"):
            raise refused(400, "a reference leads to no entry of its bundle", "send what it refers to along with it")
        relative = reference.removeprefix(f"{self._base}/")
        resource_type, query, condition = relative.partition("?")
        if query and ":" not in resource_type:
            return self._conditional(resource_type, condition)
        match = _LITERAL.fullmatch(relative)
        return f"{match[1]}/{match[2]}" if match else relative

    def _conditional(self, resource_type: str, condition: str) -> str:
        found = find(self._store, resource_type, parse_qsl(condition, keep_blank_values=True))
        if len(found) != 1:
            status = 412 if found else 404
            raise refused(
                status, "a conditional reference does not lead to just one resource", "refer by an identifier of just one"
            )
        return "/".join(found[0])

    def _check_references(self, steps: Sequence[Step]) -> None:
        """Referential integrity, as HAPI holds it: no reference to what is not there, and none left behind by a deletion."""
        for step in steps:
            if step.body is not None and any(self._is_lost(each) for each in references(step.result)):
                raise refused(400, "a reference leads to a resource that is not there", "send what it refers to first")
            if step.method == "DELETE" and self._is_referred_to("/".join(step.key)):
                raise refused(409, "a resource to delete is referred to by others", "delete those first")

    def _is_lost(self, reference: str) -> bool:
        match = _LITERAL.fullmatch(reference)
        return match is not None and load().type(match[1]) is not None and self._store.current((match[1], match[2])) is None

    def _is_referred_to(self, literal: str) -> bool:
        others = self._store.candidates([literal])
        return any(literal in references(self._store.current(key)) for key in others)

    def _response(self, step: Step) -> Resource:
        response: Resource = {"status": status_line(step.status)}
        version = self._store.version(step.key)
        if version and step.method != "GET":
            # A bare version and not W/"1", as HAPI 8.8 has it; R4 would have the ETag.
            response |= {"location": f"{'/'.join(step.key)}/_history/{version}", "etag": str(version)}
        if step.result is None:
            return {"response": response}
        if step.status == 201:
            response["lastModified"] = step.result["meta"]["lastUpdated"]
        return {"resource": copied(step.result), "response": response}


_PREPARE: Final[dict[str, Callable[[Transaction, Step], None]]] = {
    "DELETE": Transaction._delete,
    "POST": Transaction._create,
    "PUT": Transaction._update,
    "GET": Transaction._read,
}


def _step(entry: Resource) -> Step:
    request = entry.get("request") or {}
    method, url = request.get("method"), request.get("url")
    if method not in ORDER or not isinstance(url, str):
        raise refused(400, "an entry has no request that the server knows", f"give it one of {', '.join(ORDER)}, and a URL")
    sends = method in ("POST", "PUT")
    full_urls = [entry["fullUrl"]] if sends and "fullUrl" in entry else []
    return Step(method, url, request, full_urls, entry.get("resource") if sends else None)


def _merged(steps: Sequence[Step]) -> list[Step]:
    """HAPI takes entries with one condition for one, and answers them with one entry; their fullUrls mean the same then."""
    first: dict[tuple[str, str], Step] = {}
    out: list[Step] = []
    for step in steps:
        condition = step.request.get("ifNoneExist")
        same = first.setdefault((step.url, condition), step) if condition else step
        if same is step:
            out.append(step)
        else:
            same.full_urls += step.full_urls
    return out


def _check_once(urls: Iterable[str]) -> None:
    if any(count > 1 for count in Counter(urls).values()):
        raise refused(400, "two entries of a bundle are about one resource", "give each entry a URL and a fullUrl of its own")


def _body(step: Step) -> Resource:
    found = step.body.get("resourceType") if isinstance(step.body, dict) else None
    defined = load().type(found) if isinstance(found, str) else None
    if step.body is None or defined is None or defined.kind != "resource":
        raise refused(400, "an entry sends no resource of R4", "send a resource along with POST and PUT")
    return step.body


def _key(url: str) -> Key:
    match = re.fullmatch(r"([A-Z][A-Za-z]+)/([A-Za-z0-9.-]{1,64})", url)
    if not match:
        raise refused(400, "the URL of an entry is not [type]/[id]", "name one resource: conditions are known for creates only")
    return match[1], match[2]
