"""What every FhirServer does when it is written to."""

from __future__ import annotations

import uuid
from decimal import Decimal

import pytest

from service.errors import ServerRefused
from service.fhir import json
from service.fhir.search import condition
from service.sync import pages
from service.sync.server import FhirServer, Resource, token
from tests.support.entries import (
    ODD,
    batch,
    create,
    create_once,
    delete,
    etag,
    found,
    get,
    observation,
    patient,
    place,
    put,
    refusal,
    said,
    statuses,
    stored,
    transact,
    urn,
    version,
)

DECIMALS = ["4.50", "0.010", "19", "12345678901234567890.123", "-0.00001"]


# Writing ------------------------------------------------------------------------------------------------------------


def test_it_says_that_it_speaks_r4_and_takes_what_a_push_sends(server: FhirServer) -> None:
    statement = server.capabilities()
    [rest] = statement["rest"]
    known = {each["type"]: each for each in rest["resource"]}
    assert statement["fhirVersion"] == "4.0.1"
    assert {"code": "transaction"} in rest["interaction"]
    assert known["Observation"]["conditionalCreate"] is True
    assert "everything" in {each["name"] for each in known["Patient"]["operation"]}


def test_what_was_created_is_read_as_it_was_answered(server: FhirServer, system: str) -> None:
    [entry] = transact(server, create(patient(system, gender="other")))
    made = entry["resource"]
    assert entry["response"]["status"] == "201 Created"
    assert entry["response"]["location"].endswith(f"{place(made)}/_history/1")
    assert said(server.read("Patient", made["id"])) == said(made)
    assert made["gender"] == "other"
    assert version(made) == "1"


def test_what_never_was_is_not_read(server: FhirServer) -> None:
    assert server.read("Patient", f"never-{uuid.uuid4().hex}") is None


def test_a_conditional_create_is_done_once(server: FhirServer, system: str) -> None:
    first = transact(server, create_once(patient(system, gender="male")))
    again = transact(server, create_once(patient(system, gender="female")))
    assert statuses(first) == ["201 Created"]
    assert statuses(again) == ["200 OK"]
    assert said(again[0]["resource"]) == said(first[0]["resource"])
    assert [said(each) for each in found(server, system)] == [said(first[0]["resource"])]


def test_a_conditional_create_that_two_match_is_refused(server: FhirServer, system: str) -> None:
    transact(server, create(patient(system)), create(patient(system)))
    assert refusal(server, create_once(patient(system))).status == 412
    assert len(found(server, system)) == 2


def test_a_conditional_create_must_meet_its_own_condition(server: FhirServer, system: str) -> None:
    other = create(patient(system, "other"), ifNoneExist=condition("identifier", system, "p"))
    assert refusal(server, other).status == 412
    assert found(server, system) == []


def test_a_condition_with_an_unknown_parameter_is_refused(server: FhirServer, system: str) -> None:
    assert refusal(server, create(patient(system), ifNoneExist=f"identifyer={system}|p")).status == 400
    assert found(server, system) == []


@pytest.mark.parametrize("value", ODD)
def test_a_condition_holds_for_any_characters(server: FhirServer, system: str, value: str) -> None:
    first = stored(server, create_once(patient(system, value)))
    again = transact(server, create_once(patient(system, value)))
    assert statuses(again) == ["200 OK"]
    assert [entry["resource"]["id"] for entry in again] == [first[0]["id"]]


def test_entries_with_one_condition_are_answered_as_one(server: FhirServer, system: str) -> None:
    one, other = urn(), urn()
    both = [create_once(patient(system), one), create_once(patient(system), other)]
    answer = transact(server, *both, create(observation(system, other)))
    [made] = found(server, system)
    assert [entry["resource"]["resourceType"] for entry in answer] == ["Patient", "Observation"]
    assert answer[1]["resource"]["subject"] == {"reference": place(made)}


def test_an_update_with_the_version_that_is_there_makes_a_new_one(server: FhirServer, system: str) -> None:
    [made] = stored(server, create(patient(system)))
    [entry] = transact(server, put({**made, "gender": "female"}, ifMatch=etag(made)))
    assert entry["response"]["status"] == "200 OK"
    assert version(entry["resource"]) == "2"
    assert (server.read("Patient", made["id"]) or {})["gender"] == "female"


def test_an_update_with_a_stale_version_is_refused_and_changes_nothing(server: FhirServer, system: str) -> None:
    [made] = stored(server, create(patient(system)))
    [now] = stored(server, put({**made, "gender": "female"}))
    assert refusal(server, put({**made, "gender": "male"}, ifMatch=etag(made))).status in (409, 412)
    assert said(server.read("Patient", made["id"])) == said(now)


