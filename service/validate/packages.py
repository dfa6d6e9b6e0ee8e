"""FHIR packages: .tgz files and folders read into definitions by URL, once, and kept on disk in a compact form.

The compact form is NDJSON: the package's name on the first line, then one definition a line as [kind, url, record]. A line
is decoded when somebody asks for it. Source: https://confluence.hl7.org/display/FHIR/NPM+Package+Specification
"""

from __future__ import annotations

import hashlib
import io
import lzma
import os
import re
import secrets
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec

from service.errors import Usage
from service.fhir import structures
from service.fhir.definitions import FILE
from service.fhir.structures import StructureDefinition
from service.issues import Issue
from service.terminology import definitions
from service.terminology.definitions import CodeSystem, ValueSet

# Goes up when the records change their shape, so that what an older release kept is made anew.
FORMAT: Final = 1
CORE: Final = FILE.with_name("core.ndjson")
# One archive, unpacked: FHIR's largest published packages hold some hundred megabytes.
MOST_BYTES: Final = 2_000_000_000
R4: Final = ("4.0", "4.0.0", "4.0.1")

_decode: Final = msgspec.json.Decoder(float_hook=Decimal).decode
_encode: Final = msgspec.json.Encoder(decimal_format="number").encode
# How a line of the compact form begins; a URL may hold escapes.
_HEAD: Final = re.compile(rb'\["(\w+)",("(?:[^"\\]|\\.)*+"),')
# What broken archives and hostile JSON raise, each in its own way.
_UNREADABLE: Final = (
    OSError,
    EOFError,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    msgspec.MsgspecError,
    ValueError,
    ArithmeticError,
    RecursionError,
)


