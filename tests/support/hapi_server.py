"""A real FHIR server: HAPI's R4 JPA server on loopback, one Java process, built by Maven from tests/hapi-server.

Built on first use (which needs Maven Central, or the local Maven repository where it was filled before), offline ever after.
For tests: `running`, by the fixtures of tests/conftest.py. For trials and benches: scripts/hapi-server.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

ROOT: Final = Path(__file__).parents[2]
SOURCES: Final = ROOT / "tests" / "hapi-server"
HOME: Final = Path(os.environ.get("HAPI_HOME") or ROOT / ".cache" / "hapi-server")
HEAP: Final = "1g"
# The C1 compiler alone: a test session is too short to earn back what the optimising one costs. A bench may ask for it by
# HAPI_JAVA_OPTS=-XX:TieredStopAtLevel=4.
JAVA: Final = (
    "java",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Duser.timezone=UTC",
    "-Xlog:cds=off",
    "-Xlog:cds+dynamic=off",
)
MAIN: Final = "casebridge.HapiServer"
Setting = str | int | bool
# A proxy of the environment is not for loopback.
_open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


@dataclass(frozen=True, slots=True)
class HapiServer:
    """A server that answers. `base`: its base URL, without a slash at its end; `pid`: its process, where it is our own."""

    base: str
    pid: int | None = None

    def metadata(self) -> dict[str, object]:
        """Its CapabilityStatement. Raises OSError where nobody answers."""
        with _open(f"{self.base}/metadata", timeout=60) as answer:
            statement: dict[str, object] = json.load(answer)
        return statement

    def reset(self) -> None:
        """Empties it: every resource, every version, every search it remembers. Ids go on counting. Raises OSError.

        A tenth of a second for a test's worth of resources, ten seconds for 40 000.
        """
        everything = {"name": "expungeEverything", "valueBoolean": True}
        body = json.dumps({"resourceType": "Parameters", "parameter": [everything]}).encode()
        headers = {"Content-Type": "application/fhir+json"}
        with _open(urllib.request.Request(f"{self.base}/$expunge", body, headers), timeout=300) as answer:
            answer.read()


def available() -> str | None:
    """Why no server can run, or None where it can: the reason a test gives for its skip."""
    if shutil.which("java") is None:
        return "no java on the PATH (17 or newer)"
    if not _is_built(_folder()) and shutil.which("mvn") is None:
        return "no mvn on the PATH to build tests/hapi-server with"
    return None


@contextmanager
def running(**settings: Setting) -> Iterator[HapiServer]:
    """A server of one's own: a free port, all in memory unless `db` is set, a JDBC URL. The settings are those of Setting.java.

    It ends with the block, and also with this process, however that ends: it watches its input. Raises RuntimeError with
    Java's last words where it did not start.
    """
    with _leashed(command({**settings, "leash": True})) as server:
        yield server


def command(settings: Mapping[str, Setting], heap: str = HEAP) -> list[str]:
    """What starts a server, built before if need be."""
    folder = build()
    archive = folder / "classes.jsa"
    shared = [f"-XX:SharedArchiveFile={archive}"] if archive.exists() else []
    return _command(folder, [*shared, f"-Xmx{heap}"], settings)


def await_ready(process: subprocess.Popen[bytes], log: IO[bytes]) -> str:
    """The base URL, once the server answers there. Raises RuntimeError with the end of its log where it never will."""
    assert process.stdout is not None
    for line in process.stdout:
        word, _, url = line.decode().strip().partition(" ")
        if word == "READY":
            return url
    process.wait()
    log.seek(0)
    raise RuntimeError(f"HAPI's server did not start: {log.read()[-4000:].decode(errors='replace')}")


def build() -> Path:
    """The folder with the server, made where it is not there yet, once for these sources. Raises RuntimeError."""
    HOME.mkdir(parents=True, exist_ok=True)
    folder = _folder()
    with (HOME / "lock").open("w") as lock:
        # Two at once must not compile into each other's classes.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _is_built(folder):
            _compile(folder)
            _record(folder)
            (folder / "ready").touch()
            _remove_others(folder)
    return folder


def _folder() -> Path:
    """One for each state of the sources: a server that runs keeps its jars while the next one is built."""
    seen = hashlib.sha256()
    for path in sorted(SOURCES.rglob("*")):
        if path.is_file():
            seen.update(f"{path.relative_to(SOURCES)}\0".encode() + path.read_bytes())
    return HOME / f"build-{seen.hexdigest()[:12]}"


def _is_built(folder: Path) -> bool:
    return (folder / "ready").exists()


def _compile(folder: Path) -> None:
    maven = ["mvn", "-q", "-B", "-f", str(SOURCES / "pom.xml"), "package", f"-DbuildDirectory={folder}"]
    done = subprocess.run(maven, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"Maven could not build tests/hapi-server: {done.stdout[-2000:]}{done.stderr[-2000:]}")


def _record(folder: Path) -> None:
    """The archive of loaded classes that makes every later start twice as fast; a start without it is as good but slow."""
    record = [f"-XX:ArchiveClassesAtExit={folder / 'classes.jsa'}", f"-Xmx{HEAP}"]
    with _leashed(_command(folder, record, {"leash": True})) as server:
        server.metadata()


@contextmanager
def _leashed(words: list[str]) -> Iterator[HapiServer]:
    pipe = subprocess.PIPE
    with (
        tempfile.TemporaryFile() as log,
        # In a session of its own, or Ctrl-C would end it before those who still use it.
        subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=log, start_new_session=True) as process,
    ):
        yield HapiServer(await_ready(process, log), process.pid)


def _command(folder: Path, options: list[str], settings: Mapping[str, Setting]) -> list[str]:
    own = os.environ.get("HAPI_JAVA_OPTS", "").split()
    properties = [
        f"-Dhapi.{name}={str(value).lower() if isinstance(value, bool) else value}" for name, value in settings.items()
    ]
    return [*JAVA, *options, *own, *properties, "-cp", f"{folder / 'server.jar'}:{folder / 'lib'}/*", MAIN]


def _remove_others(folder: Path) -> None:
    for other in HOME.glob("build-*"):
        if other != folder:
            with suppress(OSError):
                shutil.rmtree(other)
