"""Cases to a FHIR server and back. What takes long is a job: 202, and its address in Content-Location.

Source: http://hl7.org/fhir/R4/async.html
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping
from typing import Any

from flask import Blueprint, Response, request, url_for

from service.api import pulling
from service.api.answers import FHIR_JSON, answer, outcome
from service.api.engines import chosen
from service.api.errors import Refused
from service.api.incoming import BOOLEANS, body, is_set, must_accept_json, query
from service.api.pulls import Pull
from service.api.sync import sync
from service.errors import Usage
from service.issues import Issue, has_errors
from service.sync.forms import of_case, of_job, of_plan
from service.sync.outbox import OPEN, Job
from service.sync.plan import Wanted
from service.sync.push import preview
from service.transfer import Transfer

blueprint = Blueprint("sync", __name__, url_prefix="/sync")

NDJSON = "application/x-ndjson"
# What the outbox calls all jobs that came in here.
_RUN = "http"
_ID = re.compile(r"[0-9a-f]{32}")
# The longest that a client is told to wait before it asks for a job again, in seconds.
_LONGEST_WAIT = 60


@blueprint.before_request
def _must_accept() -> None:
    must_accept_json(*([NDJSON] if request.endpoint == "sync.show_job" else []))


@blueprint.post("/push")
def push() -> Response:
    """A case → the job that brings it to the server. It is on disk before this is answered."""
    options = query(mapping=None, lenient=BOOLEANS, overwrite=BOOLEANS, server=None)
    here = sync()
    base = here.named(options.get("server"))
    here.must_go_on()
    transfer = Transfer(chosen(options))
    wanted, issues = _wanted(transfer, options)
    submission = transfer.submission(wanted, here.server(base).base, overwrite=is_set(options, "overwrite"))
    [job] = here.outbox().accept(_RUN, [submission])
    return _accepted(job.id, _with_issues("job", of_job(job), issues, options))


@blueprint.post("/plan")
def plan() -> Response:
    """A case → what a push of it would do now. Nothing is written."""
    options = query(mapping=None, lenient=BOOLEANS, overwrite=BOOLEANS, server=None)
    here = sync()
    base = here.named(options.get("server"))
    transfer = Transfer(chosen(options))
    wanted, issues = _wanted(transfer, options)
    server = here.ask(base)
    steps = preview(server, here.outbox(), wanted, overwrite=is_set(options, "overwrite"))
    planned = of_plan(server.base, transfer.mapping, [of_case("", wanted.case, steps)])
    return answer(_with_issues("plan", planned, issues, options))


@blueprint.post("/pull")
def pull() -> Response:
    """The case with an id, the cases of the patients with an identifier, or a job that pulls all of them."""
    options = query(mapping=None, server=None)
    here = sync()
    base = here.named(options.get("server"))
    transfer = Transfer(chosen(options))
    asked = pulling.read(body(declared=True))
    server = here.ask(base)
    if isinstance(asked, pulling.Many):
        here.must_go_on()
        job_id = here.pulls.start(pulling.task(here.outbox(), transfer, server, asked))
        return _accepted(job_id, {"id": job_id, "state": "queued", "cases": 0})
    found = pulling.pull_now(here.outbox(), transfer, server, asked)
    return answer(found[0] if len(found) == 1 else {"cases": found})


@blueprint.get("/jobs/<job_id>")
def show_job(job_id: str) -> Response:
    """202 while it goes on; then the job of a push with its report, or the cases of a pull."""
    here = sync()
    _must_be_id(job_id)
    if found := here.pulls.find(job_id):
        return _pull(job_id, found)
    job = here.outbox().job(job_id)
    response = answer(of_job(job))
    return _going_on(response, job.state.value, _left(job)) if job.state in OPEN else response


@blueprint.delete("/jobs/<job_id>")
def delete_job(job_id: str) -> Response:
    """Takes back a push that no one has begun to send, or a pull with what it has brought so far."""
    here = sync()
    _must_be_id(job_id)
    if here.pulls.find(job_id):
        here.pulls.delete(job_id)
    else:
        here.outbox().cancel(job_id, time.time())
    return Response(status=204)


def _wanted(transfer: Transfer, options: Mapping[str, str]) -> tuple[Wanted, list[Issue]]:
    """The case of the body, converted. Raises Refused for one that cannot be."""
    wanted, issues = transfer.wanted(body(declared=True), lenient=is_set(options, "lenient"))
    if wanted is None or has_errors(issues):
        raise Refused(issues)
    return wanted, issues


def _with_issues(name: str, result: dict[str, Any], issues: list[Issue], options: Mapping[str, str]) -> dict[str, Any]:
    """The result alone; or, where the caller was lenient, beside what was overlooked, as /convert has it."""
    return {name: result, "outcome": outcome(issues)} if is_set(options, "lenient") else result


def _accepted(job_id: str, result: dict[str, Any]) -> Response:
    response = answer(result, status=202)
    response.headers["Content-Location"] = url_for("sync.show_job", job_id=job_id)
    return response


def _pull(job_id: str, pull: Pull) -> Response:
    if pull.is_open:
        told = answer({"id": job_id, "state": pull.state, "cases": pull.cases})
        return _going_on(told, f"{pull.state}, {pull.cases} cases", 2)
    if pull.state == "failed":
        return answer(pull.outcome, status=pull.status, mimetype=FHIR_JSON)
    cases = sync().pulls.open(job_id)
    if cases is None:
        raise _not_found()
    return Response(cases, mimetype=NDJSON)


def _going_on(response: Response, progress: str, seconds: int) -> Response:
    response.status_code = 202
    response.headers["X-Progress"] = progress
    response.headers["Retry-After"] = str(seconds)
    return response


def _left(job: Job) -> int:
    return min(max(math.ceil(job.next_try - time.time()), 1), _LONGEST_WAIT)


def _must_be_id(job_id: str) -> None:
    # The command takes the beginning of an id; here that would let one client guess at the jobs of others.
    if not _ID.fullmatch(job_id):
        raise _not_found()


def _not_found() -> Usage:
    text, fix = "there is no job with this id", "take the address of the job from Content-Location"
    return Usage([Issue("error", "not-found", "sync-job-not-found", text, fix=fix)])