def test_an_update_that_says_the_same_keeps_the_version(server: FhirServer, system: str) -> None:
    [made] = stored(server, create(patient(system, gender="female")))
    turned_round = dict(reversed(made.items()))
    [entry] = transact(server, put(turned_round, ifMatch=etag(made)))
    assert entry["response"]["status"] == "200 OK"
    assert version(server.read("Patient", made["id"]) or {}) == "1"


def test_an_update_creates_under_an_id_of_the_clients_own_unless_it_is_a_number(server: FhirServer, system: str) -> None:
    own = f"own-{uuid.uuid4().hex}"
    assert statuses(transact(server, put(patient(system, id=own)))) == ["201 Created"]
    assert server.read("Patient", own) is not None
    assert refusal(server, put(patient(system, id="987654321"))).status == 400
    assert server.read("Patient", "987654321") is None


def test_a_transaction_that_fails_in_one_entry_leaves_nothing_behind(server: FhirServer, system: str) -> None:
    [made] = stored(server, create(patient(system)))
    entries = [
        create(patient(system, "new")),
        put({**made, "gender": "female"}),
        create(observation(system, f"Patient/lost-{uuid.uuid4().hex}")),
    ]
    assert refusal(server, *entries).status == 400
    assert [said(each) for each in found(server, system)] == [said(made)]


def test_a_batch_does_what_it_can_and_says_what_it_could_not(server: FhirServer, system: str) -> None:
    [made] = stored(server, create(patient(system)))
    lost = f"Patient/lost-{uuid.uuid4().hex}"
    answer = batch(
        server,
        create(patient(system, "new")),
        create(observation(system, lost)),
        put({**made, "gender": "male"}, ifMatch='W/"7"'),
        get(place(made)),
        get(lost),
        get(f"Patient?identifier={system}|&_summary=count"),
        get("Patient?no-such-parameter=1"),
        create_once(patient(system)),
    )
    codes = [int(status[:3]) for status in statuses(answer)]
    assert codes in [[201, 400, stale, 200, 404, 200, 400, 200] for stale in (409, 412)]
    assert all("outcome" in entry["response"] for entry, status in zip(answer, codes, strict=True) if status >= 400)
    assert said(answer[3]["resource"]) == said(made)
    assert answer[5]["resource"]["total"] == 2
    assert len(found(server, system)) == 2


@pytest.mark.parametrize("kind", ["collection", "searchset"])
def test_only_transactions_and_batches_can_be_submitted(server: FhirServer, kind: str) -> None:
    with pytest.raises(ServerRefused) as caught:
        server.submit({"resourceType": "Bundle", "type": kind})
    assert caught.value.status == 400


@pytest.mark.parametrize("what", ["fullUrl", "url"])
def test_two_entries_about_one_resource_are_refused(server: FhirServer, system: str, what: str) -> None:
    own, name = f"own-{uuid.uuid4().hex}", urn()
    by_url = [put(patient(system, id=own)), put(patient(system, id=own))]
    by_full_url = [create(patient(system), name), create(patient(system, "other"), name)]
    assert refusal(server, *(by_url if what == "url" else by_full_url)).status == 400


# References ---------------------------------------------------------------------------------------------------------


def test_references_within_a_transaction_lead_to_what_was_made(server: FhirServer, system: str) -> None:
    name, other = urn(), urn()
    basic = {
        "resourceType": "Basic",
        "identifier": [{"system": "urn:ietf:rfc:3986", "value": name}],
        "code": {"text": "a thing"},
        "subject": {"reference": name},
        "contained": [observation(system, name, id="inside")],
        "extension": [
            {"url": "https://contract.example/uri", "valueUri": name},
            {"url": "https://contract.example/other", "valueUri": other},
            {"url": "https://contract.example/part", "extension": [{"url": "it", "valueReference": {"reference": name}}]},
            {"url": "https://contract.example/inside", "valueReference": {"reference": "#inside"}},
        ],
    }
    thing, person = stored(server, create(basic), create(patient(system), name))
    assert thing["subject"] == {"reference": place(person)}
    assert thing["contained"][0]["subject"] == {"reference": place(person)}
    values = [each.get("valueUri") or each.get("extension") for each in thing["extension"]]
    assert values == [place(person), other, [{"url": "it", "valueReference": {"reference": place(person)}}], None]
    assert thing["identifier"][0]["value"] == name


def test_references_lead_to_what_was_there_already(server: FhirServer, system: str) -> None:
    [made] = stored(server, create_once(patient(system)))
    name = urn()
    _old, finding = stored(server, create_once(patient(system), name), create(observation(system, name)))
    assert finding["subject"] == {"reference": place(made)}


