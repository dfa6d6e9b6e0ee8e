"""What the tests of the outbox are made of: submissions, ledger entries, and workers that live or died elsewhere."""

from __future__ import annotations

import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from service.errors import CasebridgeError
from service.sync.outbox import Entry, Submission, Worker, default_url, this_worker

ROOT = Path(__file__).parents[2]
SERVER = "https://fhir.example.org/r4"
# Parameters of a fixture that gives the URL of an empty database of each kind, by `database_url`.
DATABASES = ("sqlite", pytest.param("postgres", marks=pytest.mark.postgres))


def database_url(request: pytest.FixtureRequest, folder: Path) -> str:
    if request.param == "postgres":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite:///{folder / 'outbox.db'}"


def submission(case: str = "case-1", **changes: Any) -> Submission:
    given = Submission(SERVER, case, f"{case}.json", b'{"resourceType":"Bundle"}', f"digest of {case}", "myeloma@1#abc")
    return replace(given, **changes)


def entry(identity: str = "patient", **changes: Any) -> Entry:
    given = Entry(identity, "Patient", "17", "1", "2026-01-02T03:04:05Z", f"digest of {identity}", "stored", retired=False)
    return replace(given, **changes)


def other_worker() -> Worker:
    """Another thread of this process, so one that lives."""
    return replace(this_worker(), thread=-1)


def dead_worker() -> Worker:
    """A process that had our number before us."""
    return replace(this_worker(), started="1")


def far_worker() -> Worker:
    """A process in another container, of which nobody here can tell whether it lives."""
    return replace(this_worker(), namespace="pid:[1]", pid=1)


@contextmanager
def running(code: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A Python process of its own, spoken to by lines; it ends with the block at the latest."""
    pipe = subprocess.PIPE
    command = [sys.executable, "-W", "error", "-c", code, *arguments]
    with subprocess.Popen(command, cwd=ROOT, text=True, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        try:
            yield process
        finally:
            process.kill()


def said(process: subprocess.Popen[str]) -> str:
    """The next line that it prints."""
    assert process.stdout is not None
    return process.stdout.readline().rstrip("\n")


# Code that runs `work(number)` in some processes at the same moment; forked, for each would take a second to import.
TOGETHER = """if True:
    import os, sys, traceback

    def together(processes, work):
        reader, writer = os.pipe()
        for number in range(processes):
            if os.fork() == 0:
                os.close(writer)
                os.read(reader, 1)  # ends when nobody can write any more
                try:
                    work(number)
                except BaseException:
                    traceback.print_exc()
                sys.stdout.flush()
                os._exit(0)
        os.close(writer)
        for number in range(processes):
            os.wait()
"""


def url_of(path: Path) -> str:
    return default_url(path.parent)


def all_of(error: BaseException) -> str:
    """Everything that an error may show to anybody."""
    return "".join(traceback.format_exception(error)) + repr(error) + repr(getattr(error, "issues", ""))


def rule_of(error: CasebridgeError) -> str:
    [issue] = error.issues
    return issue.rule
