"""What a job carries: a converted case as JSON text, so that whoever sends it needs neither the record nor the mapping set."""

from __future__ import annotations

import hashlib
from typing import Any

from service.fhir import json
from service.sync.plan import Wanted


def dump(wanted: Wanted) -> bytes:
    """The payload of a job; the same case under the same mapping and key is the same bytes."""
    return json.dumps(
        {
            "case": wanted.case,
            "system": wanted.system,
            "deployment": wanted.deployment,
            "source": wanted.source,
            "mapping": wanted.mapping,
            "resources": dict(wanted.resources),
            "types": list(wanted.types),
        }
    )


def load(text: bytes) -> Wanted:
    """What `dump` wrote."""
    # A case was within the limits of the door when it came in; its resources are more than it was.
    held: Any = json.loads(text, limits=json.Limits(max_bytes=max(len(text), 1)))
    return Wanted(**(held | {"types": tuple(held["types"])}))


def digest(text: bytes) -> str:
    """By which two submissions are known to be the same."""
    return hashlib.blake2b(text, digest_size=16).hexdigest()
