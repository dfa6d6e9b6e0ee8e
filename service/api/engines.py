"""The engines of the shipped mapping sets: each loaded at its first use, then shared by all threads."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from flask import current_app

from service.config import DEFAULT_SET, Settings, deployment_key, list_mappings
from service.engine import Engine, load_engine
from service.errors import Usage
from service.issues import Issue


@dataclass(frozen=True)
class Engines:
    """`folders`: the shipped sets by name, as they were when the service started. A client's name is looked up there only."""

    folders: Mapping[str, Path]
    key: bytes = field(repr=False)
    shelf: Path
    max_bytes: int
    _loaded: dict[str, Engine] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def get(self, name: str) -> Engine:
        """The engine of a set. Raises Usage where no set has this name, MappingInvalid where it does not load."""
        if name not in self.folders:
            text, fix = "there is no mapping set of this name", f"one of: {', '.join(self.folders) or 'none'}"
            raise Usage([Issue("error", "not-found", "mapping-not-found", text, fix=fix)])
        if name in self._loaded:
            return self._loaded[name]
        with self._lock:
            if name not in self._loaded:
                self._loaded[name] = self._load(name)
            return self._loaded[name]

    def _load(self, name: str) -> Engine:
        engine = load_engine(self.folders[name], self.key, shelf=self.shelf, max_bytes=self.max_bytes)
        # Made now rather than at their first use: the validator for speed, the fingerprint while the files are those just read.
        _ = engine.mapping.accepts, engine.mapping.fingerprint
        return engine


def open_engines(settings: Settings) -> Engines:
    """The store for these settings, nothing loaded yet. Raises CasebridgeError where the deployment's key cannot be had."""
    root = settings.mappings.resolve()
    folders = {name: settings.mappings / name for name in list_mappings(settings)}
    # A link that leads out of the folder of the shipped sets makes no set.
    inside = {name: path for name, path in folders.items() if path.resolve().is_relative_to(root)}
    return Engines(inside, deployment_key(settings), settings.shelf, settings.max_bytes)


def engines() -> Engines:
    """The store of the app that answers the present request."""
    found = current_app.extensions["casebridge"]
    assert isinstance(found, Engines)
    return found


def chosen(options: Mapping[str, str]) -> Engine:
    """The engine of the set that a query names, else of the default one. Raises as `Engines.get` does."""
    return engines().get(options.get("mapping", DEFAULT_SET))
