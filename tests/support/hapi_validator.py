"""The foreign judges: the R4 validators of HAPI and of HL7, each as one Java process that answers line by line.

Built by Maven from tests/hapi on first use (which then needs Maven Central), offline ever after. HL7's also wants FHIR
packages (tests/support/registry.py).
"""

from __future__ import annotations

import base64
import fcntl
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Literal

from tests.support import registry

Engine = Literal["hapi", "hl7"]
ENGINES: Final[tuple[Engine, ...]] = ("hapi", "hl7")

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "tests" / "hapi"
BUILD = ROOT / ".cache" / "hapi"
# The C1 compiler alone: a test session is too short to earn back what the optimising one costs.
JAVA = ("java", "-Xmx3g", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")


@dataclass(frozen=True, slots=True)
class Finding:
    """One message of a judge. `severity` is information, warning, error or fatal; `location` a FHIRPath, nearly."""

    severity: str
    location: str | None
    message: str
    message_id: str | None

    def __str__(self) -> str:
        return f"{self.severity} {self.location}: {self.message} [{self.message_id}]"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a judge says of one resource: `valid` where no issue is an error or worse."""

    valid: bool
    issues: tuple[Finding, ...]

    @property
    def errors(self) -> tuple[Finding, ...]:
        return tuple(issue for issue in self.issues if issue.severity in ("error", "fatal"))

    @property
    def warnings(self) -> tuple[Finding, ...]:
        return tuple(issue for issue in self.issues if issue.severity == "warning")

    def __str__(self) -> str:
        return "\n".join([f"{'valid' if self.valid else 'invalid'}, {len(self.issues)} issues", *map(str, self.issues)])


def available() -> str | None:
    """Why the judge cannot sit, or None where it can: the reason a test gives for its skip."""
    if shutil.which("java") is None:
        return "no java on the PATH (17 or newer)"
    if _is_stale() and shutil.which("mvn") is None:
        return "no mvn on the PATH to build tests/hapi with"
    return None


class HapiValidator:
    """A running judge; a context manager. `packages` are FHIR NPM packages (.tgz) it loads besides R4 core.

    One process serves a whole session: HAPI's starts in a quarter of a second but wants seconds for its first resource,
    HL7's starts in five. Not thread-safe: one question at a time. For HL7's, entering raises registry.Missing.
    """

    def __init__(self, packages: Iterable[Path] = (), engine: Engine = "hapi") -> None:
        self._engine = engine
        self._packages = list(packages)
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None

    def __enter__(self) -> HapiValidator:
        properties = _hl7_properties() if self._engine == "hl7" else []
        guides = [part for package in self._packages for part in ("--ig", _guide(package, self._engine))]
        build()
        class_path = f"{BUILD / 'classes'}:{BUILD / 'lib'}/*"
        command = [*JAVA, *properties, "-cp", class_path, "casebridge.Validate", "--engine", self._engine, *guides]
        self._log = tempfile.TemporaryFile()
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._process is not None:
            # The end of its input ends it; nothing of an unread answer matters any more.
            self._process.communicate()
            self._process = None
        if self._log is not None:
            self._log.close()
            self._log = None

    def validate(self, resource: bytes, profiles: Sequence[str] = ()) -> Verdict:
        """The verdict on one resource, a JSON text, which must meet these profiles too.

        Raises RuntimeError with Java's last words if it died.
        """
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            raise RuntimeError("HapiValidator works inside its `with` block")
        try:
            # One line a question; Base64, for a text may be broken in any way and has to arrive as it is.
            question = {"resource": base64.b64encode(resource).decode(), "profiles": list(profiles)}
            process.stdin.write(json.dumps(question).encode() + b"\n")
            process.stdin.flush()
        except BrokenPipeError:
            raise RuntimeError(self._last_words()) from None
        answer = process.stdout.readline()
        if not answer:
            raise RuntimeError(self._last_words())
        return _verdict(answer)

    def _last_words(self) -> str:
        if self._log is None:
            return "the judge is gone"
        self._log.seek(0)
        return f"the judge is gone: {self._log.read()[-2000:].decode(errors='replace')}"


def _hl7_properties() -> list[str]:
    names = {"terminology": registry.TERMINOLOGY, "extensions": registry.EXTENSIONS}
    versions = [f"-Dcasebridge.{key}={name.partition('@')[2]}" for key, name in names.items()]
    return [f"-Duser.home={registry.home()}", *versions]


def _guide(package: Path, engine: Engine) -> str:
    """HL7's validator takes the packages in its home by name: there their dependencies are settled."""
    name = registry.name_of(package)
    return name.replace("@", "#") if engine == "hl7" and name in registry.PINS else str(package)


def build() -> None:
    """Compile tests/hapi into BUILD where that is not done yet. Raises RuntimeError with Maven's last words."""
    BUILD.mkdir(parents=True, exist_ok=True)
    with (BUILD / "lock").open("w") as lock:
        # Two sessions at once must not compile into each other's classes.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _is_stale():
            command = ["mvn", "-q", "-B", "-f", str(SOURCES / "pom.xml"), "package", f"-DbuildDirectory={BUILD}"]
            maven = subprocess.run(command, capture_output=True, text=True, check=False)
            if maven.returncode != 0:
                raise RuntimeError(f"Maven could not build tests/hapi: {maven.stdout[-2000:]}{maven.stderr[-2000:]}")
            (BUILD / "stamp").touch()


def _is_stale() -> bool:
    stamp = BUILD / "stamp"
    if not stamp.exists():
        return True
    built = stamp.stat().st_mtime
    return any(path.stat().st_mtime > built for path in SOURCES.rglob("*") if path.is_file())


def _verdict(answer: bytes) -> Verdict:
    found = json.loads(answer)
    return Verdict(
        valid=found["valid"],
        issues=tuple(Finding(i["severity"], i["location"], i["message"], i["messageId"]) for i in found["issues"]),
    )
