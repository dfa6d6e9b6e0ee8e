"""The Provenance of a push: which record, converted by which mapping set, lies behind the resources that it wrote.

Source: http://hl7.org/fhir/R4/provenance.html
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from service import __version__
from service.sync.canonical import DEPLOYMENT
from service.sync.plan import Step, Wanted
from service.sync.server import Resource

# A Provenance has no identifier by which a server could tell that it has it; its tag serves for that.
PUSH: Final = "https://casebridge.dev/fhir/CodeSystem/push"
RECORD: Final = "https://casebridge.dev/fhir/identifier/record-digest"
_ASSEMBLER: Final = {
    "coding": [{"system": "http://terminology.hl7.org/CodeSystem/provenance-participant-type", "code": "assembler"}]
}


def provenance(wanted: Wanted, steps: Sequence[Step], targets: Iterable[str], recorded: float) -> Resource:
    """What is written beside the resources that these steps change; `targets` are references to them.

    `recorded`: seconds since 1970, of when the case was accepted, so that a second attempt is the same to the letter.
    """
    agent = {"identifier": {"system": DEPLOYMENT, "value": wanted.deployment}, "display": f"Casebridge {__version__}"}
    return {
        "resourceType": "Provenance",
        "meta": {"tag": [{"system": PUSH, "code": push_code(steps)}]},
        "target": [{"reference": target} for target in targets],
        "recorded": datetime.fromtimestamp(recorded, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "agent": [{"type": _ASSEMBLER, "who": agent}],
        "entity": [
            _entity("source", RECORD, wanted.source),
            _entity("derivation", "urn:ietf:rfc:3986", wanted.mapping),
        ],
    }


def push_code(steps: Sequence[Step]) -> str:
    """The same for the same changes of the same versions, so that two attempts leave one Provenance."""
    return hashlib.blake2b("\n".join(step.key for step in steps).encode(), digest_size=16).hexdigest()


def is_ours(resource: Resource) -> bool:
    """Whether this Provenance was written by a push."""
    tags = resource.get("meta", {}).get("tag", ())
    return resource.get("resourceType") == "Provenance" and any(tag.get("system") == PUSH for tag in tags)


def _entity(role: str, system: str, value: str) -> dict[str, Any]:
    return {"role": role, "what": {"identifier": {"system": system, "value": value}}}
