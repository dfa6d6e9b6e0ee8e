"""Casebridge as processes of their own: `casebridge serve` and the other commands, and what they opened and wrote."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import ROOT
from tests.faults.routes import Ask

WATCH = Path(__file__).parent / "watch"
# No test takes as long as this: it ends a test that would wait for ever.
PATIENCE = 60


@dataclass(frozen=True)
class Answer:
    """An HTTP answer, as far as the tests look at it."""

    status: int
    headers: http.client.HTTPMessage
    data: bytes


@dataclass(frozen=True)
class Opened:
    """One event of the watched process: `name` as the audit hook has it, `what` as Python writes it."""

    name: str
    what: str


@dataclass(frozen=True)
class Place:
    """A folder in which a process lives: its home, its temporary files, what it says, and the notes of what it opens."""

    root: Path

    @property
    def notes(self) -> Path:
        return self.root / "opened"

    @property
    def log(self) -> Path:
        return self.root / "log"

    def environment(self, **more: str) -> dict[str, str]:
        """Nothing of the test's own environment but the path; Python leaves no files of its own."""
        for name in ("home", "tmp", "here", "user"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.root / "user"),
            "PYTHONPATH": f"{WATCH}{os.pathsep}{ROOT}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "CASEBRIDGE_HOME": str(self.root / "home"),
            "TMPDIR": str(self.root / "tmp"),
            "WATCHED": str(self.notes),
            **more,
        }

    def opened(self) -> list[Opened]:
        return [Opened(*line.split("\t", 1)) for line in self.notes.read_text(encoding="utf-8").splitlines()]


def casebridge(
    place: Place, *arguments: str | Path, before: Sequence[str] = (), **more: str
) -> subprocess.CompletedProcess[bytes]:
    """Runs the command to its end. `before`: the words of a program that runs it."""
    words = [*before, sys.executable, "-m", "service", *map(str, arguments)]
    environment = place.environment(**more)
    return subprocess.run(words, cwd=place.root / "here", env=environment, capture_output=True, timeout=PATIENCE, check=False)


@dataclass(frozen=True)
class Served:
    """A running service, on loopback."""

    place: Place
    port: int
    process: subprocess.Popen[bytes]

    def ask(self, ask: Ask) -> Answer:
        """One request on a connection of its own."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)) as connection:
            connection.putrequest(ask.method, ask.address)
            length = len(ask.data) if ask.length is None else ask.length
            for name, value in {**ask.headers, "Connection": "close", "Content-Length": str(length)}.items():
                connection.putheader(name, value)
            connection.endheaders(ask.data)
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())

    @contextmanager
    def connected(self) -> Iterator[socket.socket]:
        """A connection to write to byte by byte."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as connection:
            yield connection

    def peak(self) -> int:
        """The most memory that the process and its workers ever held, in bytes: VmHWM of https://man7.org/linux/man-pages/man5/proc_pid_status.5.html"""
        status = [_status(pid) for pid in (self.process.pid, *_children(self.process.pid))]
        return sum(int(one["VmHWM"].split()[0]) * 1024 for one in status)

    def is_alive(self) -> bool:
        return self.process.poll() is None and self.ask(Ask("GET", "/health/live")).status == 200

    def workers(self) -> list[int]:
        return _children(self.process.pid)


@contextmanager
def served(place: Place, **environment: str) -> Iterator[Served]:
    """`casebridge serve` on a free port, ready to answer; ended when it is left."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = [sys.executable, "-m", "service", "serve", "--port", str(port)]
    with place.log.open("wb") as log:
        given = place.environment(**environment)
        process = subprocess.Popen(words, cwd=place.root / "here", env=given, stdout=log, stderr=log)
    try:
        _wait_until_it_listens(process, port)
        yield Served(place, port, process)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE)


def _wait_until_it_listens(process: subprocess.Popen[bytes], port: int) -> None:
    while True:
        with suppress(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=PATIENCE).close()
            return
        with suppress(subprocess.TimeoutExpired):
            raise RuntimeError(f"the service ended with {process.wait(0.05)} before it listened")


def _children(pid: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if _status(int(path.name))["PPid"] == str(pid):
                found.append(int(path.name))
    return sorted(found)


def _status(pid: int) -> Mapping[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines()
    return {name: value.strip() for name, _colon, value in (line.partition(":") for line in lines)}
