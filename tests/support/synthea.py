"""Bundles of made-up patients: Synthea, run offline with a fixed seed, its output cut to a size that one can look at."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from service.fhir.json import dumps, loads
from tests.support import registry

Json = dict[str, Any]

POM = registry.ROOT / "tests" / "hapi" / "synthea.xml"
COPY_DEPENDENCIES: Final = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"
# The same bytes come out everywhere: seeds, dates and zone are fixed, and one thread keeps the order of the draws.
OPTIONS: Final = (
    *("-s", "4", "-cs", "4", "-r", "20240101", "-e", "20240101", "-p", "24", "-a", "40-80"),
    "--generate.thread_pool_size=1",
    "--generate.only_alive_patients=true",
    "--exporter.hospital.fhir.export=false",
    "--exporter.fhir.use_us_core_ig=false",
    "--exporter.practitioner.fhir.export=false",
    "--exporter.years_of_history=3",
    "--exporter.pretty_print=false",
)
CUTS = 2
FEWEST, MOST = 22, 40


def bundles() -> Path:
    """A folder of transaction bundles, PATIENT-1.json and PATIENT-2.json for each patient. Raises registry.Missing."""
    name = hashlib.sha256(" ".join(OPTIONS).encode()).hexdigest()[:12]
    return registry.built(f"synthea-3.3.0/bundles-{name}", _make)


def class_path() -> Path:
    """The folder of Synthea's jars. Raises registry.Missing."""

    def fetch(folder: Path) -> Path:
        registry.run(["mvn", "-q", "-B", "-f", str(POM), COPY_DEPENDENCIES, f"-DoutputDirectory={folder / 'lib'}"], folder)
        return folder / "lib"

    return registry.built("synthea-3.3.0/lib", fetch)


def _make(folder: Path) -> Path:
    command = ["java", "-Xmx3g", "-Duser.timezone=UTC", "-cp", f"{class_path()}/*", "App", *OPTIONS]
    registry.run([*command, f"--exporter.baseDirectory={folder}"], folder)
    out = folder / "bundles"
    out.mkdir()
    for number, path in enumerate(sorted((folder / "fhir").glob("*.json")), 1):
        for part, cut in enumerate(_cuts(loads(path.read_bytes())), 1):
            (out / f"patient{number:02d}-{part}.json").write_bytes(dumps(cut))
    return out


def _cuts(bundle: Any) -> Iterator[Json]:
    """Up to CUTS bundles of FEWEST to MOST entries that refer to nothing outside themselves, with a bit of every type."""
    entries = {entry["fullUrl"]: entry for entry in bundle["entry"]}
    closed = {url: _closure(url, entries) for url in entries}
    seen: set[str] = set()
    for _ in range(CUTS):
        chosen: set[str] = set()
        for url in _by_turns(entries):
            if len(chosen) < FEWEST and url not in seen and len(chosen | closed[url]) <= MOST:
                chosen |= closed[url]
        if len(chosen) < FEWEST:
            return
        seen |= chosen
        yield bundle | {"entry": [entry for url, entry in entries.items() if url in chosen]}


def _by_turns(entries: dict[str, Json]) -> list[str]:
    """The URLs so that each type has its turn: the first of every type, then the second of every type."""
    turn: dict[str, int] = {}
    ranked = []
    for position, (url, entry) in enumerate(entries.items()):
        kind = entry["resource"]["resourceType"]
        turn[kind] = turn.get(kind, 0) + 1
        ranked.append((turn[kind], position, url))
    return [url for _, _, url in sorted(ranked)]


def _closure(url: str, entries: dict[str, Json]) -> set[str]:
    found: set[str] = set()
    waiting = [url]
    while waiting:
        if (next_one := waiting.pop()) not in found:
            found.add(next_one)
            waiting += [each for each in _references(entries[next_one]) if each in entries]
    return found


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, list):
        for item in node:
            yield from _references(item)
    elif isinstance(node, dict):
        for name, value in node.items():
            if name == "reference" and isinstance(value, str):
                yield value
            else:
                yield from _references(value)
