"""A site whose server is the scripted one over HTTP: the whole of push and pull, and all that waits waits on one clock."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from service.cli import main
from service.config import Access
from service.engine import Engine
from service.sync.canonical import URN, identity_of, reference_to
from service.sync.memory_store import references
from service.sync.outbox import Job
from service.sync.rest import Limits, RestServer
from service.sync.server import Resource
from service.sync.worker import Drain
from tests.support.deployment import Clock, Deployment, small
from tests.support.fake_fhir import PATH, FakeFhir
from tests.support.faults import CANARY
from tests.support.http_faults import When
from tests.support.loopback import Exchange, Reply, Request, fhir_reply

NOBODY = Access()
NORMAL = Limits()


class Scripted(FakeFhir):
    """The fake server on the site's clock. `times` has when each request of the journal came, `replies` what was answered when
    one was carried out, `dangling` the references that led nowhere after any of them; `left`: a client went away early."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.clock = Clock()
        self.times: list[float] = []
        self.replies: list[Reply] = []
        self.dangling: set[str] = set()
        self.left = threading.Event()

    def enter(self, *arguments: Any) -> Request:
        self.times.append(self.clock())
        return super().enter(*arguments)

    def answer(self, request: Request) -> Reply:
        reply = super().answer(request)
        self.replies.append(reply)
        if request.method != "GET":
            there = self.memory.all()
            named = {one for held in there for one in references(held) if not one.startswith("#")}
            self.dangling |= named - {reference_to(held) for held in there}
        return reply

    def treat(self, exchange: Exchange) -> None:
        try:
            super().treat(exchange)
        except ConnectionError:
            self.left.set()
            raise

    def asked(self, when: When) -> list[Request]:
        """The requests of a kind, in order."""
        return [request for request in self.journal if when(request)]

    def when(self, when: When) -> list[float]:
        """When those requests came."""
        return [time for time, request in zip(self.times, self.journal, strict=True) if when(request)]

    @property
    def facts(self) -> list[Resource]:
        return [one for one in self.memory.all() if one["resourceType"] != "Provenance"]


# Kinds of requests ----------------------------------------------------------------------------------------------------


def transaction(request: Request) -> bool:
    return request.body.startswith(b'{"resourceType":"Bundle","type":"transaction"')


def searching(request: Request) -> bool:
    return request.path.endswith("/_search")


def page(request: Request) -> bool:
    return "_getpages" in request.path


def reading(request: Request) -> bool:
    """What looks at the case: no transaction, and nothing about the server itself."""
    return (
        request.path.startswith(PATH) and not transaction(request) and not request.path.endswith(("metadata", "configuration"))
    )


def of(text: str) -> When:
    """The transactions that hold a text, as the identity of a case."""
    return lambda request: transaction(request) and text.encode() in request.body


# The site -------------------------------------------------------------------------------------------------------------


@contextmanager
def deployed(
    engine: Engine, home: Path, fake: Scripted, access: Access = NOBODY, limits: Limits = NORMAL, **options: Any
) -> Iterator[Deployment]:
    clock = fake.clock
    rest = RestServer(fake.base, access, limits, sleep=clock.sleep, clock=clock, now=clock)
    with rest, Deployment(engine, home, rest, **options) as site:
        site.clock = clock
        yield site


class _Stop(threading.Event):
    """Never set from outside; to wait for it sets the clock forward."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def wait(self, timeout: float | None = None) -> bool:
        self._clock.sleep(timeout or 0)
        return self.is_set()


def drain(site: Deployment, *, wait: float = math.inf) -> None:
    """The worker of a service, on the site's clock: until nothing is open, or nothing falls due within `wait` seconds."""
    stop, now = _Stop(site.clock), site.clock
    Drain(site.outbox, lambda _: site.server, stop=stop, now=now, threads=1, wait=wait, patience=site.patience).work()


def identities(site: Deployment, record: dict[str, Any]) -> set[str]:
    """The full URLs of a case's resources."""
    return {URN + identity for identity in site.wanted(record).resources}


def texts(job: Job) -> list[str]:
    """What a job's report says went wrong."""
    assert job.report is not None
    return [issue["details"]["text"] for issue in job.report["outcome"]["issue"]]


def once(site: Deployment, fake: Scripted, *records: dict[str, Any]) -> bool:
    """Whether the server holds one copy of each resource of these cases, and nothing else; and the ledger knows each under its
    own id and version."""
    wanted = [site.wanted(record) for record in records]
    there = {identity_of(one, site.transfer.system): _version(one) for one in fake.facts}
    rows = [row for one in wanted for row in site.outbox.ledger(site.server.base, one.case).values()]
    assert there.keys() == {identity for one in wanted for identity in one.resources}
    assert len(fake.facts) == len(there)
    assert {row.identity: (row.resource_type, row.resource_id, row.version) for row in rows} == there
    return True


def _version(resource: Resource) -> tuple[str, str, str]:
    return resource["resourceType"], resource["id"], resource["meta"]["versionId"]


def long() -> dict[str, Any]:
    """The small case with twelve lab values more, and a canary in each."""
    labs = [{"test": "IgG", "when": f"2020-02-{day}", "value": day, "unit": "g/L", "note": CANARY} for day in range(11, 23)]
    return small(change=lambda record: record["labs"].extend(labs))


def changed(record: dict[str, Any]) -> dict[str, Any]:
    """The case with another value in its first lab."""
    first, *others = record["labs"]
    return {**record, "labs": [{**first, "value": 77}, *others]}


def casebridge(*words: str | Path) -> Result:
    """Runs the command in this process. R-39: it shows no value."""
    done = CliRunner().invoke(main, [str(word) for word in words])
    assert CANARY.lower() not in done.output.lower()
    return done


# What servers say -----------------------------------------------------------------------------------------------------


def outcome(diagnostics: str = CANARY) -> Resource:
    """An OperationOutcome that repeats a value of the case wherever a server could."""
    issue = {
        "severity": "error",
        "code": "invalid",
        "details": {"text": CANARY, "coding": [{"system": CANARY, "code": CANARY, "display": CANARY}]},
        "diagnostics": diagnostics,
        "location": [CANARY],
        "expression": [f"Patient.{CANARY}"],
    }
    return {"resourceType": "OperationOutcome", "issue": [issue]}


def said(status: int, body: Resource, **headers: str) -> Callable[[Exchange], None]:
    """Answers so, and carries nothing out."""
    return lambda exchange: exchange.send(fhir_reply(status, body, headers))
