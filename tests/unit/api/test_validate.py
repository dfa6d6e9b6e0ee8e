"""POST /validate and $validate: a stand-in validator decides what is wrong; here is tested what is asked of it and answered."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from service.api import create_app
from service.errors import CasebridgeError, Usage
from service.fhir import json
from service.issues import Issue, Origin
from tests.unit.validate.test_report import Manifest

CANARY = "Kowalski"
GOOD = {"resourceType": "Patient", "id": "p1", "gender": "female"}
BAD = {"resourceType": "Patient", "id": "p1", "name": [{"family": CANARY}], "gender": "femail"}
OPERATIONS = ["/fhir/$validate", "/fhir/Patient/$validate", "/fhir/Patient/p1/$validate"]
ADDRESSES = ["/validate", *OPERATIONS]


class StandIn:
    """A validator for which a gender "femail" is an error. It notes how often it was loaded and what it was asked."""

    packages: ClassVar = [Manifest()]
    notes: ClassVar = ()

    def __init__(self) -> None:
        self.loads = 0
        self.profiles: Sequence[str] = ()

    def load(self, _packages: Sequence[Path] = (), **_options: Any) -> StandIn:
        self.loads += 1
        return self

    def validate(self, text: bytes, *, profiles: Sequence[str] = (), **_options: Any) -> list[Issue]:
        self.profiles = profiles
        resource = json.loads(text)
        if not isinstance(resource, dict) or resource.get("gender") != "femail":
            return []
        place = json.locate(text)["/gender"]
        source, where = Origin("-", *place), {"pointer": "/gender", "expression": "Patient.gender"}
        return [Issue("error", "code-invalid", "val-binding", "no code of the value set", source=source, **where)]


@pytest.fixture(autouse=True)
def validator(app, monkeypatch) -> StandIn:
    stand_in = StandIn()
    monkeypatch.setattr("service.validate.validator.load_validator", stand_in.load)
    monkeypatch.setattr(app.extensions["casebridge-validator"], "_loaded", None)
    return stand_in


@pytest.fixture
def rules(post):
    """The rules that are broken by what is sent to an address."""

    def ask(address: str, value: Any) -> list[str]:
        response = post(address, value)
        assert response.status_code == 200, response.get_data(as_text=True)
        assert response.mimetype == "application/fhir+json"
        assert CANARY.encode() not in response.data
        outcome = json.loads(response.data)
        assert outcome["resourceType"] == "OperationOutcome"
        return [one["details"]["coding"][0]["code"] for one in outcome["issue"] if "coding" in one["details"]]

    return ask


def wrapped(resource: Any = None, **parts: str) -> dict[str, Any]:
    """Parameters of the operation: parts named by the parameter and its type, as mode_valueCode."""
    found = [{"name": key.split("_")[0], key.split("_")[1]: value} for key, value in parts.items()]
    found += [] if resource is None else [{"name": "resource", "resource": resource}]
    return {"resourceType": "Parameters", "parameter": found}


@pytest.mark.parametrize("address", ADDRESSES)
def test_any_resource_is_answered_with_its_outcome(rules, address):
    assert rules(address, GOOD) == []
    assert rules(address, BAD) == ["val-binding"]


@pytest.mark.parametrize("address", OPERATIONS)
def test_a_resource_in_parameters(rules, address):
    assert rules(address, wrapped(GOOD)) == []
    assert rules(address, wrapped(BAD)) == ["val-binding"]


def test_places_are_those_of_the_body(post):
    text = json.dumps(wrapped(BAD, mode_valueCode="create"), indent=True)
    [issue] = json.loads(post("/fhir/$validate", text).data)["issue"]
    said = {one["url"].rpartition("/")[2]: next(one[key] for key in one if key != "url") for one in issue["extension"]}
    line = text.decode().splitlines()[said["operationoutcome-issue-line"] - 1]
    assert line[said["operationoutcome-issue-col"] - 1 :] == '"gender": "femail"'
    assert issue["expression"] == ["Patient.gender"]
    assert said["case-path"] == "/gender"
    assert said["operationoutcome-authority"].startswith("http://hl7.org/fhir/R4/")


def test_the_answer_names_what_judged(post):
    outcome = json.loads(post("/validate", GOOD).data)
    parts = [{one["url"]: one["valueString"] for one in judge["extension"]} for judge in outcome["extension"]]
    assert [part["name"] for part in parts] == ["casebridge", "hl7.fhir.r4.core"]
    assert parts[1] == {"name": "hl7.fhir.r4.core", "version": "4.0.1", "sha256": Manifest.sha256}


def test_profiles_reach_the_validator(rules, validator):
    rules("/validate?profile=http://a&profile=http://b", GOOD)
    assert list(validator.profiles) == ["http://a", "http://b"]
    rules("/fhir/$validate?profile=http://a", wrapped(GOOD, profile_valueUri="http://b"))
    assert list(validator.profiles) == ["http://a", "http://b"]
    rules("/fhir/$validate", wrapped(GOOD, profile_valueCanonical="http://c"))
    assert list(validator.profiles) == ["http://c"]


@pytest.mark.parametrize(
    ("address", "value", "expected"),
    [
        ("/fhir/$validate?mode=create", GOOD, []),
        ("/fhir/$validate?mode=update", GOOD, []),
        ("/fhir/$validate?mode=profile&profile=http://a", GOOD, []),
        ("/fhir/$validate", wrapped(BAD, mode_valueCode="update"), ["val-binding"]),
        ("/fhir/$validate?mode=update", {"resourceType": "Patient"}, ["operation-validate"]),
        ("/fhir/$validate?mode=profile", BAD, ["operation-validate", "val-binding"]),
        ("/fhir/Patient/p1/$validate?mode=delete", b"", ["operation-validate"]),
        ("/fhir/$validate", wrapped(BAD, mode_valueCode="delete"), ["operation-validate"]),
        ("/fhir/$validate", wrapped(), ["operation-validate"]),
        ("/fhir/$validate", b"", ["operation-validate"]),
        ("/fhir/Observation/$validate", GOOD, ["operation-validate"]),
        ("/fhir/Patient/p2/$validate", GOOD, ["operation-validate"]),
        ("/fhir/Patient/p1/$validate", {"resourceType": "Patient"}, []),
        ("/fhir/Patient/$validate", [], ["operation-validate"]),
    ],
)
def test_modes_types_and_ids(rules, address, value, expected):
    assert rules(address, value) == expected


@pytest.mark.parametrize("address", ADDRESSES)
def test_what_http_asks_for(client, refusal, address):
    read = client.get(address)
    refusal(read, 405)
    assert "POST" in read.headers["Allow"]
    sent = {"data": json.dumps(GOOD), "content_type": "application/json"}
    refusal(client.post(address, **sent, headers={"Accept": "application/fhir+xml"}), 406)
    refusal(client.post(address, **sent | {"content_type": "application/fhir+xml"}), 415)


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("text", [b"{", b"\xff", b'{"a": NaN}'])
def test_what_is_no_json_is_refused(post, refusal, address, text):
    refusal(post(address, text), 400)


@pytest.mark.parametrize(
    ("address", "value"),
    [
        ("/validate?mode=create", GOOD),
        ("/fhir/$validate?mode=banana", GOOD),
        ("/fhir/$validate?profile=a&profile=b", GOOD),
        ("/fhir/$validate", wrapped(GOOD, mode_valueCode=CANARY)),
        ("/fhir/$validate", wrapped(GOOD, mode_valueBoolean="create")),
        ("/fhir/$validate", wrapped(GOOD, other_valueCode="x")),
        ("/fhir/$validate", wrapped(CANARY)),
        ("/fhir/$validate", {"resourceType": "Parameters", "parameter": [CANARY]}),
        ("/fhir/$validate", {"resourceType": "Parameters", "parameter": {"name": CANARY}}),
        ("/fhir/$validate", {"resourceType": "Parameters", "parameter": 2 * wrapped(GOOD)["parameter"]}),
    ],
)
def test_parameters_that_the_operation_does_not_have(post, refusal, address, value):
    response = post(address, value)
    [issue] = refusal(response, 400)
    assert issue["code"] == "value"
    assert CANARY.encode() not in response.data


def test_the_validator_is_loaded_once_and_at_its_first_use(app, validator):
    assert validator.loads == 0

    def ask(_number: int) -> int:
        return app.test_client().post("/validate", data=json.dumps(GOOD), content_type="application/json").status_code

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(ask, range(32))) == {200}
    assert validator.loads == 1


def test_packages_are_loaded_before_the_first_request(settings, tmp_path, validator):
    (tmp_path / "own.tgz").touch()
    create_app(replace(settings, packages=(tmp_path / "own.tgz",)))
    assert validator.loads == 1


def test_the_service_does_not_start_with_a_package_that_does_not_load(settings, tmp_path, monkeypatch, caplog):
    def refuse(*_arguments: Any, **_options: Any) -> None:
        raise Usage([Issue("error", "invalid", "package-invalid", "own.tgz is no FHIR package")])

    (tmp_path / "own.tgz").touch()
    monkeypatch.setattr("service.validate.validator.load_validator", refuse)
    with pytest.raises(CasebridgeError):
        create_app(replace(settings, packages=(tmp_path / "own.tgz",)))
    assert "own.tgz is no FHIR package" in caplog.text


def test_the_service_does_not_start_without_its_packages(settings, tmp_path, caplog):
    with pytest.raises(CasebridgeError):
        create_app(replace(settings, packages=(tmp_path / "nothing.tgz",)))
    assert "cannot start, FHIR packages" in caplog.text
