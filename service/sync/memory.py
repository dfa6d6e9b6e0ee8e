"""A FHIR R4 server in memory, behaving as HAPI does where Casebridge can notice: for the demo, and for tests.

Nothing is kept once it is gone. What it can is what the Protocol FhirServer asks for; it validates nothing.
Sources: http://hl7.org/fhir/R4/http.html; measured on HAPI 8.8 where that differs or the text leaves it open.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import RLock
from typing import Any, Final
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

from service.errors import ServerRefused
from service.fhir.definitions import load
from service.issues import Issue
from service.sync import origins
from service.sync.memory_search import find, page_size, referred
from service.sync.memory_store import Key, Store, copied, refused, status_line
from service.sync.memory_transaction import Transaction
from service.sync.server import Criteria, Resource

# Searches that can be paged through at one time; the oldest expires.
MOST_SEARCHES: Final = 1000
EVERYTHING: Final = "http://hl7.org/fhir/OperationDefinition/Patient-everything"


@dataclass(frozen=True)
class _Search:
    """A snapshot of a result: what was found when the search ran. New matches are not seen, deleted ones leave gaps."""

    keys: Sequence[Key]
    size: int


class MemoryServer:
    """An R4 server in memory, thread-safe. Gives and takes copies: nobody else's change reaches what it holds.

    `page_size`: most entries on a page; `max_bundle`: most entries in a submitted bundle; `everything`: whether it knows
    Patient/$everything; `clock`: the time of a write; `stale_status`: the answer to an If-Match that does not hold, 412 in R4
    and 409 in HAPI.
    """

    def __init__(
        self,
        base: str = "http://memory.invalid/fhir",
        *,
        page_size: int = 200,
        max_bundle: int | None = None,
        everything: bool = True,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        stale_status: int = 409,
    ) -> None:
        self._base = base.rstrip("/")
        self._page_size = page_size
        self._max_bundle = max_bundle
        self._everything = everything
        self._stale_status = stale_status
        self._store = Store(clock)
        self._searches: dict[str, _Search] = {}
        self._searched = 0
        self._lock = RLock()

    @property
    def base(self) -> str:
        return self._base

    def capabilities(self) -> Resource:
        types = [name for name, each in load().types.items() if each.kind == "resource" and not each.abstract]
        rest = {
            "mode": "server",
            "resource": [self._capability(name) for name in types],
            "interaction": [{"code": "transaction"}, {"code": "batch"}],
        }
        return {
            "resourceType": "CapabilityStatement",
            "status": "active",
            "date": "2026-01-01",
            "kind": "instance",
            "software": {"name": "Casebridge memory server"},
            "implementation": {"description": "A FHIR server in memory", "url": self._base},
            "fhirVersion": "4.0.1",
            "format": ["application/fhir+json"],
            "rest": [rest],
        }

    def _capability(self, resource_type: str) -> Resource:
        known: Resource = {
            "type": resource_type,
            "versioning": "versioned-update",
            "conditionalCreate": True,
            "updateCreate": True,
        }
        if resource_type == "Patient" and self._everything:
            known["operation"] = [{"name": "everything", "definition": EVERYTHING}]
        return known

    def submit(self, bundle: Resource) -> Resource:
        """Carries a transaction out as a whole, or a batch entry by entry. Raises ServerRefused: 400, 404, 409, 412 or 413."""
        kind, entries = bundle.get("type"), bundle.get("entry", [])
        if kind not in ("transaction", "batch"):
            raise refused(400, "the body is no transaction and no batch", "send a Bundle of one of these types")
        if self._max_bundle is not None and len(entries) > self._max_bundle:
            raise refused(413, f"the bundle has more than {self._max_bundle} entries", "send it in parts")
        with self._lock:
            done = self._transaction(entries) if kind == "transaction" else [self._alone(entry) for entry in entries]
            return _bundle(f"{kind}-response", [{"relation": "self", "url": self._base}], done)

    def read(self, resource_type: str, resource_id: str) -> Resource | None:
        with self._lock:
            found: Resource | None = copied(self._store.current((resource_type, resource_id)))
            return found

    def search(self, resource_type: str, criteria: Criteria) -> Resource:
        """Raises ServerRefused: 400 for a parameter that is not known, 404 for a type that R4 does not have."""
        with self._lock:
            found = find(self._store, resource_type, criteria)
            size = page_size(criteria, self._page_size)
            if size == 0:
                return {**_bundle("searchset", [], []), "total": len(found)}
            return self._first(found, size, f"{self._base}/{resource_type}?{urlencode(criteria)}")

    def everything(self, patient_id: str) -> Resource:
        """Raises ServerRefused (404) for a Patient that is not there, and where the server does not know the operation."""
        with self._lock:
            patient = ("Patient", patient_id)
            if not self._everything or self._store.current(patient) is None:
                raise refused(404, "there is no such Patient, or no operation $everything", "search by type")
            return self._first(self._compartment(patient), self._page_size, f"{self._base}/Patient/{patient_id}/$everything")

    def page(self, url: str) -> Resource:
        """Raises ServerRefused: 0 for a URL of another server, 410 for a page that has expired or never was."""
        if not origins.same_origin(url, self._base):
            text = "the URL of a further page is another server's"
            raise ServerRefused(
                [Issue("error", "security", "sync-page-origin", text, fix="mend the base URL that the server gives")]
            )
        asked = parse_qs(urlsplit(url).query)
        name, offset = asked.get("_getpages", [""])[0], asked.get("_getpagesoffset", [""])[0]
        with self._lock:
            if name not in self._searches or not offset.isdecimal():
                raise refused(410, "the page has expired", "search again")
            return self._page(name, int(offset), url)

    def get(self, url: str) -> Resource:
        """What a GET of a URL relative to the base gives: [type]/[id], [type]?[criteria] or Patient/[id]/$everything."""
        path, _mark, query = url.partition("?")
        if match := re.fullmatch(r"Patient/([^/]+)/\$everything", path):
            return self.everything(match[1])
        resource_type, slash, resource_id = path.partition("/")
        if not slash:
            return self.search(resource_type, parse_qsl(query, keep_blank_values=True))
        found = self.read(resource_type, resource_id)
        if found is None:
            deleted = self.versions(resource_type, resource_id) > 0
            raise refused(410 if deleted else 404, "there is no such resource", "search for it")
        return found

    # For the demo and for tests: what other people do to a server ----------------------------------------------------

    def versions(self, resource_type: str, resource_id: str) -> int:
        """How many versions a resource has had, its deletion counted as one; 0 where it never existed."""
        with self._lock:
            return self._store.version((resource_type, resource_id))

    def all(self, resource_type: str | None = None) -> list[Resource]:
        """The current resources, of one type or of all, in the order of their creation."""
        with self._lock:
            return [copied(self._store.current(key)) for key in self._store.keys(resource_type)]

    def edit(self, resource_type: str, resource_id: str, change: Callable[[Resource], object]) -> None:
        """A foreign edit: `change` alters the copy that it is given. Raises KeyError where there is no such resource."""
        with self._lock:
            key = (resource_type, resource_id)
            found = self.read(*key)
            if found is None:
                raise KeyError(key)
            change(found)
            self._store.write(key, copied(found), self._store.new_request())

    def delete(self, resource_type: str, resource_id: str) -> None:
        """A foreign deletion, whatever refers to the resource."""
        with self._lock:
            self._store.delete((resource_type, resource_id))

    def expire_pages(self) -> None:
        """Forgets all searches: their further pages are refused with 410."""
        with self._lock:
            self._searches.clear()

    def _transaction(self, entries: Sequence[Resource]) -> list[Resource]:
        return Transaction(self._store, self._base, self.get, self._stale_status).run(entries)

    def _alone(self, entry: Resource) -> Resource:
        """An entry of a batch, which fails alone: http://hl7.org/fhir/R4/http.html#brules"""
        try:
            [done] = self._transaction([entry])
        except ServerRefused as error:
            return {"response": {"status": status_line(error.status), "outcome": error.outcome}}
        return done

    def _compartment(self, patient: Key) -> list[Key]:
        """The Patient and all that is about the Patient; of Provenance, as HAPI has it, only what has the Patient as a target.

        http://hl7.org/fhir/R4/compartmentdefinition-patient.html
        """
        literal = "/".join(patient)
        found = [key for key in self._store.candidates([literal]) if literal in self._about(key)]
        return [*dict.fromkeys((patient, *found))]

    def _about(self, key: Key) -> set[str]:
        return referred(self._store.current(key) or {}, ("subject", "patient", "target"))

    def _first(self, keys: Sequence[Key], size: int, url: str) -> Resource:
        self._searched += 1
        name = f"search-{self._searched}"
        self._searches[name] = _Search(keys, size)
        if len(self._searches) > MOST_SEARCHES:
            del self._searches[next(iter(self._searches))]
        return self._page(name, 0, url)

    def _page(self, name: str, offset: int, url: str) -> Resource:
        search = self._searches[name]
        end = offset + search.size
        links = [{"relation": "self", "url": url}]
        if end < len(search.keys):
            links.append({"relation": "next", "url": f"{self._base}?_getpages={name}&_getpagesoffset={end}"})
        entries = [self._match(key) for key in search.keys[offset:end] if self._store.current(key) is not None]
        return {**_bundle("searchset", links, entries), "total": len(search.keys)}

    def _match(self, key: Key) -> Resource:
        resource = copied(self._store.current(key))
        return {"fullUrl": f"{self._base}/{'/'.join(key)}", "resource": resource, "search": {"mode": "match"}}


def _bundle(kind: str, links: Sequence[Any], entries: Sequence[Resource]) -> Resource:
    """A Bundle; JSON in FHIR has no empty lists: http://hl7.org/fhir/R4/json.html"""
    found = {"link": [*links], "entry": [*entries]}
    return {"resourceType": "Bundle", "type": kind, **{name: value for name, value in found.items() if value}}
