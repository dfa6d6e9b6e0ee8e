"""Cases on their way to a server and back: the engine's conversions joined to what the synchronisation sends and reads."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from service.engine import Engine, Restored
from service.fhir import json
from service.issues import Issue, Origin
from service.mapping.identity import Identities
from service.sync import payload
from service.sync.canonical import URN
from service.sync.differences import Difference, differences
from service.sync.outbox import Submission
from service.sync.plan import Wanted
from service.sync.pull import Pulled

_sorted = msgspec.json.Encoder(decimal_format="number", order="deterministic").encode


@dataclass(frozen=True)
class Transfer:
    """An engine, and what a server knows its deployment and its mapping set by."""

    engine: Engine
    deployment: str = field(init=False)
    mapping: str = field(init=False)

    def __post_init__(self) -> None:
        spec = self.engine.mapping.spec
        object.__setattr__(self, "deployment", _keyed(self.engine.key, b"deployment", size=8))
        object.__setattr__(self, "mapping", f"{spec.url}|{spec.version}")

    @property
    def system(self) -> str:
        """The system of the identities."""
        return str(self.engine.mapping.spec.identifier)

    @property
    def types(self) -> list[str]:
        """The resource types that the mapping set writes."""
        return sorted({str(kind.resource) for kind in self.engine.mapping.kinds})

    def identity(self, case: str) -> str:
        """The identity of a case's Patient, by the case's own id: what a server and the outbox know the case by."""
        return Identities(self.engine.key, case).of("", "", ()).removeprefix(URN)

    def wanted(self, text: bytes, *, file: str = "-", lenient: bool = False) -> tuple[Wanted | None, list[Issue]]:
        """A case as JSON text, converted for a push; None where the issues hold an error. Raises UnreadableInput."""
        made = self.engine.convert(text, file=file, lenient=lenient)
        if made.bundle is None:
            return None, made.issues
        resources = {str(entry["fullUrl"]).removeprefix(URN): entry["resource"] for entry in made.bundle["entry"]}
        source = _keyed(self.engine.key, b"record", _sorted(json.loads(text, file=file, limits=self.engine.limits)))
        case = next(iter(resources))
        return Wanted(case, self.system, self.deployment, source, self.mapping, resources), made.issues

    def submission(
        self, wanted: Wanted, server: str, *, label: str = "", overwrite: bool = False, plan: str | None = None
    ) -> Submission:
        """What the outbox takes for a converted case; `server` is the base URL that it goes to."""
        text = payload.dump(wanted)
        mapping = f"{self.mapping}#{self.engine.mapping.fingerprint[:16]}"
        return Submission(server, wanted.case, label, text, payload.digest(text), mapping, overwrite, plan)

    def restored(self, pulled: Pulled) -> Restored:
        """The case that a server holds; what the form cannot hold is among the issues."""
        return self.engine.to_case(json.dumps(pulled.bundle()))


def compared(local: bytes, pulled: dict[str, Any], file: str) -> Iterator[Difference]:
    """How the case on the server differs from the local one. Raises UnreadableInput for a local text that is no JSON."""
    yield from differences(json.loads(local, file=file), pulled)


def difference_issue(found: Difference, file: str) -> Issue:
    """One difference for a report: its kind and its place, but no value."""
    verbs = {"added": "is on the server only", "removed": "is in the local case only", "changed": "differs"}
    fix = "take the server's value into the case, or push the case"
    text = f"{found.place} {verbs[found.kind]}"
    return Issue("warning", "conflict", "sync-difference", text, fix=fix, source=Origin(file))


def _keyed(key: bytes, *parts: bytes, size: int = 16) -> str:
    """A digest that only this deployment can make. BLAKE2 takes 64 bytes of key; a longer one goes in by its digest."""
    short = key if len(key) <= hashlib.blake2b.MAX_KEY_SIZE else hashlib.blake2b(key).digest()
    return hashlib.blake2b(b"\0".join(parts), key=short, digest_size=size).hexdigest()