@pytest.mark.parametrize("of", ["version", "base", "condition"])
def test_any_form_of_reference_is_stored_as_type_and_id(server: FhirServer, system: str, of: str) -> None:
    [made] = stored(server, create(patient(system)))
    forms = {
        "version": f"{place(made)}/_history/1",
        "base": f"{server.base}/{place(made)}",
        "condition": f"Patient?identifier={system}|p",
    }
    [finding] = stored(server, create(observation(system, forms[of])))
    assert finding["subject"] == {"reference": place(made)}


def test_a_reference_to_an_entry_that_is_not_there_is_refused(server: FhirServer, system: str) -> None:
    assert refusal(server, create(observation(system, urn()))).status == 400


def test_names_of_entries_are_compared_to_the_letter(server: FhirServer, system: str) -> None:
    name = urn()
    assert refusal(server, create(patient(system), name.upper()), create(observation(system, name))).status == 400
    assert found(server, system) == []


def test_a_reference_on_a_condition_that_nothing_meets_is_refused(server: FhirServer, system: str) -> None:
    assert refusal(server, create(observation(system, f"Patient?identifier={system}|p"))).status == 404


# Values and metadata ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", DECIMALS)
def test_decimals_are_kept_to_the_letter(server: FhirServer, system: str, text: str) -> None:
    number = Decimal(text) if "." in text else int(text)
    who = urn()
    transact(server, create(patient(system), who), create(observation(system, who, valueQuantity={"value": number})))
    [finding] = found(server, system, "Observation")
    again = server.read("Observation", finding["id"]) or {}
    assert json.dumps(finding["valueQuantity"]) == json.dumps(again["valueQuantity"]) == b'{"value":%s}' % text.encode()


def test_an_update_of_a_decimals_precision_is_a_change(server: FhirServer, system: str) -> None:
    who = urn()
    _who, made = stored(
        server, create(patient(system), who), create(observation(system, who, valueQuantity={"value": Decimal("4.5")}))
    )
    [now] = stored(server, put({**made, "valueQuantity": {"value": Decimal("4.50")}}))
    assert version(now) == "2"


def test_tags_gather_and_profiles_are_replaced(server: FhirServer, system: str) -> None:
    def meta(code: str) -> Resource:
        return {"tag": [{"system": system, "code": code}], "profile": [f"https://contract.example/{code}"]}

    [made] = stored(server, create(patient(system, meta=meta("one"))))
    [now] = stored(server, put({**made, "gender": "other", "meta": meta("two")}))
    assert {tag["code"] for tag in now["meta"]["tag"]} == {"one", "two"}
    assert now["meta"]["profile"] == ["https://contract.example/two"]
    assert [
        place(each) for each in pages.resources(server, lambda: server.search("Patient", [("_tag", token(system, "one"))]))
    ] == [place(made)]


def test_metadata_is_the_servers_and_the_source_begins_as_it_was_sent(server: FhirServer, system: str) -> None:
    meta = {"source": "https://contract.example/source", "versionId": "77", "lastUpdated": "1999-01-01T00:00:00Z"}
    [made] = stored(server, create(patient(system, meta=meta)))
    assert made["meta"]["source"].partition("#")[0] == "https://contract.example/source"
    assert version(made) == "1"
    assert made["meta"]["lastUpdated"] > "2020"
    [again] = stored(server, put({**made, "meta": {"source": "https://contract.example/another"}}))
    assert version(again) == "1"


# Deleting -----------------------------------------------------------------------------------------------------------


def test_what_was_deleted_is_gone_and_can_come_back(server: FhirServer, system: str) -> None:
    [made] = stored(server, create(patient(system)))
    assert statuses(transact(server, delete(made))) == ["204 No Content"]
    assert server.read("Patient", made["id"]) is None
    assert found(server, system) == []
    assert statuses(transact(server, delete(made))) == ["204 No Content"]
    [entry] = transact(server, put(made))
    assert entry["response"]["status"] == "201 Created"
    assert version(entry["resource"]) == "3"


def test_what_others_refer_to_is_not_deleted_before_them(server: FhirServer, system: str) -> None:
    who = urn()
    person, finding = stored(server, create(patient(system), who), create(observation(system, who)))
    assert refusal(server, delete(person)).status == 409
    assert said(server.read("Patient", person["id"])) == said(person)
    assert statuses(transact(server, delete(person), delete(finding))) == ["204 No Content"] * 2


def test_deletions_come_before_creations(server: FhirServer, system: str) -> None:
    [made] = stored(server, create(patient(system)))
    answer = transact(server, create_once(patient(system)), delete(made))
    [now] = found(server, system)
    assert statuses(answer) == ["201 Created", "204 No Content"]
    assert now["id"] != made["id"]
