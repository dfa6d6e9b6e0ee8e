"""What a push has to do: each resource of the case against what is known of the server, decided without any I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from service.sync.canonical import digest_of
from service.sync.differences import Difference, differences
from service.sync.retire import is_retired
from service.sync.server import Resource

Action = Literal["create", "update", "retire", "unchanged", "conflict"]
ACTIONS: tuple[Action, ...] = ("create", "update", "retire", "unchanged", "conflict")

EDITED = "someone else has changed it on the server since the last push"
RETYPED = "the mapping set writes this fact as another type of resource now: take it out of the case, push, and bring it back"
DELETED = "someone else has deleted it on the server"
FOREIGN = "it is on the server with other content, and this outbox did not write it there"


@dataclass(frozen=True)
class Wanted:
    """A converted case: its resources in canonical form, by identity and in order.

    `case` is the identity of its Patient, `system` that of all identities, `deployment` the code of this deployment's tag;
    `source` is a keyed digest of the record, `mapping` the canonical URL and version of the set that it was converted with, and
    `types` are all that this set can write: facts that have left the case may be of any of them.
    """

    case: str
    system: str
    deployment: str
    source: str
    mapping: str
    resources: Mapping[str, Resource] = field(repr=False)
    types: Sequence[str] = ()


@dataclass(frozen=True)
class Known:
    """What is known of one resource on the server.

    `wanted` and `stored` are digests from the last push that was confirmed: of what we sent, and of what the server then held;
    None where this outbox wrote nothing. `current` is what the server holds now (canonical), None where it was not read.
    """

    resource_type: str
    resource_id: str
    version: str
    updated: str = ""
    wanted: str | None = None
    stored: str | None = None
    current: Resource | None = field(default=None, repr=False)
    gone: bool = False
    retired: bool = False

    @property
    def is_edited(self) -> bool:
        """Whether the server is known to hold something else than it held after our last push."""
        return self.current is not None and digest_of(self.current) != self.stored


@dataclass(frozen=True)
class Step:
    """What happens to one resource; `reason` says why where that is not plain."""

    action: Action
    identity: str
    resource_type: str
    resource_id: str = ""
    version: str = ""
    digest: str = ""
    reason: str = ""
    changes: tuple[Difference, ...] = field(default=(), repr=False)

    @property
    def key(self) -> str:
        """What a plan that was approved is compared by: a step with another key is not the one that was approved."""
        return " ".join((self.action, self.identity, self.version or "-", self.digest or "-"))


def decide(wanted: Wanted, known: Mapping[str, Known], *, overwrite: bool = False) -> list[Step]:
    """One step for each resource of the case and for each that is known on the server and no longer of the case.

    `overwrite`: what someone else changed is replaced; otherwise it is a conflict, if we want to change it too.
    """
    steps = [_step(identity, one, known.get(identity), overwrite) for identity, one in wanted.resources.items()]
    left = ((identity, one) for identity, one in known.items() if identity not in wanted.resources)
    return steps + [step for identity, one in left if (step := _retire(identity, one, overwrite))]


def changes_of(steps: Iterable[Step]) -> Iterator[Step]:
    return (step for step in steps if step.action not in ("unchanged", "conflict"))


def _step(identity: str, resource: Resource, known: Known | None, overwrite: bool) -> Step:
    digest, resource_type = digest_of(resource), str(resource["resourceType"])
    if known is None:
        return Step("create", identity, resource_type, digest=digest)

    def step(action: Action, reason: str = "") -> Step:
        found = tuple(differences(known.current, resource)) if known.current is not None and action != "unchanged" else ()
        place = (known.resource_id, known.version)
        return Step(action, identity, resource_type, *place, digest=digest, reason=reason, changes=found)

    if known.resource_type != resource_type:
        return step("conflict", RETYPED)
    if known.gone:
        return (
            Step("create", identity, resource_type, digest=digest, reason=DELETED) if overwrite else step("conflict", DELETED)
        )
    is_same = known.wanted == digest and not known.retired
    if known.current is not None and digest_of(known.current) == digest:
        return step("unchanged")
    if known.is_edited and not overwrite:
        # A fact that we do not want to change stays as someone else has made it.
        return step("unchanged", EDITED) if is_same else step("conflict", EDITED if known.stored else FOREIGN)
    return step("unchanged") if is_same and not known.is_edited else step("update")


def _retire(identity: str, known: Known, overwrite: bool) -> Step | None:
    """The fact is no longer in the case. None where it is retired or gone already."""
    if known.gone or (known.retired if known.current is None else is_retired(known.current)):
        return None
    place = (known.resource_type, known.resource_id, known.version)
    if known.is_edited and not overwrite:
        return Step("conflict", identity, *place, reason=EDITED if known.stored else FOREIGN)
    return Step("retire", identity, *place, reason="it is no longer in the case")
