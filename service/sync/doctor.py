"""Examining a server: what a push will do there, and what is not possible; by its own word, and by trying it out.

Only `_try` writes, and what it writes is deleted in the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_address
from typing import Final, Literal

from service.errors import ServerRefused, ServerUnavailable
from service.fhir.search import condition
from service.issues import Issue
from service.sync.abilities import Abilities, abilities, remember, unfit
from service.sync.chunks import MOST_ENTRIES, after_refusal
from service.sync.origins import origin
from service.sync.outbox import Outbox
from service.sync.push import LIMIT
from service.sync.server import FhirServer, Resource
from service.sync.trial import MADE, NEVER, PROBE, Trial, member, members

Verdict = Literal["ok", "note", "warn", "no"]

# The types that mapping sets write, and what a push adds to them.
USUAL: Final = (
    *("BodyStructure", "Condition", "Consent", "MedicationAdministration", "MedicationStatement", "Observation", "Patient"),
    *("Procedure", "Provenance", "RelatedPerson"),
)

_COLOURS: Final = {"ok": "green", "note": "blue", "warn": "yellow", "no": "red"}
_STALE: Final = "Casebridge probe, by a stale version"
# From which difference on a clock is wrong, in seconds.
_OFF: Final = 300


@dataclass(frozen=True)
class Finding:
    """`verdict`: ok; note, push goes about it in another way; warn, it works with a risk; no, push cannot be done so.

    `text`: a plain sentence with what push will do there or what is not possible, and how to mend it.
    """

    verdict: Verdict
    topic: str
    text: str

    @property
    def colour(self) -> str:
        """A colour by the name that terminals have for it."""
        return _COLOURS[self.verdict]

    def to_json(self) -> dict[str, str]:
        return {"verdict": self.verdict, "topic": self.topic, "text": self.text}


@dataclass(frozen=True)
class _Exam:
    """What the probes know of the server, and what they try it out with."""

    server: FhirServer
    outbox: Outbox
    statement: Resource
    able: Abilities
    now: float
    trial: Trial


# What a probe says: with the topic under which it stands in its table, each pair becomes a Finding.
Said = Iterator[tuple[Verdict, str]]
Probe = Callable[[_Exam], Said]


def examine(server: FhirServer, outbox: Outbox, *, probe: bool, now: float) -> list[Finding]:
    """What there is to say of a server, by topic; `probe`: also by writing there. `now`: our time, in seconds since 1970.

    Remembers what push asks of a server first, and how many entries it takes. Raises ServerUnavailable and ServerRefused where
    not even its CapabilityStatement can be had; all that fails later is a finding.
    """
    statement = server.capabilities()
    exam = _Exam(server, outbox, statement, abilities(statement), now, Trial(server))
    issues = list(unfit(exam.able, USUAL))
    remember(outbox, server.base, exam.able, now)
    findings = [*_run(_ASKED, exam), *(Finding("no", "push", _words(issue)) for issue in issues)]
    if any(unfit(exam.able, ())):
        return findings  # it is not a server for us, whatever else it can do
    if not probe:
        return [*findings, *_run(_TOLD, exam)]
    if exam.able.types and "Basic" not in exam.able.types:
        text = "nothing was tried, for the server does not take resources of type Basic, which would be written for it"
        return [*findings, Finding("note", "probes", text), *_run(_TOLD, exam)]
    return findings + _try(exam)


def _run(probes: Mapping[str, Probe], exam: _Exam) -> Iterator[Finding]:
    """What each probe finds, and what kept one from finding it."""
    for topic, probe in probes.items():
        try:
            for verdict, text in probe(exam):
                yield Finding(verdict, topic, text)
        except ServerUnavailable as error:
            yield Finding("warn", topic, f"not tried to the end: {_words(error.issues[0])}")
        except ServerRefused as error:
            yield Finding("no", topic, f"not possible: {_words(error.issues[0])}")


def _try(exam: _Exam) -> list[Finding]:
    findings: list[Finding] = []
    left: list[Finding] = []
    try:
        findings += _run({"transaction": _transaction}, exam)
        findings += _run(_TRIED if exam.trial.places else {topic: _TOLD[topic] for topic in _TRIED}, exam)
    finally:
        left += _clean(exam.trial)
    return findings + left


def _clean(trial: Trial) -> Iterator[Finding]:
    if not trial.clean():
        text = f"resources of type Basic may be left behind: delete those whose identifier of {PROBE} begins with {trial.run}"
        yield Finding("warn", "probes", text)


# What is asked in any case -------------------------------------------------------------------------------------------


def _version(exam: _Exam) -> Said:
    version, software = exam.able.fhir_version, exam.able.software
    if not version:
        yield "warn", "the server does not say which FHIR it speaks; push writes R4: see whether this is an R4 endpoint"
    elif version.startswith("4.0"):
        yield "ok", f"the server says that it speaks FHIR {version}" + (f", and that it is {software}" if software else "")


def _encryption(exam: _Exam) -> Said:
    place = origin(exam.server.base)
    if place.scheme == "https":
        yield "ok", "what is sent there is encrypted"
    elif _is_here(place.host):
        yield "ok", "what is sent there is not encrypted, but does not leave this machine"
    else:
        yield "warn", "what is sent there is not encrypted, and leaves this machine: name the server by https"


def _login(exam: _Exam) -> Said:
    exam.server.search("Patient", [("_summary", "count")])
    yield "ok", "the server lets us in and lets us search for patients: tried"


def _reading(exam: _Exam) -> Said:
    if exam.able.everything:
        yield "ok", "the server says that it gives all that it holds of a patient at once ($everything): a case is read so"
    else:
        yield "note", "the server does not say that it has $everything: a case is read by a search for each type of resource"


def _ids(exam: _Exam) -> Said:
    rest = next(iter(members(exam.statement.get("rest"))), {})
    takes = any(one.get("updateCreate") is True for one in members(rest.get("resource")))
    says = "says" if takes else "does not say"
    yield "ok", f"the server {says} that clients may choose ids; push leaves that to the server"


# What is only told where nothing is tried ----------------------------------------------------------------------------


def _told_transaction(_exam: _Exam) -> Said:
    yield "ok", "the server says that it takes transactions, by which a case is written"


def _open(whether: str) -> Probe:
    def tell(_exam: _Exam) -> Said:
        yield "note", f"not tried: --probe would tell whether {whether}"

    return tell


def _told_conditional(exam: _Exam) -> Said:
    if exam.able.conditional_create:
        yield "ok", "the server says that it creates on a condition, so that what is sent twice is stored once"
    else:
        yield "note", "not tried: --probe would tell whether what is sent twice is stored once (conditional create)"


def _told_clock(exam: _Exam) -> Said:
    yield from _compared(exam.server.search("Patient", [("_summary", "count")]), exam.now)


def _told_limit(exam: _Exam) -> Said:
    if most := exam.outbox.recall(exam.server.base, LIMIT):
        yield "note", f"a case is sent in parts of at most {most} entries, as the server has asked for before"
    else:
        yield "note", f"not tried: --probe would tell whether a bundle may have {MOST_ENTRIES} entries; push finds out too"


# What is tried -------------------------------------------------------------------------------------------------------


def _transaction(exam: _Exam) -> Said:
    trial = exam.trial
    try:
        trial.search()  # so that a cache has something stale to give once they are there
        reply = trial.create()
    except ServerRefused as error:
        yield "warn", f"resources of type Basic were refused, and so nothing else was tried: {_words(error.issues[0])}"
        return
    if not trial.places:
        trial.places = trial.found()
    if reply.get("type") == "transaction-response":
        yield "ok", "the server takes transactions, by which a case is written: tried"
    else:
        yield "warn", "the server did not answer a transaction as one: look at each report for entries that were not stored"


def _cache(exam: _Exam) -> Said:
    trial = exam.trial
    if trial.found() >= trial.places:
        yield "ok", "a search shows at once what was written, if it asks for no cached result, as ours do: tried"
    else:
        text = "a search does not show what was just written, though it asks for no cached result: after a lost answer, push"
        yield "no", f"{text} could not tell what the server has stored. Have its search cache or its delayed index turned off"


def _conditional(exam: _Exam) -> Said:
    trial = exam.trial
    trial.create()
    trial.places |= trial.found()
    if len(trial.places) == len(MADE):
        yield "ok", "what is sent twice, as after a lost answer, is stored once (conditional create): tried"
    else:
        yield "no", "what is sent twice, as after a lost answer, is stored twice: have conditional create enabled there"


def _if_match(exam: _Exam) -> Said:
    trial = exam.trial
    held = trial.read(min(trial.places))
    if not member(held.get("meta")).get("versionId"):
        yield "no", "the server gives resources no versions, and an update has to name one: have versioning enabled there"
        return
    trial.change(held, "Casebridge probe, changed")
    status = 0
    try:
        trial.change(held, _STALE, trial.post(NEVER))
    except ServerRefused as error:
        status = error.status
    if member(trial.read(min(trial.places)).get("code")).get("text") == _STALE:
        yield "no", "an update by an old version goes through: someone else's edit could be overwritten silently. Do not push"
    elif status in (409, 412):
        yield "ok", f"an update by an old version is refused ({status}): nobody's edit is overwritten silently, tried"
    else:
        text = f"answered with {status}, neither 409 nor 412" if status else "not made, but not refused either"
        yield "warn", f"an update by an old version is {text}: push would not call that a conflict. See the server's settings"
    if status and members(trial.search(names=[NEVER]).get("entry")):
        yield "warn", "a transaction that was refused is stored in part: a case may stand there in part, until a push succeeds"


def _paging(exam: _Exam) -> Said:
    trial = exam.trial
    if len(members(trial.search(("_count", "1"), names=MADE).get("entry"))) > 1:
        yield "note", "the server put three results on one page, though one a page was asked for: its paging could not be tried"
        return
    found = trial.found(("_count", "1")) & trial.places
    if len(found) == len(trial.places):
        yield "ok", "the pages of a search lead through all results, and stay on this server: tried"
    else:
        text = f"the pages of a search give {len(found)} of {len(trial.places)} results: a long case could not be read whole"
        yield "no", f"{text}. Report it to whoever runs the server"


def _limit(exam: _Exam) -> Said:
    most = _most_taken(exam)
    if most is None:
        yield "note", "transactions of searches are refused, so the limit could not be tried; push finds out"
        return
    if most < MOST_ENTRIES or exam.outbox.recall(exam.server.base, LIMIT):
        exam.outbox.remember(exam.server.base, LIMIT, str(most))
    if most < MOST_ENTRIES:
        yield "note", f"a case is sent in parts of at most {most} entries, for the server takes no more: tried"
    else:
        yield "ok", f"the server takes bundles of {most} entries: tried"


def _most_taken(exam: _Exam) -> int | None:
    """How many entries the server takes, by ever smaller transactions of counts (HAPI's limit is not for batches); None where
    it refuses them for another reason."""
    request = {"method": "GET", "url": f"Basic?{condition('identifier', PROBE, exam.trial.run)}&_summary=count"}
    most = MOST_ENTRIES
    while most > len(MADE):  # so many it has taken
        try:
            exam.trial.submit("transaction", [{"request": request}] * most)
            break
        except ServerRefused as refusal:
            fewer = after_refusal(refusal, most)
            if fewer is None:
                return None
            most = max(fewer, len(MADE))
    return most


def _clock(exam: _Exam) -> Said:
    yield from _compared(exam.trial.read(min(exam.trial.places)), exam.now)


def _compared(resource: Resource, now: float) -> Said:
    """The server's clock, by when it says that it wrote or answered, against ours."""
    try:
        theirs = datetime.fromisoformat(str(member(resource.get("meta")).get("lastUpdated")))
    except ValueError:
        theirs = None
    if theirs is None or theirs.tzinfo is None:
        yield "note", "the server does not say what time it has"
        return
    off = theirs.timestamp() - now
    if abs(off) <= _OFF:
        yield "ok", "its clock and ours agree"
        return
    way = "ahead of" if off > 0 else "behind"
    text = f"its clock is {abs(off) / 60:.0f} minutes {way} ours: a login may fail, and our Provenance has other times than it"
    yield "warn", f"{text}. Set the clock that is wrong"


# The tables. Every probe stands under its topic; those that are tried go by what the first of them have made.
_ASKED: Final[Mapping[str, Probe]] = {
    "version": _version,
    "encryption": _encryption,
    "login": _login,
    "reading": _reading,
    "ids": _ids,
}
_TOLD: Final[Mapping[str, Probe]] = {
    "transaction": _told_transaction,
    "search cache": _open("a search shows at once what was written"),
    "conditional create": _told_conditional,
    "If-Match": _open("an update by an old version is refused"),
    "paging": _open("the pages of a search lead through all results"),
    "bundle size": _told_limit,
    "clock": _told_clock,
}
_TRIED: Final[Mapping[str, Probe]] = {
    "search cache": _cache,
    "conditional create": _conditional,
    "If-Match": _if_match,
    "paging": _paging,
    "bundle size": _limit,
    "clock": _clock,
}


# Reading what a stranger sends ---------------------------------------------------------------------------------------


def _words(issue: Issue) -> str:
    return f"{issue.text}. To mend it: {issue.fix}" if issue.fix else issue.text


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