class Manifest(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a package says of itself, and the SHA-256 of its archive (of its files, where it is a folder)."""

    id: str
    version: str
    sha256: str
    dependencies: dict[str, str] = {}

    def __str__(self) -> str:
        return f"{self.id}#{self.version}"


class Package:
    """The definitions of one package, as undecoded lines by kind and URL."""

    def __init__(self, lines: bytes) -> None:
        head, _, self._lines = lines.partition(b"\n")
        self.manifest = msgspec.json.decode(head, type=Manifest)
        self._places = dict(_places(self._lines))

    def get(self, kind: str, url: str) -> Any:
        """The record of a kind under a URL, decoded anew; None where there is none."""
        place = self._places.get((kind, url))
        return None if place is None else _DECODERS[kind].decode(self._lines[place])[2]

    def names(self, url: str) -> bool:
        """Whether a URL stands anywhere in the definitions."""
        return msgspec.json.encode(url) in self._lines

    def urls(self, kind: str) -> list[str]:
        return [url for each, url in self._places if each == kind]


class Registry:
    """All definitions at hand, by canonical URL ("|version" is ignored: one version of each is there). A later package wins,
    but not over the first in what that defines of structures: data in R4 means R4's types and extensions, whatever shape a
    later release gives them. Codes are added all the time, so there the latest counts.

    Not locked: two threads that ask for a definition for the first time both decode it, and both get an equal record.
    """

    def __init__(self, packages: Sequence[Package]) -> None:
        self.packages = tuple(packages)
        self._newest_first = tuple(reversed(self.packages))
        self._first_first = (*self.packages[:1], *self._newest_first)
        self._found: dict[tuple[str, str], Any] = {}

    def structure(self, url: str) -> StructureDefinition | None:
        found: StructureDefinition | None = self._get("StructureDefinition", url)
        return found

    def value_set(self, url: str) -> ValueSet | None:
        found: ValueSet | None = self._get("ValueSet", url)
        return found

    def code_system(self, url: str) -> CodeSystem | None:
        found: CodeSystem | None = self._get("CodeSystem", url)
        return found

    def urls(self, kind: str) -> Iterator[str]:
        for package in self.packages:
            yield from package.urls(kind)

    def _get(self, kind: str, url: str) -> Any:
        # Six code systems of R4 have a "|" in their own URL, so the whole is tried first.
        for key in ((kind, url), (kind, url.partition("|")[0])):
            if key in self._found:
                return self._found[key]
            for package in self._first_first if kind == "StructureDefinition" else self._newest_first:
                record = package.get(*key)
                if record is not None:
                    self._found[key] = record
                    return record
        return None  # not kept: URLs come from the data, and there is no end of those


@cache
def core() -> Package:
    """The package hl7.fhir.r4.core 4.0.1, shipped in the compact form; scripts/build_definitions.py made it."""
    return Package(CORE.read_bytes())


def load(paths: Iterable[Path], kept: Path | None = None) -> tuple[list[Package], list[Issue]]:
    """The packages at these paths, after those that they depend on, as far as they lie beside them; and what is missing.

    `kept`: a folder for compact forms, so that a package is read only once. Raises Usage for what is no package.
    """
    found: dict[str, Package] = {}
    issues: list[Issue] = []
    for path in paths:
        _load(path, kept, found, issues)
    return list(found.values()), issues


def compact(manifest: Manifest, resources: Iterable[Mapping[str, Any]]) -> bytes:
    """The compact form of a package, the same bytes for the same definitions in any order."""
    lines = {}
    for resource in resources:
        kind, url = resource.get("resourceType"), resource.get("url")
        if isinstance(kind, str) and kind in _RECORDS and isinstance(url, str):
            try:
                record = _RECORDS[kind](resource)
            except (msgspec.ValidationError, KeyError, TypeError, AttributeError):
                continue  # a definition that breaks its own rules holds no rule for anyone else
            lines[kind, url] = _encode([kind, url, record])
    return b"\n".join([msgspec.json.encode(manifest), *(lines[key] for key in sorted(lines))]) + b"\n"


_RECORDS: Final = {
    "StructureDefinition": structures.from_resource,
    "ValueSet": definitions.value_set,
    "CodeSystem": definitions.code_system,
}


_DECODERS: Final[dict[str, msgspec.json.Decoder[Any]]] = {
    "StructureDefinition": msgspec.json.Decoder(tuple[str, str, StructureDefinition], float_hook=Decimal),
    "ValueSet": msgspec.json.Decoder(tuple[str, str, ValueSet], float_hook=Decimal),
    "CodeSystem": msgspec.json.Decoder(tuple[str, str, CodeSystem], float_hook=Decimal),
}


def _places(lines: bytes) -> Iterator[tuple[tuple[str, str], slice]]:
    """(kind, URL) and place of each line."""
    start = 0
    while (end := lines.find(b"\n", start)) >= 0:
        head = _HEAD.match(lines, start)
        if head is None:
            raise msgspec.DecodeError("no definition")
        yield (head[1].decode(), msgspec.json.decode(head[2], type=str)), slice(start, end)
        start = end + 1


# Reading ------------------------------------------------------------------------------------------------------------


def _load(path: Path, kept: Path | None, found: dict[str, Package], issues: list[Issue]) -> None:
    package = _read(path, kept)
    manifest = package.manifest
    if manifest.id in found or manifest.id == core().manifest.id:
        return
    found[manifest.id] = package  # holds the place, so that packages that name each other come to an end
    for name, version in sorted(manifest.dependencies.items()):
        if name in found or name == core().manifest.id:
            continue
        beside = _beside(path, name, version)
        if beside is not None:
            _load(beside, kept, found, issues)
        got = found[name].manifest.version if name in found else None
        if got != version:
            issues.append(_dependency(manifest, name, version, got))
    found[manifest.id] = found.pop(manifest.id)


def _dependency(manifest: Manifest, name: str, version: str, got: str | None) -> Issue:
    text = f"{manifest} is built on {name}#{version}, " + (f"of which {got} was taken" if got else "which is not beside it")
    fix = f"Put the package {name} {version} into the same folder."
    return Issue("information" if got else "warning", "not-found", "val-package-dependency", text, fix)


def _beside(path: Path, name: str, version: str) -> Path | None:
    """The package of a name in the same folder: of this version, or else the highest there is."""
    named = re.compile(re.escape(name) + r"[-#](\d.*?)(?:\.tgz|\.tar\.gz)?")
    here = {match[1]: each for each in sorted(path.parent.iterdir()) if (match := named.fullmatch(each.name))}
    if version in here:
        return here[version]
    return here[max(here, key=_order)] if here else None


def _order(version: str) -> list[tuple[int, str]]:
    """A release stands above its ballots: https://semver.org/#spec-item-11"""
    parts = [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"[.-]", version)]
    return [*parts, (0, "")]


