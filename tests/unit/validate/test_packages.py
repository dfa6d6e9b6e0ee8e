"""Packages: what is read from archives and folders, what wins, what is missing; and archives and files made to do harm.

Source: https://confluence.hl7.org/display/FHIR/NPM+Package+Specification
"""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from service.errors import Usage
from service.validate import packages
from service.validate.packages import Manifest, Package, Registry, compact
from tests.support.definitions import HOME, codes, package, profile

PROFILE = profile("x", "Patient")


def manifest(name: str = "own", version: str = "1.0.0", **dependencies: str) -> dict[str, Any]:
    return {
        "name": name,
        "version": version,
        "dependencies": {key.replace("_", "."): each for key, each in dependencies.items()},
    }


def archive(path: Path, files: dict[str, Any]) -> Path:
    """A .tgz of files: JSON values, or bytes as they are."""
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            text = content if isinstance(content, bytes) else json.dumps(content).encode()
            member = tarfile.TarInfo(name)
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text))
    return path


def own(folder: Path, name: str = "own", version: str = "1.0.0", *definitions: Any, **dependencies: str) -> Path:
    files = {f"package/{number}.json": each for number, each in enumerate(definitions)}
    head = {"package/package.json": manifest(name, version, **dependencies)}
    return archive(folder / f"{name}-{version}.tgz", head | files)


def urls(path: Path, kept: Path | None = None) -> list[str]:
    (one,), _ = packages.load([path], kept)
    return one.urls("StructureDefinition")


# Reading ---------------------------------------------------------------------------------------------------------------


def test_an_archive_holds_its_definitions_in_the_folder_package(tmp_path: Path) -> None:
    files = {
        "package/package.json": manifest(),
        "package/a.json": PROFILE,
        "package/examples/b.json": profile("b", "Patient"),
        "package/other/c.json": profile("c", "Patient"),
        "d.json": profile("d", "Patient"),
        "package/e.txt": profile("e", "Patient"),
        "package/f.json": {"resourceType": "SearchParameter", "url": HOME + "f"},
    }
    assert urls(archive(tmp_path / "own.tgz", files)) == [HOME + "x"]
    assert urls(archive(tmp_path / "dot.tgz", {f"./{name}": each for name, each in files.items()})) == [HOME + "x"]


def test_an_archive_says_who_it_is(tmp_path: Path) -> None:
    (one,), issues = packages.load([own(tmp_path)])
    assert (str(one.manifest), len(one.manifest.sha256), issues) == ("own#1.0.0", 64, [])


def test_a_folder_bears_its_own_name(tmp_path: Path) -> None:
    (one,), _ = packages.load([package(tmp_path / "mine", PROFILE)])
    assert str(one.manifest) == "mine#"


def test_an_unpacked_package_is_a_folder_too(tmp_path: Path) -> None:
    folder = package(tmp_path / "mine" / "package", PROFILE)
    (folder / "package.json").write_text(json.dumps(manifest("its.name", "2.0.0")), encoding="utf-8")
    (one,), _ = packages.load([folder.parent])
    assert str(one.manifest) == "its.name#2.0.0"
    assert one.urls("StructureDefinition") == [HOME + "x"]


def test_a_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(PROFILE).encode())
    assert urls(tmp_path) == [HOME + "x"]


def test_the_compact_form_is_the_same_in_any_order() -> None:
    head, definitions = Manifest("own", "1", ""), [PROFILE, *codes("colours", "red")]
    lines = compact(head, definitions)
    assert lines == compact(head, reversed(definitions))
    assert Package(lines).urls("CodeSystem") == [HOME + "colours"]


@pytest.mark.parametrize("url", [HOME + 'a"b', HOME + "a\\b", HOME + "a\nb", HOME + "ä", HOME + "x" * 5000, ""])
def test_any_url_finds_its_definition_again(url: str) -> None:
    one = Package(compact(Manifest("own", "1", ""), [PROFILE | {"url": url}]))
    assert one.urls("StructureDefinition") == [url]
    assert one.get("StructureDefinition", url).url == url
    assert one.names(url)


