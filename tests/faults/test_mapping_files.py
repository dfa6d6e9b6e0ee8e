"""Mapping sets that mean harm: what their YAML says, and by which names they are asked for."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from click.testing import CliRunner

from service.cli import main
from service.fhir import json
from service.mapping.compiled import load_mapping
from tests.conftest import ROOT
from tests.faults.routes import Ask
from tests.faults.served import Opened, Place, Served, served
from tests.unit.mapping.test_bad_mappings import issues_of

AT = "library"
SETS = ROOT / "tests" / "data" / "bad_mappings"


# --- R-37 ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["duplicate_key", "python_tag", "core_tag", "alias_bomb", "merge_key", "two_documents"])
def test_r37_it_is_refused_with_line_and_column(fault, name):
    [issue] = issues_of(SETS / name)
    fault.injected("YAML that means harm")
    assert issue.rule in ("mapping-yaml", "mapping-duplicate-key", "mapping-key")
    assert issue.origin
    assert issue.origin.line
    assert issue.origin.column
    done = CliRunner().invoke(main, ["mappings", "check", str(SETS / name)])
    fault.injected("YAML that means harm", at="command")
    assert done.exit_code == 1
    assert str(issue.origin) in done.stderr


def test_r37_the_service_does_not_start_with_it(fault, tmp_path):
    sets = tmp_path / "sets"
    shutil.copytree(SETS / "python_tag", sets / "myeloma")
    place = Place(tmp_path)
    with pytest.raises(RuntimeError, match="ended with 1"), served(place, CASEBRIDGE_MAPPINGS=str(sets)):
        pass
    fault.injected("YAML that means harm", at="service")
    assert "labs.yaml:13:14" in place.log.read_text()


def test_r37_words_that_yaml_takes_for_values_stay_words(fault):
    mapping = load_mapping(SETS / "good_scalars_stay_text")
    read = {str(name): str(reason) for name, reason in mapping.spec.ignored.items()}
    fault.injected("a word that YAML 1.1 takes for a value", len(read) * 2)
    assert read == {"NO": "12:30", "0123": "2018-08", "yes": "~", "1e3": "0x1F"}


@pytest.mark.parametrize("word", ["NO", "off", "12:30", "0123", "1_000", "2018-08-21", "~", "null", ".inf", "0x1F", "1e3", "="])
def test_r37_each_of_them_as_a_version(fault, tmp_path, word):
    """A field whose text comes out again: in the answer of the service, say."""
    root = tmp_path / "tiny"
    shutil.copytree(SETS / "good", root)
    path = root / "mapping.yaml"
    text = path.read_text()
    assert "version: 1.0.0\n" in text
    path.write_text(text.replace("version: 1.0.0\n", f"version: {word}\n"))
    fault.injected("a word that YAML 1.1 takes for a value")
    assert str(load_mapping(root).spec.version) == word


def test_r37_a_bomb_of_aliases_is_refused_at_its_first_anchor(fault, tmp_path):
    """Ten of ten of ten …: ten thousand million, if it were read out."""
    root = tmp_path / "tiny"
    shutil.copytree(SETS / "good", root)
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    labs = root / "resources" / "labs.yaml"
    before = labs.read_text()
    labs.write_text(before + "\n".join(lines) + "\n")
    [issue] = issues_of(root)
    fault.injected("YAML that means harm")
    assert (issue.rule, issue.origin.line, issue.origin.column) == ("mapping-yaml", before.count("\n") + 1, 5)


# --- R-38 ---------------------------------------------------------------------------------------------------------------

NAMES = [
    "../../etc/passwd",
    "../../../../../../../../etc/passwd",
    "/etc/passwd",
    "//etc/passwd",
    "..\\..\\etc\\passwd",
    "..",
    ".",
    "./myeloma",
    "myeloma/",
    "myeloma/../myeloma",
    "myeloma/mapping.yaml",
    "myeloma\0",
    "file:///etc/passwd",
    "~root",
    "linked",
    "\u2025/\u2025/etc/passwd",
    "Myeloma",
    "",
]


def spellings(name: str) -> list[str]:
    """The name as it can stand in an address: plain, percent-encoded, and percent-encoded twice."""
    once = quote(name, safe="")
    dots = once.replace(".", "%2e")
    return list(dict.fromkeys([quote(name), once, dots, quote(once, safe="")]))


def asks(name: str) -> list[Ask]:
    body = {"Content-Type": "application/json"}
    found = []
    for spelling in spellings(name):
        found += [Ask("GET", f"/mappings/{spelling}{rest}") for rest in (("/schema.json", "") if name else ("/schema.json",))]
        found += [Ask("POST", f"{address}?mapping={spelling}", body, b"{}") for address in ("/convert", "/to-case")]
        found += [Ask("GET", f"/static/{spelling}")]
    return found


@pytest.fixture(scope="module")
def watched(tmp_path_factory) -> Iterator[Served]:
    """A service whose folder of sets holds one set, and a link to another outside."""
    place = Place(tmp_path_factory.mktemp("watched"))
    sets, outside = place.root / "sets", place.root / "outside"
    shutil.copytree(ROOT / "mappings" / "myeloma", sets / "myeloma")
    shutil.copytree(ROOT / "mappings" / "myeloma", outside / "secret")
    (sets / "linked").symlink_to(outside / "secret")
    with served(place, CASEBRIDGE_MAPPINGS=str(sets)) as service:
        # What is loaded at its first use is loaded now.
        assert service.ask(Ask("GET", "/mappings/myeloma")).status == 200
        assert service.ask(Ask("GET", "/static/page.css")).status == 200
        assert {service.ask(ask).status for ask in asks("nosuch")} == {404}
        yield service


def files(opened: list[Opened]) -> list[Opened]:
    return [one for one in opened if not one.name.startswith("socket")]


@pytest.mark.parametrize("name", NAMES)
def test_r38_there_is_no_such_set_and_nothing_is_opened_to_find_out(fault, watched, name):
    before = len(watched.place.opened())
    for ask in asks(name):
        answer = watched.ask(ask)
        fault.injected("a name that leads elsewhere", at="service")
        assert answer.status == 404, ask
        assert answer.headers.get_content_type() == "application/fhir+json"
        assert json.loads(answer.data)["issue"][0]["code"] == "not-found"
    assert files(watched.place.opened()[before:]) == []


def test_r38_an_address_that_no_client_would_tidy(fault, watched):
    """As curl --path-as-is sends it: byte for byte, on a socket."""
    before = len(watched.place.opened())
    for target in (b"/mappings/../../../etc/passwd", b"/../etc/passwd", b"/static/../../app.py", b"//etc/passwd"):
        with watched.connected() as connection:
            connection.sendall(b"GET %b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % target)
            answer = b"".join(iter(lambda c=connection: c.recv(65536), b""))
        fault.injected("a name that leads elsewhere", at="service")
        assert answer.startswith(b"HTTP/1.1 404 "), target
        assert b"OperationOutcome" in answer
    assert files(watched.place.opened()[before:]) == []


def test_r38_what_lies_behind_a_link_was_never_opened(fault, watched):
    fault.injected("a link that leads elsewhere", at="service")
    everything = [one.what for one in files(watched.place.opened())]
    assert any("sets/myeloma/mapping.yaml" in what for what in everything)
    assert not [what for what in everything if "outside" in what or "sets/linked/" in what or "passwd" in what]


def test_control_the_watch_sees_what_is_opened(watched):
    before = len(watched.place.opened())
    assert watched.ask(Ask("GET", "/static/page.css")).status == 200
    assert any("page.css" in one.what for one in files(watched.place.opened()[before:]))
