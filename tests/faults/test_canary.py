"""A canary in every field: whatever breaks, nothing that is written shows it. The app's own tests are in tests/unit/api."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.fhir import json
from service.validate.report import FORMATS
from tests.faults.routes import JSON, Ask, bodies
from tests.faults.served import Answer, Place, Served, casebridge, served
from tests.support.faults import CANARY
from tests.unit.api.test_canary import CHANGES, everywhere
from tests.unit.api.test_hostile import BAD

AT = "service"
SECRET = CANARY.encode()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(Place(tmp_path_factory.mktemp("canary"))) as running:
        yield running


def written(root: Path) -> list[str]:
    """Where the canary shows under a folder: in the name of a file, or in it."""
    files = [path for path in root.rglob("*") if not path.is_socket()]
    return [str(path) for path in files if CANARY in path.name or (path.is_file() and SECRET in path.read_bytes())]


def shows(found: Answer) -> bool:
    return SECRET in found.data or CANARY in str(found.headers)


def bundle_of(engine: Any, case: dict[str, Any]) -> dict[str, Any]:
    made = engine.convert(json.dumps(case)).bundle
    assert made is not None
    return dict(made)


def broken(engine: Any, case: dict[str, Any]) -> Iterator[bytes]:
    """Texts with the canary in every leaf, which nobody can take: a case and a Bundle with every change, and every kind of text
    that is no JSON. A part of each section and every seventh resource will do."""
    bundle = bundle_of(engine, case)
    bundle["entry"] = bundle["entry"][::7]
    case = {name: value[:2] if isinstance(value, list) else value for name, value in case.items()}
    for change in CHANGES.values():
        yield json.dumps(everywhere(case, change))
        yield json.dumps(everywhere(bundle, change))
        yield json.dumps({**bundle, "entry": [_same_type(entry, change) for entry in bundle["entry"]]})
    yield json.dumps({**case, CANARY.lower(): {"other": [CANARY]}})
    text = json.dumps(everywhere(case, CHANGES["instead"]))
    for spoilt, _rule, _pointer in BAD.values():
        yield text[: len(text) // 2] + spoilt


def _same_type(entry: dict[str, Any], change: Any) -> dict[str, Any]:
    resource = everywhere(entry["resource"], change)
    return {**entry, "resource": {**resource, "resourceType": entry["resource"]["resourceType"]}}


def test_r39_the_service_tells_nothing_of_what_it_refuses(fault, app, service, engine, case):
    for text in broken(engine, case):
        for address in bodies(app.url_map):
            found = service.ask(Ask("POST", address, {"Content-Type": JSON}, text))
            fault.injected("a text with a canary in every leaf")
            assert found.status in (200, 400, 422), address
            if found.status != 200 or address not in ("/convert", "/to-case"):
                assert not shows(found), address
    assert written(service.place.root) == []


def test_r39_nor_of_what_it_takes(fault, service, case):
    """What is right is answered in full, and told to nobody else."""
    made = service.ask(Ask("POST", "/convert", {"Content-Type": JSON}, json.dumps(case)))
    back = service.ask(Ask("POST", "/to-case", {"Content-Type": JSON}, made.data))
    judged = service.ask(Ask("POST", "/validate", {"Content-Type": JSON}, made.data))
    fault.injected("a case with a canary in each note", 3)
    assert shows(made)
    assert shows(back)
    assert not shows(judged)
    assert written(service.place.root) == []


def test_r39_nor_of_where_it_was_asked(fault, service):
    """Addresses, queries, headers and methods are data too: people put names and record numbers there. One thing is told: the
    profile that a caller of $validate names and the service does not have, for it is the name of a definition."""
    plain, body = {"Content-Type": JSON}, b"{}"
    asks = [
        Ask("GET", f"/mappings/{CANARY}"),
        Ask("GET", f"/{CANARY}?{CANARY}={CANARY}"),
        Ask("GET", "/", {"Cookie": CANARY, "Referer": f"https://example.org/{CANARY}", "User-Agent": CANARY}),
        Ask("GET", "/mappings", {"X-Request-ID": f"{CANARY} {CANARY}", "Authorization": f"Basic {CANARY}"}),
        Ask("POST", f"/convert?mapping={CANARY}", plain, body),
        Ask("POST", f"/convert?{CANARY}=1", plain, body),
        Ask("POST", f"/fhir/{CANARY}/$validate", plain, b'{"resourceType": "Patient"}'),
        Ask("POST", f"/fhir/Patient/{CANARY}/$validate", plain, b'{"resourceType": "Patient"}'),
        Ask("POST", "/convert", {"Content-Type": f"application/{CANARY}"}, body),
        Ask("POST", "/convert", {**plain, "Content-Encoding": CANARY}, body),
        Ask("POST", "/convert", {**plain, "Accept": f"text/{CANARY}"}, body),
        Ask(CANARY.upper(), "/convert"),
    ]
    told = []
    for ask in asks:
        found = service.ask(ask)
        fault.injected("a request with a canary in it")
        if shows(found):
            told.append((ask.address, found.data))
    assert told == []
    assert written(service.place.root) == []


@pytest.mark.parametrize("words", [["convert"], ["convert", "--json"], ["to-case"]], ids=" ".join)
def test_r39_the_commands_tell_nothing_of_what_they_refuse(fault, engine, case, tmp_path, words):
    place, inputs = Place(tmp_path / "process"), tmp_path / "inputs"
    inputs.mkdir()
    for number, text in enumerate(broken(engine, case)):
        (inputs / f"{number:03}.json").write_bytes(text)
    done = casebridge(place, words[0], inputs, *words[1:])
    fault.injected("a text with a canary in every leaf", len(list(inputs.iterdir())), at="command")
    assert done.returncode == 3
    assert b"internal error" not in done.stderr
    assert SECRET not in done.stderr
    assert not done.stdout
    assert written(place.root) == []


@pytest.mark.parametrize("name", FORMATS)
def test_r39_no_report_tells_it(fault, engine, case, tmp_path, name):
    place, inputs = Place(tmp_path / "process"), tmp_path / "inputs"
    inputs.mkdir()
    for number, text in enumerate(broken(engine, case)):
        (inputs / f"{number:03}.json").write_bytes(text)
    done = casebridge(place, "validate", inputs, "--format", name)
    fault.injected("a text with a canary in every leaf", len(list(inputs.iterdir())), at="command")
    assert done.returncode == 3
    assert SECRET not in done.stdout + done.stderr
    assert written(place.root) == []
