"""What is written to a server to try it out: a few resources of type Basic under a random identifier, and their deletion."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from service.errors import ServerRefused, ServerUnavailable
from service.fhir.search import condition, token
from service.issues import Issue
from service.sync.pages import resources
from service.sync.server import FhirServer, Resource

# The system of the identifiers.
PROBE: Final = "https://casebridge.dev/fhir/identifier/probe"
# The resources that are made to stay for as long as the trial runs; one more must never come to be.
MADE: Final = ("1", "2", "3")
NEVER: Final = "4"

_PLACE: Final = re.compile(r"(?:^|/)(Basic/[A-Za-z0-9.-]{1,64})(?:/_history/|$)")


@dataclass
class Trial:
    """One trial. `run` tells its resources from all others; `places` are those that were made, as Basic/[id].

    Every method raises ServerUnavailable and ServerRefused, but for `clean`.
    """

    server: FhirServer
    run: str = field(default_factory=lambda: secrets.token_hex(8))
    wrote: bool = False
    places: set[str] = field(default_factory=set)

    def search(self, *more: tuple[str, str], names: Iterable[str] = (*MADE, NEVER)) -> Resource:
        """The first page of a search for what the probes have made."""
        identifiers = ",".join(token(PROBE, f"{self.run}-{name}") for name in names)
        return self.server.search("Basic", [("identifier", identifiers), *more])

    def found(self, *more: tuple[str, str]) -> set[str]:
        """What all pages of that search hold, as Basic/[id]."""
        every = resources(self.server, lambda: self.search(*more))
        return {f"Basic/{one.get('id')}" for one in every if one.get("resourceType") == "Basic"}

    def create(self) -> Resource:
        """The answer to a transaction that creates what is to be made, where it is not there yet."""
        self.wrote = True
        reply = self.submit("transaction", [self.post(name) for name in MADE])
        locations = (str(member(one.get("response")).get("location", "")) for one in members(reply.get("entry")))
        self.places.update(match[1] for one in locations if (match := _PLACE.search(one)))
        return reply

    def change(self, held: Resource, text: str, *others: Resource) -> None:
        """Puts another text into a resource, by the version that it had when it was read."""
        place, version = f"Basic/{held['id']}", member(held.get("meta")).get("versionId")
        body = {"resourceType": "Basic", "id": held["id"], "identifier": held.get("identifier"), "code": {"text": text}}
        request = {"method": "PUT", "url": place, "ifMatch": f'W/"{version}"'}
        entry = {"fullUrl": f"{self.server.base}/{place}", "resource": body, "request": request}
        self.submit("transaction", [*others, entry])

    def read(self, place: str) -> Resource:
        """Raises ServerRefused where it is not there."""
        found = self.server.read(*place.split("/", 1))
        if found is None:
            text, fix = "what was written cannot be read afterwards", "see whether this account may read"
            raise ServerRefused([Issue("error", "not-found", "sync-probe", text, fix=fix)], status=404)
        return found

    def submit(self, kind: str, entries: list[Resource]) -> Resource:
        return self.server.submit({"resourceType": "Bundle", "type": kind, "entry": entries})

    def post(self, name: str) -> Resource:
        identifier = {"system": PROBE, "value": f"{self.run}-{name}"}
        body = {"resourceType": "Basic", "identifier": [identifier], "code": {"text": "Casebridge probe"}}
        unless = condition("identifier", PROBE, identifier["value"])
        full_url = f"urn:uuid:{self.run[:8]}-{self.run[8:12]}-4{self.run[13:]}-8000-{int(name):012}"
        return {"fullUrl": full_url, "resource": body, "request": {"method": "POST", "url": "Basic", "ifNoneExist": unless}}

    def clean(self) -> bool:
        """Deletes what was made, also by a request whose answer was lost; False where something may be left."""
        return not self.wrote or any(self._is_clean(kind) for kind in ("transaction", "batch"))

    def _is_clean(self, kind: str) -> bool:
        looked = False
        with suppress(ServerUnavailable, ServerRefused):
            self.places |= self.found()
            looked = True
        with suppress(ServerUnavailable, ServerRefused):
            if self.places:
                self.submit(kind, [{"request": {"method": "DELETE", "url": place}} for place in sorted(self.places)])
            self.places = {place for place in self.places if self.server.read(*place.split("/", 1)) is not None}
        return looked and not self.places


# Reading what a stranger sends ---------------------------------------------------------------------------------------


def member(value: Any) -> Resource:
    """A JSON object; an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def members(value: Any) -> list[Resource]:
    """The objects of a list; none for anything else."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
