"""What the memory server keeps: every version of every resource, and an index of the words by which they are looked for."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from http import HTTPStatus
from typing import Any, Final

from service.errors import ServerRefused
from service.issues import Issue, to_operation_outcome
from service.sync.server import Resource

# Type and id.
Key = tuple[str, str]

# HTTP status → code of http://hl7.org/fhir/R4/valueset-issue-type.html; the rest is "processing".
_CODES: Final = {404: "not-found", 409: "conflict", 410: "expired", 412: "multiple-matches", 413: "too-long"}
# Set by the server, or no part of what a resource says: a PUT that changes nothing else makes no new version.
_OWN_META: Final = ("versionId", "lastUpdated", "source")


def refused(status: int, text: str, fix: str) -> ServerRefused:
    """A refusal with an OperationOutcome, as a server answers it. Its text holds no value of a resource."""
    issue = Issue("error", _CODES.get(status, "processing"), "sync-refused", text, fix=fix)
    return ServerRefused([issue], status=status, outcome=to_operation_outcome([issue]))


def status_line(status: int) -> str:
    """A status as Bundle.entry.response.status has it: "201 Created"."""
    return f"{status} {HTTPStatus(status).phrase}"


class Store:
    """All versions by key, the last one current, None where it says "deleted". What it holds is never changed in place.

    Not thread-safe: its server has the lock. `clock` gives the time of each write.
    """

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self.rows: dict[Key, tuple[Resource | None, ...]] = {}
        self._clock = clock
        self._words: dict[str, set[Key]] = {}
        self._born: dict[Key, int] = {}
        # Digits only, as HAPI's, so that no client id can ever be one of them.
        self._ids = itertools.count(1000)
        self._requests = itertools.count(1)

    @contextmanager
    def atomic(self) -> Iterator[None]:
        """All that is written inside stays, or nothing does."""
        before = self.rows.copy()
        try:
            yield
        except BaseException:
            self.rows = before
            raise

    def current(self, key: Key) -> Resource | None:
        history = self.rows.get(key)
        return history[-1] if history else None

    def version(self, key: Key) -> int:
        """How many versions there were, the deletion counted as one; 0 for what never existed."""
        return len(self.rows.get(key, ()))

    def new_key(self, resource_type: str) -> Key:
        return resource_type, str(next(self._ids))

    def new_request(self) -> str:
        """The id of a request, as it ends meta.source of what the request writes."""
        return f"request-{next(self._requests)}"

    def write(self, key: Key, resource: Resource, request: str) -> Resource:
        """The stored version: a new one, or the current one where the resource says nothing new."""
        old = self.current(key)
        meta = _merged(resource.get("meta") or {}, (old or {}).get("meta") or {})
        if old is not None and _same(_said({**resource, "meta": meta}), _said(old)):
            return old
        meta["versionId"] = str(self.version(key) + 1)
        meta["lastUpdated"] = instant(self._clock())
        meta["source"] = f"{meta.get('source', '').partition('#')[0]}#{request}"
        body = {name: value for name, value in resource.items() if name not in ("resourceType", "id", "meta")}
        stored = {"resourceType": key[0], "id": key[1], "meta": meta, **body}
        self.rows[key] = (*self.rows.get(key, ()), stored)
        self._born.setdefault(key, len(self._born))
        for word in words(stored):
            self._words.setdefault(word, set()).add(key)
        return stored

    def delete(self, key: Key) -> None:
        if self.current(key) is not None:
            self.rows[key] = (*self.rows[key], None)

    def candidates(self, wanted: Iterable[str]) -> list[Key]:
        """The keys of what has, or once had, one of these words, in the order of their creation."""
        found = {key for word in wanted for key in self._words.get(word, ()) if self.current(key) is not None}
        return sorted(found, key=self._born.__getitem__)

    def keys(self, resource_type: str | None = None) -> list[Key]:
        """The keys of all that is there, in the order of their creation."""
        return [key for key, history in self.rows.items() if history[-1] and resource_type in (None, key[0])]


def instant(moment: datetime) -> str:
    """An instant in UTC to the millisecond, as HAPI writes it: http://hl7.org/fhir/R4/datatypes.html#instant"""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")


def words(resource: Resource) -> Iterator[str]:
    """What a resource can be found by: its id, the values of its identifiers, its tags' codes, and what it refers to."""
    yield resource["id"]
    yield from (each["value"] for each in identifiers(resource) if "value" in each)
    yield from (each["code"] for each in tags(resource) if "code" in each)
    yield from references(resource)


def identifiers(resource: Resource) -> list[Resource]:
    found = resource.get("identifier", [])
    return found if isinstance(found, list) else [found]


def tags(resource: Resource) -> list[Resource]:
    found: list[Resource] = resource.get("meta", {}).get("tag", [])
    return found


def references(value: Any) -> Iterator[str]:
    """The literal references anywhere in a resource, those in extensions of primitives aside, as HAPI leaves them aside."""
    if isinstance(value, list):
        for item in value:
            yield from references(item)
    elif isinstance(value, dict):
        for name, item in value.items():
            if name == "reference" and isinstance(item, str):
                yield item
            elif not name.startswith("_"):
                yield from references(item)


def copied(value: Any) -> Any:
    """A deep copy of JSON; the Decimals, which never change, stay the same ones."""
    if isinstance(value, dict):
        return {name: copied(item) for name, item in value.items()}
    return [copied(item) for item in value] if isinstance(value, list) else value


def _merged(meta: Resource, old: Resource) -> Resource:
    """meta of a new version: tags and security labels accumulate over updates, the rest is replaced (measured on HAPI 8.8)."""
    out = {name: value for name, value in meta.items() if name not in ("versionId", "lastUpdated")}
    for name in ("tag", "security"):
        labels: dict[tuple[str | None, str | None], Resource] = {}
        for each in (*meta.get(name, ()), *old.get(name, ())):
            labels.setdefault((each.get("system"), each.get("code")), each)
        if labels:
            out[name] = [*labels.values()]
    return out


def _said(resource: Resource) -> Resource:
    """A resource without what the server adds, its labels in an order that does not matter."""
    meta = {name: value for name, value in resource.get("meta", {}).items() if name not in _OWN_META}
    for name in meta.keys() & {"tag", "security"}:
        meta[name] = sorted(meta[name], key=lambda each: (each.get("system", ""), each.get("code", "")))
    return {**{name: value for name, value in resource.items() if name != "id"}, "meta": meta}


def _same(one: Any, other: Any) -> bool:
    """Equality of JSON to the letter: 4.50 is not 4.5, for a decimal's precision is part of its value."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[name], other[name]) for name in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return str(one) == str(other) if isinstance(one, Decimal) else bool(one == other)