def test_a_definition_that_is_none_is_left_out() -> None:
    broken: list[Any] = [
        PROFILE | {"kind": "thing"},
        PROFILE | {"url": 1},
        PROFILE | {"differential": [1]},
        PROFILE | {"differential": {"element": [{"id": "Patient"}]}},
        PROFILE | {"differential": {"element": ["Patient"]}},
        {"resourceType": "CodeSystem", "url": HOME, "concept": [{"display": "a"}]},
        {"resourceType": "ValueSet", "url": HOME, "compose": [1]},
        {"resourceType": ["ValueSet"], "url": HOME},
        {"resourceType": "Other", "url": HOME},
    ]
    lines = compact(Manifest("own", "1", ""), broken)
    assert lines.count(b"\n") == 1


# Finding ---------------------------------------------------------------------------------------------------------------


def test_of_profiles_the_first_counts_and_of_codes_the_last_and_versions_are_not_told_apart() -> None:
    def named(name: str) -> Package:
        definitions = [PROFILE, *codes("colours", "red")]
        return Package(compact(Manifest(name, "1", ""), [each | {"version": name} for each in definitions]))

    registry = Registry([named("first"), named("second")])
    for suffix in ("", "|first", "|second", "|"):
        found = [
            registry.structure(HOME + "x" + suffix),
            registry.code_system(HOME + "colours" + suffix),
            registry.value_set(HOME + "colours-set" + suffix),
        ]
        assert [each and each.version for each in found] == ["first", "second", "second"]
    assert registry.structure(HOME + "y") is None


def test_a_url_that_holds_a_bar_is_found_as_it_is() -> None:
    """As those of six code systems of R4: http://terminology.hl7.org/CodeSystem/v2-0360|2.3.1"""
    system = "http://terminology.hl7.org/CodeSystem/v2-0360|2.3.1"
    record = Registry([packages.core()]).code_system(system)
    assert record is not None
    assert record.url == system


# What packages build on ------------------------------------------------------------------------------------------------


def loaded(*paths: Path) -> tuple[list[str], list[str]]:
    found, issues = packages.load(paths)
    assert all(issue.rule == "val-package-dependency" for issue in issues)
    return [str(each.manifest) for each in found], [issue.severity for issue in issues]


def test_what_a_package_builds_on_is_taken_from_beside_it_and_comes_first(tmp_path: Path) -> None:
    own(tmp_path, "below", "1.0.0")
    assert loaded(own(tmp_path, "above", "2.0.0", below="1.0.0")) == (["below#1.0.0", "above#2.0.0"], [])


def test_another_version_is_taken_and_told(tmp_path: Path) -> None:
    for version in ("1.9.0", "1.10.0", "1.10.0-ballot"):
        own(tmp_path, "below", version)
    assert loaded(own(tmp_path, "above", "2.0.0", below="1.0.0")) == (["below#1.10.0", "above#2.0.0"], ["information"])


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    assert loaded(own(tmp_path, "above", "2.0.0", below="1.0.0")) == (["above#2.0.0"], ["warning"])


def test_r4_itself_is_always_there(tmp_path: Path) -> None:
    assert loaded(own(tmp_path, "above", "2.0.0", hl7_fhir_r4_core="4.0.1")) == (["above#2.0.0"], [])


def test_packages_that_build_on_each_other_come_to_an_end(tmp_path: Path) -> None:
    first, second = own(tmp_path, "a", "1.0.0", b="1.0.0"), own(tmp_path, "b", "1.0.0", a="1.0.0")
    assert loaded(first, second) == (["b#1.0.0", "a#1.0.0"], [])


def test_a_package_under_the_name_of_another_comes_to_an_end(tmp_path: Path) -> None:
    one = archive(tmp_path / "b-1.0.0.tgz", {"package/package.json": manifest("a", "1.0.0", b="1.0.0")})
    assert loaded(one) == (["a#1.0.0"], ["warning"])


# Kept ------------------------------------------------------------------------------------------------------------------


def test_the_compact_form_is_kept_and_read_again(tmp_path: Path) -> None:
    path, kept = own(tmp_path, "own", "1.0.0", PROFILE), tmp_path / "deep" / "kept"
    assert urls(path, kept) == [HOME + "x"]
    (file,) = kept.iterdir()
    file.write_bytes(compact(Manifest("own", "1.0.0", ""), [profile("kept", "Patient")]))
    assert urls(path, kept) == [HOME + "kept"]


def test_a_changed_folder_is_read_anew(tmp_path: Path) -> None:
    folder, kept = package(tmp_path / "mine", PROFILE), tmp_path / "kept"
    assert urls(folder, kept) == [HOME + "x"]
    package(folder, profile("y", "Patient"))
    assert urls(folder, kept) == [HOME + "y"]


