"""HL7's own test cases for validators: those in reach of an offline R4 JSON validator, with the verdict on record."""

from __future__ import annotations

import io
import json
import re
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.support import registry
from tests.support.sample import Sample

Json = dict[str, Any]

JAR: Final = "org.hl7.fhir.testcases:fhir-test-cases:1.7.69"
FOLDER: Final = "org/hl7/fhir/testcases/validator/"

# What the other modules of the suite are about is no validation of R4 data: questionnaires' answers, matching of JSON
# against patterns, logical models, signatures, XML, other releases.
MODULES: Final = {
    *(None, "base", "general", "bundle", "references", "extensions"),
    *("profile", "invariants", "xhtml", "fmt", "security", "tx"),
}

# Keys of a case that change how HL7's validator is set up; ours has no such setting.
SETTINGS: Final = {
    "advisor": "switches single messages off",
    "allow-comments": "takes comments in JSON",
    "best-practice": "another level of best practice",
    "fetch-canonicals": "fetches profiles from the net",
    "fetcher": "fetches references from the net",
    "for-publication": "rules for HL7's own publications",
    "ips": "loads the International Patient Summary",
    "language": "messages in another language",
    "logical": "a logical model",
    "new-xver-mode": "extensions of other releases",
    "no-experimental-content": "rules for publication",
    "r5-bundle-relative-reference-policy": "a rule of R5",
    "sct": "an edition of SNOMED CT",
    "security-checks": "forbids what R4 allows",
    "supporting5": "definitions of R5",
    "use-test": "not in use",
    "validateContains": "does not look at what is contained",
    "validateReference": "wants a server of references",
}

# Errors on record that need more than R4's definitions. A case whose other errors are none counts as valid.
NO_SERVER: Final = "a terminology server knows"
BEYOND: Final = {
    r"^Wrong Display Name": NO_SERVER,
    r"^Unknown code .* in the CodeSystem 'http://(snomed\.info|loinc\.org|standardterms)": NO_SERVER,
    r"^The code '.*' is not valid in the system http://snomed": NO_SERVER,
    r"could not be found so is not allowed here": "extensions of one's own are allowed here",
    r"^Example URLs are not allowed": "example.org is allowed here",
}


@dataclass(frozen=True, slots=True)
class Case:
    """One sample, and whether it is valid on record."""

    sample: Sample
    valid: bool


def cases() -> Iterator[Case]:
    """All cases in reach; one that is also judged against a profile comes a second time, as NAME@profile. Raises Missing."""
    with zipfile.ZipFile(registry.maven_jar(JAR)) as jar:
        suite = _Suite(jar)
        for entry in json.loads(suite.read("manifest.json"))["test-cases"]:
            if why_out_of_reach(entry) is None:
                yield from suite.cases_of(entry)


def why_out_of_reach(entry: Json) -> str | None:
    """Why an entry of the manifest is not for us, or None where it is."""
    profile = entry.get("profile", {})
    files = [*_definition_files(entry), profile.get("source", ".json")]
    if not entry.get("version", "").startswith("4.0") or not entry["file"].endswith(".json"):
        return "not R4 in JSON"
    if entry.get("module") not in MODULES:
        return f"about {entry['module']}"
    if "packages" in entry or "package-map" in entry or "packages" in profile:
        return "packages that no registry has"
    if not all(name.endswith(".json") for name in files):
        return "definitions in XML"
    return next((why for key, why in SETTINGS.items() if key in entry), None)


def _definition_files(entry: Json) -> list[str]:
    profile = entry.get("profile", {})
    return [*entry.get("supporting", []), *entry.get("profiles", []), *profile.get("supporting", [])]


class _Suite:
    """The files of the suite, in its jar."""

    def __init__(self, jar: zipfile.ZipFile) -> None:
        self._jar = jar

    def read(self, name: str) -> bytes:
        return self._jar.read(FOLDER + name)

    def cases_of(self, entry: Json) -> Iterator[Case]:
        text = self.read(entry["file"])
        definitions = self._package(entry["name"], _definition_files(entry))
        yield Case(Sample(entry["name"], text, (), definitions), self._is_valid(entry["java"]))
        if "java" in (profile := entry.get("profile", {})):
            name = f"{entry['name']}@profile"
            files = [*_definition_files(entry), profile["source"]]
            url = json.loads(self.read(profile["source"]))["url"]
            yield Case(Sample(name, text, (url,), self._package(name, files)), self._is_valid(profile["java"]))

    def _is_valid(self, record: str | Json) -> bool:
        outcome = json.loads(self.read(f"outcomes/{record}")) if isinstance(record, str) else record
        issues = outcome.get("outcome", outcome).get("issue", [])
        errors = [issue["details"]["text"] for issue in issues if issue["severity"] in ("error", "fatal")]
        return all(any(re.search(pattern, error) for pattern in BEYOND) for error in errors)

    def _package(self, name: str, files: list[str]) -> tuple[Path, ...]:
        """These definitions as an FHIR package, for that is what validators load."""
        if not files:
            return ()

        def pack(folder: Path) -> Path:
            path = folder / "package.tgz"
            manifest = {"name": "hl7.case", "version": "1.0.0", "fhirVersions": ["4.0.1"], "dependencies": {}}
            with tarfile.open(path, "w:gz") as archive:
                _add(archive, "package.json", json.dumps(manifest).encode())
                for number, file in enumerate(dict.fromkeys(files)):
                    _add(archive, f"{number}-{Path(file).name}", self.read(file))
            return path

        return (registry.built(f"hl7-cases/{re.sub('[^a-zA-Z0-9@-]', '_', name)}.tgz", pack),)


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(f"package/{name}")
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))
