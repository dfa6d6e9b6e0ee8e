"""What a server says it can do: read from any statement, asked once a day, and refused before the first write."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.errors import ServerRefused
from service.sync.abilities import Abilities, abilities, of_text, unfit, usable
from service.sync.memory import MemoryServer
from service.sync.outbox import Outbox, default_url, open_outbox
from service.sync.server import Resource

DAY = 86_400.0
NOW = 1_800_000_000.0


class Claims(MemoryServer):
    """A server whose statement is changed as `change` says, and that counts how often it was asked for it."""

    def __init__(self, base: str = "http://memory.invalid/fhir") -> None:
        super().__init__(base)
        self.asked = 0
        self.statement: Resource = super().capabilities()

    def capabilities(self) -> Resource:
        self.asked += 1
        return self.statement

    def knows(self, *types: str) -> None:
        rest = self.statement["rest"][0]
        self.statement = self.statement | {
            "rest": [rest | {"resource": [{"type": name, "conditionalCreate": True} for name in types]}]
        }


@pytest.fixture
def server() -> Claims:
    return Claims()


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Outbox]:
    with open_outbox(default_url(tmp_path)) as opened:
        yield opened


def fit(**changes: Any) -> Abilities:
    types = frozenset(["Patient", "Observation"])
    plain = {"fhir_version": "4.0.1", "software": "x", "transaction": True, "everything": True}
    return Abilities(**{**plain, "types": types, "unversioned": frozenset(), "conditional_create": types} | changes)


def test_a_good_statement(server: Claims) -> None:
    able = abilities(server.capabilities())
    assert (able.fhir_version, able.software) == ("4.0.1", "Casebridge memory server")
    assert able.transaction
    assert able.everything
    assert {"Patient", "Provenance"} <= able.conditional_create == able.types
    assert of_text(able.to_text()) == able


@pytest.mark.parametrize(
    "odd",
    [
        {},
        {"rest": None},
        {"rest": {"mode": "server"}},
        {"rest": ["text", {"mode": "client", "interaction": [{"code": "transaction"}]}]},
        {"rest": [{"mode": "server", "interaction": "transaction", "resource": [None, {}]}]},
        {
            "rest": [
                {"mode": "server", "resource": [{"type": "Patient", "conditionalCreate": "true", "operation": ["everything"]}]}
            ]
        },
    ],
    ids=str,
)
def test_what_is_misshapen_is_not_claimed(odd: Resource) -> None:
    able = abilities({"resourceType": "CapabilityStatement", **odd})
    assert (able.transaction, able.everything, able.conditional_create) == (False, False, frozenset())
    assert list(unfit(able, ["Patient"]))


@pytest.mark.parametrize(
    ("able", "types", "words"),
    [
        (fit(), ["Patient", "Observation"], []),
        (fit(fhir_version=""), ["Patient"], []),
        (fit(types=frozenset(), conditional_create=frozenset()), ["Patient"], []),
        (fit(fhir_version="3.0.2"), ["Patient"], ["FHIR 3.0.2"]),
        (fit(fhir_version="4.3.0"), ["Patient"], ["FHIR 4.3.0"]),
        (fit(transaction=False), ["Patient"], ["no transactions"]),
        (fit(), ["Patient", "Basic", "Flag"], ["Basic, Flag"]),
        (fit(conditional_create=frozenset(["Patient"])), ["Patient", "Observation"], ["does not create Observation"]),
        (fit(fhir_version="5.0.0", transaction=False), ["Flag"], ["FHIR 5.0.0", "no transactions", "Flag"]),
    ],
)
def test_why_nothing_can_be_pushed_there(able: Abilities, types: list[str], words: list[str]) -> None:
    found = list(unfit(able, types))
    assert [word in issue.text for issue, word in zip(found, words, strict=True)] == [True] * len(words)
    assert all(issue.rule == "sync-unfit" and issue.fix and issue.is_error for issue in found)


def test_a_server_is_asked_once_a_day(server: Claims, box: Outbox) -> None:
    for now in (NOW, NOW + 1, NOW + DAY - 1):
        assert usable(server, box, ["Patient"], now=now).software == "Casebridge memory server"
    assert server.asked == 1
    usable(server, box, ["Patient"], now=NOW + DAY + 1)
    assert server.asked == 2


def test_each_server_is_asked_for_itself(server: Claims, box: Outbox) -> None:
    usable(server, box, ["Patient"], now=NOW)
    other = Claims("http://other.invalid/fhir")
    usable(other, box, ["Patient"], now=NOW)
    assert other.asked == 1


def test_a_refusal_comes_before_the_first_write_and_is_not_remembered(server: Claims, box: Outbox) -> None:
    server.knows("Patient")
    with pytest.raises(ServerRefused) as caught:
        usable(server, box, ["Patient", "Observation"], now=NOW)
    assert caught.value.status == 0
    server.knows("Patient", "Observation")
    usable(server, box, ["Patient", "Observation"], now=NOW + 1)
    assert server.all() == []


def test_nobody_is_refused_by_an_old_word(server: Claims, box: Outbox) -> None:
    """The fix that the refusal names, "have them enabled there", has to help at once."""
    server.knows("Patient", "Observation")
    usable(server, box, ["Patient"], now=NOW)
    server.knows("Patient", "Observation", "Condition")
    usable(server, box, ["Condition"], now=NOW + 60)


@pytest.mark.parametrize("text", ["{}", '{"fhir_version":"4.0.1"}', "?"])
def test_what_another_version_remembered_is_asked_anew(server: Claims, box: Outbox, text: str) -> None:
    box.remember(server.base, "abilities", f"{NOW} {text}")
    assert usable(server, box, ["Patient"], now=NOW).transaction


@pytest.mark.parametrize("said", ["no-version", "versioned"])
def test_updates_that_do_not_look_at_the_version_are_no_place_for_a_push(server: Claims, said: str) -> None:
    statement = server.capabilities()
    for one in statement["rest"][0]["resource"]:
        one["versioning"] = said if one["type"] == "Condition" else "versioned-update"
    [issue] = unfit(abilities(statement), ["Patient", "Condition"])
    assert "If-Match for Condition:" in issue.text
