"""The one validator of the process, shared by all threads: with packages it is loaded before the first request."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from flask import current_app

from service.config import Settings
from service.errors import CasebridgeError, Usage
from service.issues import Issue

if TYPE_CHECKING:
    from service.validate.validator import Validator


@dataclass
class LazyValidator:
    """`packages`: the FHIR packages to validate with, besides R4."""

    packages: Sequence[Path]
    cache: Path
    _loaded: Validator | None = field(default=None, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def get(self) -> Validator:
        """The validator, loaded by the first who asks. Raises CasebridgeError, and not Usage, where a package does not load."""
        with self._lock:
            if self._loaded is None:
                self._loaded = self._load()
            return self._loaded

    def _load(self) -> Validator:
        from service.validate.validator import load_validator

        try:
            return load_validator(self.packages, cache=self.cache)
        except Usage as error:
            raise CasebridgeError(error.issues) from None


def open_validator(settings: Settings) -> LazyValidator:
    """The validator for these settings. Packages are loaded at once, for they take seconds the first time, and a service that
    cannot validate as it was told must not start. Raises CasebridgeError where a package is not there or does not load."""
    missing = [path for path in settings.packages if not path.exists()]
    if missing:
        fix = f"separate the paths of packages by '{os.pathsep}', or unset it"
        text = f"CASEBRIDGE_PACKAGES names what is not there: {', '.join(map(str, missing))}"
        raise Usage([Issue("error", "not-found", "config-packages", text, fix=fix)])
    opened = LazyValidator(settings.packages, settings.home / "cache")
    if settings.packages:
        opened.get()
    return opened


def validator() -> Validator:
    """The validator of the app that answers the present request."""
    found = current_app.extensions["casebridge-validator"]
    assert isinstance(found, LazyValidator)
    return found.get()