def test_where_nothing_can_be_kept_nothing_is(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert urls(own(tmp_path, "own", "1.0.0", PROFILE), tmp_path / "file") == [HOME + "x"]


# Harm ------------------------------------------------------------------------------------------------------------------

ZIPPED = gzip.compress(bytes(range(256)) * 100)


@pytest.mark.parametrize(
    "content",
    [b"", b"no archive", ZIPPED, ZIPPED[:40], ZIPPED[:60] + b"\0" * 80, b"BZh9" + b"\0" * 80, b"\xfd7zXZ\0" + b"\0" * 80],
    ids=["empty", "text", "no tar", "cut off", "broken gzip", "broken bzip2", "broken xz"],
)
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.tgz"
    path.write_bytes(content)
    with pytest.raises(Usage, match="is no FHIR package"):
        packages.load([path])


def test_a_cut_archive_is_refused(tmp_path: Path) -> None:
    path = own(tmp_path, "own", "1.0.0", *(profile(str(number), "Patient") for number in range(200)))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(Usage):
        packages.load([path])


@pytest.mark.parametrize("path", ["nowhere", "nowhere.tgz"])
def test_what_is_not_there_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(Usage):
        packages.load([tmp_path / path])


def test_a_folder_without_definitions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Usage):
        packages.load([tmp_path])


@pytest.mark.parametrize(
    "head",
    [None, [], "own", {}, {"name": "own"}, {"name": 1, "version": "1"}, {"name": "own", "version": "1", "dependencies": ["a"]}],
)
def test_a_package_that_does_not_say_who_it_is_is_refused(tmp_path: Path, head: Any) -> None:
    files = {"package/a.json": PROFILE} | ({} if head is None else {"package/package.json": head})
    with pytest.raises(Usage):
        packages.load([archive(tmp_path / "a.tgz", files)])


@pytest.mark.parametrize(
    "text",
    [
        b'{"resourceType": "StructureDefinition",',
        b'{"resourceType": "StructureDefinition", "url": "\xff"}',
        b'{"resourceType": "StructureDefinition", "url": "\\ud800"}',
        b'{"resourceType": "StructureDefinition", "url": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"resourceType": "StructureDefinition", "min": 1e99999999999999999999}',
        b'{"resourceType": "StructureDefinition", "min": ' + b"9" * 6000 + b"}",
    ],
    ids=["cut off", "not UTF-8", "lone surrogate", "deep", "huge exponent", "huge number"],
)
def test_a_definition_that_is_no_json_refuses_the_package(tmp_path: Path, text: bytes) -> None:
    path = archive(tmp_path / "a.tgz", {"package/package.json": manifest(), "package/a.json": text})
    with pytest.raises(Usage):
        packages.load([path])


@pytest.mark.parametrize(
    "files",
    [
        {"package/a.json": b" " * 3_000_000},
        {"package/a.txt": b" " * 3_000_000},
        {f"package/{number}": b"" for number in range(3000)},
    ],
    ids=["one large file", "one that is not looked at", "headers alone"],
)
def test_an_archive_that_unpacks_to_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, Any]
) -> None:
    monkeypatch.setattr(packages, "MOST_BYTES", 1_000_000)
    path = archive(tmp_path / "a.tgz", files | {"package/package.json": manifest()})
    assert path.stat().st_size < 100_000
    with pytest.raises(Usage):
        packages.load([path])


def test_odd_members_are_passed_over(tmp_path: Path) -> None:
    """Links, devices, and names that lead out of the folder: nothing is written to disk, and no link is followed."""
    path = tmp_path / "own-1.0.0.tgz"
    secret = package(tmp_path / "secret", profile("secret", "Patient")) / "000.json"
    with tarfile.open(path, "w:gz") as tar:
        for type_ in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE):
            member = tarfile.TarInfo("package/a.json")
            member.type, member.linkname = type_, str(secret)
            tar.addfile(member)
        for name in ("../package/b.json", "/package/b.json", "package/../b.json", "package/\udcff.json"):
            text = json.dumps(profile("b", "Patient")).encode()
            member = tarfile.TarInfo(name)
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text))
        text = json.dumps(manifest()).encode()
        member = tarfile.TarInfo("package/package.json")
        member.size = len(text)
        tar.addfile(member, io.BytesIO(text))
    assert urls(path) == [HOME + "b"]  # of the last name, which is only odd
    assert sorted(each.name for each in tmp_path.iterdir()) == ["own-1.0.0.tgz", "secret"]
