"""Settings from the environment, read by the command and the service only; and the two places on disk that they name."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from service.errors import CasebridgeError, Usage
from service.issues import Issue

DEFAULT_SET = "myeloma"
SHORTEST_KEY = 16


def _shipped_mappings() -> Path:
    """In the wheel the sets lie beside the code; in a checkout, beside the package."""
    packaged = Path(__file__).parent / "_mappings"
    return packaged if packaged.is_dir() else Path(__file__).parent.parent / "mappings"


@dataclass(frozen=True)
class Access:
    """How a FHIR server is entered. All of it is bound to the origin of `server`, and goes to no other.

    At most one of `basic` (user, password), `bearer` and `smart_client` is set. `header`: one more header, as API keys need.
    `smart_key`: the private key of SMART Backend Services, a file with a JWK or PEM. `ca_file`, `client_cert`, `client_key`:
    PEM files for TLS.
    """

    server: str = ""
    basic: tuple[str, str] | None = field(default=None, repr=False)
    bearer: str | None = field(default=None, repr=False)
    header: tuple[str, str] | None = field(default=None, repr=False)
    smart_client: str | None = None
    smart_key: Path | None = None
    smart_key_id: str | None = None
    smart_scope: str = "system/*.*"
    smart_token_url: str | None = None
    ca_file: Path | None = None
    client_cert: Path | None = None
    client_key: Path | None = None


@dataclass(frozen=True)
class Settings:
    """`home`: where state lives (CASEBRIDGE_HOME); `key`: CASEBRIDGE_KEY or None; `mappings`: the folder of the sets that are
    known by name (CASEBRIDGE_MAPPINGS), `shelf` that of the shipped ones; `max_bytes`: the longest body the service takes;
    `packages`: FHIR packages to validate with, besides R4 (CASEBRIDGE_PACKAGES). `database`: another place for the outbox than
    a SQLite file in `home` (CASEBRIDGE_DATABASE_URL); `access`: CASEBRIDGE_SERVER and how it is entered; `servers`: others that
    the service may be told to use, without credentials (CASEBRIDGE_SERVERS); `most_jobs`: open jobs that the outbox takes
    (CASEBRIDGE_MOST_JOBS)."""

    home: Path
    key: bytes | None
    mappings: Path
    max_bytes: int = 5_000_000
    shelf: Path = field(default_factory=_shipped_mappings)
    packages: tuple[Path, ...] = ()
    database: str | None = field(default=None, repr=False)
    access: Access = field(default_factory=Access)
    servers: tuple[str, ...] = ()
    most_jobs: int = 10_000

    def reachable(self) -> list[tuple[str, Access]]:
        """The servers that the service may be told to use, the default one first, each with how it is entered.

        Credentials are for CASEBRIDGE_SERVER alone; the authority that signs certificates is no secret.
        """
        own = [(self.access.server, self.access)] if self.access.server else []
        return own + [(url, Access(ca_file=self.access.ca_file)) for url in self.servers]


def read_settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings of this process. CASEBRIDGE_HOME, CASEBRIDGE_KEY, CASEBRIDGE_MAPPINGS, CASEBRIDGE_MAX_BYTES,
    CASEBRIDGE_PACKAGES, which separates its paths as PATH does, CASEBRIDGE_DATABASE_URL, CASEBRIDGE_MOST_JOBS,
    CASEBRIDGE_SERVERS, which separates its URLs by blanks, and CASEBRIDGE_SERVER with the variables that begin so (`_access`).
    Raises Usage for what makes no sense."""
    home = environment.get("CASEBRIDGE_HOME")
    key = environment.get("CASEBRIDGE_KEY")
    own = environment.get("CASEBRIDGE_MAPPINGS")
    return Settings(
        home=Path(home) if home else _data_folder(environment),
        key=os.fsencode(key) if key else None,
        mappings=Path(own) if own else _shipped_mappings(),
        max_bytes=_whole_number(environment, "CASEBRIDGE_MAX_BYTES", Settings.max_bytes),
        packages=tuple(Path(path) for path in environment.get("CASEBRIDGE_PACKAGES", "").split(os.pathsep) if path),
        database=environment.get("CASEBRIDGE_DATABASE_URL") or None,
        access=_access(environment),
        servers=tuple(environment.get("CASEBRIDGE_SERVERS", "").split()),
        most_jobs=_whole_number(environment, "CASEBRIDGE_MOST_JOBS", Settings.most_jobs),
    )


