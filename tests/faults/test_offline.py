"""Converting and validating need no network: with none there is, the result is whole, and nobody tried to reach one."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from service.examples import EXAMPLE_KEY
from service.fhir import json
from tests.conftest import ROOT
from tests.faults.routes import Ask
from tests.faults.served import Place, casebridge, served

AT = "command"
CASES = ROOT / "examples" / "cases"
BUNDLES = ROOT / "examples" / "bundles"
KEY = {"CASEBRIDGE_KEY": EXAMPLE_KEY.decode()}
# As an operator's environment may have them: nothing may ask them either.
PROXIES = dict.fromkeys(("http_proxy", "https_proxy", "HTTPS_PROXY", "ALL_PROXY"), "http://127.0.0.1:9")


def converted(place: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(place.iterdir())}


@pytest.fixture
def no_network() -> list[str]:
    """The words that run a program in a network of its own, in which there is nothing, not even loopback."""
    unshare = shutil.which("unshare")
    for words in ([unshare, "--net"], [unshare, "--net", "--map-root-user"]) if unshare else ():
        if subprocess.run([*words, "true"], capture_output=True, check=False).returncode == 0:
            return [str(word) for word in words]
    pytest.skip("a network namespace cannot be made here")


def run_all(place: Place, before: list[str]) -> int:
    """Each command that has no server to ask, each with the result that it has elsewhere; how many there were."""
    out = place.root / "out"
    done = casebridge(place, "convert", CASES, "-o", out, before=before, **KEY, **PROXIES)
    assert done.returncode == 0, done.stderr
    assert converted(out) == converted(BUNDLES)
    done = casebridge(place, "to-case", BUNDLES, "-o", place.root / "back", before=before, **KEY, **PROXIES)
    assert done.returncode == 0, done.stderr
    for path in CASES.iterdir():
        assert json.loads((place.root / "back" / path.name).read_bytes()) == json.loads(path.read_bytes())
    done = casebridge(place, "validate", BUNDLES, "--errors-only", before=before, **PROXIES)
    assert done.returncode == 0, done.stderr
    done = casebridge(place, "mappings", "test", before=before, **PROXIES)
    assert done.returncode == 0, done.stderr
    return 4


def sockets(place: Place) -> list[str]:
    return [f"{one.name} {one.what}" for one in place.opened() if one.name.startswith("socket")]


def test_r43_the_commands_in_a_network_with_nothing_in_it(fault, tmp_path, no_network):
    fault.injected("a command without a network", run_all(Place(tmp_path), no_network))


def test_r43_the_commands_open_no_socket(fault, tmp_path):
    place = Place(tmp_path)
    fault.injected("a command whose sockets are counted", run_all(place, []))
    assert sockets(place) == []
    assert any("core.ndjson" in one.what for one in place.opened()), "the watch was there"


def test_r43_the_service_reaches_for_nobody(fault, tmp_path):
    """It listens and accepts; it connects to nothing and asks for no name."""
    place = Place(tmp_path)
    body = {"Content-Type": "application/json"}
    with served(place, **KEY, **PROXIES) as service:
        for path in CASES.iterdir():
            made = service.ask(Ask("POST", "/convert", body, path.read_bytes()))
            assert json.loads(made.data) == json.loads((BUNDLES / path.name).read_bytes())
            assert json.loads(service.ask(Ask("POST", "/to-case", body, made.data)).data) == json.loads(path.read_bytes())
            assert service.ask(Ask("POST", "/validate", body, made.data)).status == 200
            fault.injected("a request whose connections are counted", 3, at="service")
    reached = [one for one in sockets(place) if one.startswith(("socket.connect", "socket.getaddrinfo"))]
    assert reached == []


def test_control_the_watch_sees_a_socket_and_a_namespace_has_no_network(tmp_path, no_network):
    place = Place(tmp_path)
    code = "import socket; s = socket.socket(); s.connect(('127.0.0.1', 9))"
    done = subprocess.run(
        [*no_network, sys.executable, "-c", code], env=place.environment(), capture_output=True, text=True, check=False
    )
    assert "Network is unreachable" in done.stderr
    assert [one.split()[0] for one in sockets(place)] == ["socket.__new__", "socket.connect"]
