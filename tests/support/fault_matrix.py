"""The fault matrix: its 44 rows, and which of them a test is about. What a run says of them is in fault_run."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One promise: a fault or bad input, what must then happen, and how the fault is injected."""

    id: str
    fault: str
    required: str
    injected: str


ROWS = tuple(
    Row(*texts)
    for texts in (
        (
            "R-01",
            "the reply is lost after the server committed",
            "one copy of each resource after the retry, and the report says that the outcome was confirmed",
            "a proxy drops the reply",
        ),
        (
            "R-02",
            "the same case is pushed twice",
            "the second run writes nothing: no new version on the server, and the report says unchanged",
            "a second push; versions compared",
        ),
        (
            "R-03",
            "killed at any moment, then started again",
            "the server ends in the state of a run that nobody interrupted",
            "SIGKILL to the pushing process",
        ),
        (
            "R-04",
            "eight processes push one case at the same time",
            "one copy of each resource, and every process ends well",
            "eight processes",
        ),
        (
            "R-05",
            "409 once, for a conditional create or a version",
            "the same request is sent again after a jittered wait and succeeds, within the bound of attempts",
            "a scripted server",
        ),
        (
            "R-06",
            "412: the condition matches more than one resource",
            "not sent again; the case is set aside with the reason, and other cases go on",
            "two Patients made beforehand",
        ),
        (
            "R-07",
            "a resource was edited on the server since the last sync",
            "If-Match is sent; 409 or 412 makes it a conflict, the server's copy stays, and the difference is shown",
            "an edit between two runs",
        ),
        (
            "R-08",
            "a batch is answered 200 with 4xx entries in it",
            "each such entry is listed, and the exit code is not 0",
            "a bad reference in a batch",
        ),
        (
            "R-09",
            "fewer entries in the response than in the request",
            "never paired by position: verified by a search, and no wrong id is kept",
            "a server that drops an entry",
        ),
        (
            "R-10",
            "two entries with one condition or one fullUrl in our own bundle",
            "refused before anything is sent, and both items are named",
            "a crafted case",
        ),
        (
            "R-11",
            "429 or 503 with Retry-After, in seconds or as a date",
            "no request to that host before the time; then the run completes",
            "a scripted server; its journal is read",
        ),
        (
            "R-12",
            "Retry-After of 10^9 seconds, negative, or garbage",
            "capped by the configuration; the job is parked, no thread waits, and its status says when it is next tried",
            "a scripted server",
        ),
        (
            "R-13",
            "500 or a reset connection without end",
            "exponential backoff with full jitter, bounded in attempts and time; then set aside, others unharmed",
            "a scripted server",
        ),
        (
            "R-14",
            "401 in the middle of a sync",
            "the token is renewed once and the request sent once more; a second 401 fails plainly; no token is shown",
            "a scripted token server",
        ),
        (
            "R-15",
            "one entry is 422 for ever",
            "set aside with its payload and the server's OperationOutcome; sent again on demand, once it is mended",
            "a scripted server",
        ),
        (
            "R-16",
            "the server's limit: 413, or a number of entries",
            "split into parts that hold whatever they refer to, or refused with the number; no reference dangles",
            "a server with a cap",
        ),
        (
            "R-17",
            "the disk is full when a case is accepted",
            "503 or 507 before anything is acknowledged; cases acknowledged before survive",
            "a file system or file size limit",
        ),
        (
            "R-18",
            "another process holds the outbox locked",
            "waits as long as it is configured to, then 503 with Retry-After; never 500, and nothing is lost",
            "a second process with an exclusive lock",
        ),
        (
            "R-19",
            "SIGTERM under load",
            "new work is refused with 503, the state is saved, the process ends with 0, and nothing is lost",
            "SIGTERM to the service",
        ),
        (
            "R-20",
            "the link to the next page leads to another host",
            "not followed, and named in the report; that host hears nothing",
            "a proxy rewrites the link",
        ),
        (
            "R-21",
            "a redirect to another host or port, with an API key configured",
            "not followed: no secret goes there, and no POST becomes a GET",
            "two scripted servers",
        ),
        (
            "R-22",
            "410 for a page that expired in the middle of a pull",
            "the query begins anew from the last checkpoint; nothing comes twice and nothing is missing",
            "an expired page id",
        ),
        (
            "R-23",
            "the body is cut: shorter than its length, chunked without an end, or closed early",
            "asked for again; nothing is stored by halves",
            "a proxy truncates",
        ),
        (
            "R-24",
            "an empty page with a link to the next; a row deleted between two pages",
            "the pull goes on to the end",
            "a deletion between two pages",
        ),
        (
            "R-25",
            "the server answers searches from its cache",
            "a pull right after a push sees the data: every read asks for what is stored now",
            "a cache of 60 s; the journal is read",
        ),
        (
            "R-26",
            "the link to the next page leads to itself or to a page seen before",
            "the pull ends with an error, after a bounded number of pages",
            "a scripted server",
        ),
        (
            "R-27",
            "a change in the same millisecond as the watermark",
            "the next pull has it: the windows overlap, and what came before is told by id and version",
            "a scripted server with a fixed lastUpdated",
        ),
        (
            "R-28",
            "a server that sends a few bytes now and then, for ever",
            "the deadline of the whole request is kept",
            "a proxy drips",
        ),
        (
            "R-29",
            "JSON 100,000 levels deep; a flat body of 50 MB",
            "400 or 413 with an OperationOutcome, bounded work and memory, and the process lives",
            "bodies to every endpoint that takes one",
        ),
        (
            "R-30",
            "NaN, Infinity and 1e999",
            "400 with the place, and never repeated",
            "bodies to every endpoint that takes one",
        ),
        (
            "R-31",
            "a key twice in one JSON object, at any depth",
            "400 with the place and the key",
            "bodies to every endpoint that takes one",
        ),
        (
            "R-32",
            "decimals: 4.50, 0.010, 19, 12345678901234567890.123",
            "kept to the letter from the case to the server and back",
            "convert, push, pull, compare",
        ),
        (
            "R-33",
            "a dateTime without offset or seconds, 24:00, 30 February",
            "refused with the place; no offset, second or day is ever guessed",
            "cases and Bundles",
        ),
        (
            "R-34",
            "partial dates (a year, a month) and days counted from an event",
            "as precise as they were written, both ways; a relative day stays relative, and no day is invented",
            "cases",
        ),
        (
            "R-35",
            "fields that no row reads; elements that no row reads",
            "named with their place; 422 unless the caller asked to be lenient, and then still named",
            "cases and Bundles with more in them",
        ),
        (
            "R-36",
            "invalid UTF-8, UTF-16 and UTF-32, a byte order mark, half a surrogate pair, NUL",
            "400 with the place; a byte order mark is skipped, as RFC 8259 allows; never 500",
            "bodies to every endpoint that takes one",
        ),
        (
            "R-37",
            "mapping YAML: a key twice, NO, 12:30, a Python tag, an alias bomb",
            "refused with line and column, or read as the text that stands there",
            "mapping sets as files",
        ),
        (
            "R-38",
            "mapping names: ../../etc/passwd plain and encoded, absolute, a symbolic link",
            "404, and no file outside the folder of the sets is opened",
            "addresses and queries; every file opened is watched",
        ),
        (
            "R-39",
            "a canary in every field, in every fault of this table",
            "no log, metric, file name or error body shows it, unless the operator asked for values",
            "a canary in each leaf; everything written is searched",
        ),
        (
            "R-40",
            "server URLs: 169.254.169.254, file:, ftp:, loopback unless allowed, user:pass@",
            "refused before any connection",
            "URLs; the journal stays empty",
        ),
        (
            "R-41",
            "<script>, onerror and javascript: in names and narratives",
            "shown as text; the policy of the page runs no inline script, and no narrative is put into a page",
            "an HTML parser, and the DOM of a browser",
        ),
        (
            "R-42",
            "404, 405, 406, 413, 415 and 500 on every route",
            "an OperationOutcome as application/fhir+json with a request id, and no stack trace",
            "requests to every route",
        ),
        (
            "R-43",
            "convert and validate without a network",
            "the full result, and no socket is opened",
            "no network; every socket is counted",
        ),
        (
            "R-44",
            "10,000 submissions while the server is down",
            "the queue is bounded, 429 or 503 with Retry-After, memory stays flat; all goes out in order later",
            "a scripted server that is down",
        ),
    )
)

_IDS = frozenset(row.id for row in ROWS)


def row_of(test: str) -> str | None:
    """The row that a test is about, by its name: test_r29_deep_json_is_refused."""
    named = re.match(r"test_r(\d\d)_", test)
    row = f"R-{named[1]}" if named else ""
    return row if row in _IDS else None