def _access(environment: Mapping[str, str]) -> Access:
    def text(name: str) -> str | None:
        return environment.get(f"CASEBRIDGE_SERVER{name}") or None

    def path(name: str) -> Path | None:
        given = text(name)
        return Path(given) if given else None

    user, bearer, client, header = text("_USER"), text("_TOKEN"), text("_SMART_CLIENT_ID"), text("_HEADER")
    if sum(one is not None for one in (user, bearer, client)) > 1:
        raise _bad_access("more than one way to enter the server is set", "keep one of _USER, _TOKEN and _SMART_CLIENT_ID")
    if client and not path("_SMART_KEY"):
        raise _bad_access("_SMART_CLIENT_ID needs a private key", "set CASEBRIDGE_SERVER_SMART_KEY to its file")
    name, colon, value = (header or "").partition(":")
    if header and not (colon and name.strip() and value.strip()):
        raise _bad_access("CASEBRIDGE_SERVER_HEADER is no header", "write it as Name: value")
    return Access(
        server=text("") or "",
        basic=(user, text("_PASSWORD") or "") if user else None,
        bearer=bearer,
        header=(name.strip(), value.strip()) if header else None,
        smart_client=client,
        smart_key=path("_SMART_KEY"),
        smart_key_id=text("_SMART_KEY_ID"),
        smart_scope=text("_SMART_SCOPE") or Access.smart_scope,
        smart_token_url=text("_SMART_TOKEN_URL"),
        ca_file=path("_CA_FILE"),
        client_cert=path("_CLIENT_CERT"),
        client_key=path("_CLIENT_KEY"),
    )


def _bad_access(text: str, fix: str) -> Usage:
    return Usage([Issue("error", "value", "config-server", text, fix=fix)])


def _whole_number(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name, "")
    if not text:
        return default
    if not text.isdecimal() or len(text) > 12:
        issue = Issue("error", "value", "config-number", f"{name} is no whole number", fix=f"set {name}={default}, or unset it")
        raise Usage([issue])
    return int(text)


def _data_folder(environment: Mapping[str, str]) -> Path:
    """The platform's folder for a user's application data."""
    user = Path.home()
    if sys.platform == "darwin":
        return user / "Library" / "Application Support" / "casebridge"
    if sys.platform == "win32":
        return Path(environment.get("LOCALAPPDATA", user / "AppData" / "Local")) / "casebridge"
    return Path(environment.get("XDG_DATA_HOME") or user / ".local" / "share") / "casebridge"


def deployment_key(settings: Settings) -> bytes:
    """The secret under which identities are made: CASEBRIDGE_KEY, else the file `key` in the home folder, made at first use.

    The file is readable by its owner only. Raises CasebridgeError where it cannot be read or made.
    """
    path = settings.home / "key"
    try:
        if settings.key is None and not path.exists():
            _make_key(path)
        key = (path.read_bytes() if settings.key is None else settings.key).strip()
    except OSError as error:
        fix = "set CASEBRIDGE_KEY, or CASEBRIDGE_HOME to a folder that you may write to"
        issue = Issue("fatal", "exception", "config-key", f"the deployment key cannot be read: {error.strerror}", fix=fix)
        raise CasebridgeError([issue]) from None
    if len(key) < SHORTEST_KEY:
        # A key that anyone can guess is none; a damaged key file would make new identities for all that is known.
        text = f"the deployment key has less than {SHORTEST_KEY} bytes"
        fix = "set CASEBRIDGE_KEY to a longer secret, or bring the file `key` in CASEBRIDGE_HOME back from a backup"
        raise CasebridgeError([Issue("fatal", "security", "config-key", text, fix=fix)])
    return key


def _make_key(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # Written aside and linked into place: of two processes at the same moment one wins whole, and neither reads half a key.
    aside = path.with_name(f"key.{secrets.token_hex(8)}")
    with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_hex(32) + "\n")
    try:
        os.link(aside, path)
    except FileExistsError:
        pass
    finally:
        aside.unlink()


def find_mapping(settings: Settings, name: str) -> Path:
    """The folder of a mapping set: by its name, or any folder by its path. Raises Usage where there is none."""
    for folder in (settings.mappings, settings.shelf) if "/" not in name and os.sep not in name else ():
        if (folder / name / "mapping.yaml").is_file():
            return folder / name
    if (Path(name) / "mapping.yaml").is_file():
        return Path(name)
    known = ", ".join(list_mappings(settings)) or "none"
    text = f"there is no mapping set of this name or path; known by name: {known}"
    raise Usage([Issue("error", "not-found", "mapping-not-found", text, fix="see casebridge mappings list")])


def list_mappings(settings: Settings) -> list[str]:
    """The names of the sets that are known by name."""
    return sorted({path.parent.name for path in settings.mappings.glob("*/mapping.yaml")})
