"""Where incremental pulls have come to, kept in the outbox: one mark for each server and deployment, whoever pulls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from service.fhir import json
from service.sync.pull import Mark

if TYPE_CHECKING:
    from service.sync.outbox import Outbox


def last(outbox: Outbox, server: str, deployment: str) -> Mark:
    """The mark that was remembered last, or one from which everything is pulled."""
    text = outbox.recall(server, _name(deployment))
    held: Any = json.loads(text) if text else {}
    return Mark(**held)


def remember(outbox: Outbox, server: str, deployment: str, mark: Mark) -> None:
    """To be called once the cases up to this mark are safe."""
    outbox.remember(server, _name(deployment), json.dumps(mark.to_json()).decode())


def _name(deployment: str) -> str:
    return f"pulled {deployment}"