def _read(path: Path, kept: Path | None) -> Package:
    """Raises Usage where there is no package at the path."""
    try:
        archive = _Folder(path) if path.is_dir() else Archive(path.read_bytes())
        place = kept / f"{archive.sha256}.{FORMAT}.ndjson" if kept else None
        if place and place.is_file():
            return Package(place.read_bytes())
        lines = compact(archive.manifest(), archive.resources())
    except _UNREADABLE as error:
        raise _no_package(path, type(error).__name__) from None
    if place:
        _keep(place, lines)
    return Package(lines)


def _no_package(path: Path, why: str) -> Usage:
    text = f"{path} is no FHIR package ({why})"
    fix = "Give the .tgz of a package, or a folder that holds one or the JSON files of its definitions."
    return Usage([Issue("error", "not-found", "val-package", text, fix)])


def _keep(place: Path, lines: bytes) -> None:
    """Written aside and moved into place, so that nobody reads half of it; where that can't be, it is made anew next time."""
    aside = place.with_name(f"{place.name}.{secrets.token_hex(8)}")
    try:
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        aside.write_bytes(lines)
        aside.replace(place)
    except OSError:
        with suppress(OSError):
            aside.unlink()


class Archive:
    """A .tgz: its definitions lie in the folder `package`, without those of its examples. Raises tarfile.TarError."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.sha256 = hashlib.sha256(content).hexdigest()

    def manifest(self) -> Manifest:
        for name, text in self._files():
            if name == "package/package.json":
                return _manifest(_decode(text), self.sha256)
        raise tarfile.ReadError("no package/package.json")

    def resources(self) -> Iterator[Mapping[str, Any]]:
        yield from _resources(text for name, text in self._files() if re.fullmatch(r"package/[^/]+\.json", name))

    def _files(self) -> Iterator[tuple[str, bytes]]:
        left = MOST_BYTES
        with tarfile.open(fileobj=io.BytesIO(self.content), mode="r:*") as tar:
            while (member := tar.next()) is not None:
                tar.members = []  # type: ignore[attr-defined]  # or an archive of nothing but headers fills the memory
                left -= member.size + tarfile.BLOCKSIZE
                if left < 0:
                    raise tarfile.ReadError("too large")
                file = tar.extractfile(member) if member.isfile() else None
                if file is not None:
                    yield member.name.removeprefix("./"), file.read()


class _Folder:
    """An unpacked package, or a folder of one's own definitions: then it has no package.json, and bears the folder's name."""

    def __init__(self, path: Path) -> None:
        self.name = path.resolve().name
        inner = path / "package"
        self.files = sorted((inner if inner.is_dir() else path).glob("*.json"))
        if not self.files:
            raise FileNotFoundError(path)
        self.texts = [file.read_bytes() for file in self.files]
        names = (os.fsencode(file.name) for file in self.files)
        parts = (
            part for pair in zip(names, self.texts, strict=True) for part in (hashlib.sha256(each).digest() for each in pair)
        )
        self.sha256 = hashlib.sha256(b"".join(parts)).hexdigest()

    def manifest(self) -> Manifest:
        for file, text in zip(self.files, self.texts, strict=True):
            if file.name == "package.json":
                return _manifest(_decode(text), self.sha256)
        return Manifest(self.name, "", self.sha256)

    def resources(self) -> Iterator[Mapping[str, Any]]:
        yield from _resources(self.texts)


def _manifest(package: Any, sha256: str) -> Manifest:
    if not isinstance(package, dict):
        raise msgspec.DecodeError("package.json is no object")
    raw = {"id": package.get("name"), "version": package.get("version"), "sha256": sha256}
    return msgspec.convert({**raw, "dependencies": package.get("dependencies") or {}}, Manifest)


def _resources(texts: Iterable[bytes]) -> Iterator[Mapping[str, Any]]:
    for text in texts:
        # A glance before the decoding: most files of a package are examples and search parameters.
        if any(kind.encode() in text for kind in _RECORDS):
            resource = _decode(text.removeprefix(b"\xef\xbb\xbf"))
            if isinstance(resource, dict):
                yield resource
