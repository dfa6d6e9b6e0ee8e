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
class Settings:
    """`home`: where state lives (CASEBRIDGE_HOME); `key`: CASEBRIDGE_KEY or None; `mappings`: the folder of the sets that are
    known by name (CASEBRIDGE_MAPPINGS), `shelf` that of the shipped ones; `max_bytes`: the longest body the service takes;
    `packages`: FHIR packages to validate with, besides R4 (CASEBRIDGE_PACKAGES)."""

    home: Path
    key: bytes | None
    mappings: Path
    max_bytes: int = 5_000_000
    shelf: Path = field(default_factory=_shipped_mappings)
    packages: tuple[Path, ...] = ()


def read_settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings of this process. CASEBRIDGE_HOME, CASEBRIDGE_KEY, CASEBRIDGE_MAPPINGS, CASEBRIDGE_MAX_BYTES and
    CASEBRIDGE_PACKAGES, which separates its paths as PATH does."""
    home = environment.get("CASEBRIDGE_HOME")
    key = environment.get("CASEBRIDGE_KEY")
    own = environment.get("CASEBRIDGE_MAPPINGS")
    return Settings(
        home=Path(home) if home else _data_folder(environment),
        key=os.fsencode(key) if key else None,
        mappings=Path(own) if own else _shipped_mappings(),
        max_bytes=_whole_number(environment, "CASEBRIDGE_MAX_BYTES", Settings.max_bytes),
        packages=tuple(Path(path) for path in environment.get("CASEBRIDGE_PACKAGES", "").split(os.pathsep) if path),
    )


def _whole_number(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name, "")
    if not text:
        return default
    if not text.isdecimal() or len(text) > 12:
        issue = Issue("error", "value", "config-number", f"{name} is no whole number", fix=f"set {name}=5000000, or unset it")
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
