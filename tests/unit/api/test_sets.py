"""The store of engines, and what the service says about mapping sets, its health and itself."""

from __future__ import annotations

import logging
import re
import shutil
import socket
import stat
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from service import __version__
from service.api import create_app
from service.api import engines as store_module
from service.api.engines import open_engines
from service.config import Settings
from service.errors import CasebridgeError, MappingInvalid, Usage
from service.fhir import json


def two_sets(settings: Settings, folder: Path) -> Settings:
    """The shipped set, and a copy of it that is broken."""
    for name in ("myeloma", "other"):
        shutil.copytree(settings.mappings / "myeloma", folder / name)
    (folder / "other" / "mapping.yaml").write_text("name: other\nname: again\n")
    return Settings(settings.home, settings.key, folder)


# --- the store --------------------------------------------------------------------------------------------------------


def test_a_set_is_loaded_once_and_for_all_threads(settings, monkeypatch):
    calls: list[Path] = []
    load = store_module.load_engine

    def counted(folder: Path, *arguments: Any, **options: Any) -> Any:
        calls.append(folder)
        return load(folder, *arguments, **options)

    monkeypatch.setattr(store_module, "load_engine", counted)
    store = open_engines(settings)
    assert calls == [], "nothing is loaded before it is asked for"
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(store.get, ["myeloma"] * 32))
    assert len(calls) == 1
    assert all(engine is found[0] for engine in found)


def test_only_sets_of_the_shipped_folder_have_names(settings, tmp_path):
    folder = tmp_path / "sets"
    folder.mkdir()
    (folder / "linked").symlink_to(settings.mappings / "myeloma")
    shutil.copytree(settings.mappings / "myeloma", folder / "myeloma")
    store = open_engines(Settings(settings.home, settings.key, folder))
    assert list(store.folders) == ["myeloma"]
    for name in ("linked", "../sets/myeloma", str(folder / "myeloma")):
        with pytest.raises(Usage):
            store.get(name)


def test_the_key_does_not_show_in_the_store(settings):
    assert settings.key.decode() not in repr(open_engines(settings))


def test_without_a_key_one_is_made_in_the_home_and_used_ever_after(settings, case):
    own = Settings(settings.home, None, settings.mappings)
    answers = [create_app(own).test_client().post("/convert", data=json.dumps(case)).data for _ in range(2)]
    assert answers[0] == answers[1]
    assert stat.S_IMODE((settings.home / "key").stat().st_mode) == 0o600


# --- the start --------------------------------------------------------------------------------------------------------


def test_a_bad_default_set_fails_at_start_with_a_line_that_says_where(settings, tmp_path, caplog):
    bad = two_sets(settings, tmp_path / "sets")
    (bad.mappings / "myeloma" / "resources" / "labs.yaml").write_text("each: labs[]\neach: labs[]\n")
    with pytest.raises(MappingInvalid):
        create_app(bad)
    [line, *_more] = [record.getMessage() for record in caplog.records if record.levelno == logging.CRITICAL]
    assert line.startswith("cannot start, mapping set myeloma: myeloma/resources/labs.yaml:2")


def test_no_default_set_and_no_key_fail_at_start_too(settings, tmp_path, caplog):
    (tmp_path / "file").write_text("")
    for bad in (
        Settings(settings.home, settings.key, tmp_path / "nowhere"),
        Settings(tmp_path / "file", None, settings.mappings),
    ):
        caplog.clear()
        with pytest.raises(CasebridgeError):
            create_app(bad)
        assert "cannot start" in caplog.text


def test_settings_come_from_the_environment(monkeypatch, tmp_path, mappings):
    monkeypatch.setenv("CASEBRIDGE_HOME", str(tmp_path))
    monkeypatch.setenv("CASEBRIDGE_MAPPINGS", str(mappings))
    monkeypatch.setenv("CASEBRIDGE_MAX_BYTES", "5")
    client = create_app().test_client()
    assert client.post("/convert", data=b"123456").status_code == 413


def test_a_bad_set_beside_the_default_one_harms_only_itself(settings, tmp_path, refusal, caplog):
    client = create_app(two_sets(settings, tmp_path / "sets")).test_client()
    assert [one["name"] for one in json.loads(client.get("/mappings").data)] == ["myeloma"]
    assert "other/mapping.yaml:2" in caplog.text
    refusal(client.post("/convert?mapping=other", data=b"{}"), 500)
    assert client.get("/health/ready").status_code == 200


# --- what it says -----------------------------------------------------------------------------------------------------


def test_the_list_of_sets(client):
    response = client.get("/mappings")
    assert response.mimetype == "application/json"
    [found] = json.loads(response.data)
    assert found.keys() == {"name", "version", "title", "url", "fingerprint"}
    assert found["name"] == "myeloma"
    assert re.fullmatch(r"[0-9a-f]{64}", found["fingerprint"])


def test_one_set(client):
    [summary] = json.loads(client.get("/mappings").data)
    found = json.loads(client.get("/mappings/myeloma").data)
    assert summary.items() <= found.items()
    assert {"resource": "Patient", "each": ""}.items() <= found["resources"][0].items()
    assert client.get(found["schema"]).status_code == 200


def test_the_schema_accepts_the_examples(client, case):
    response = client.get("/mappings/myeloma/schema.json")
    assert response.mimetype == "application/schema+json"
    validator = jsonschema_rs.validator_for(json.loads(response.data))
    assert validator.is_valid(case)
    assert not validator.is_valid(case | {"nosuch": 1})


def test_health(client):
    assert json.loads(client.get("/health/live").data) == {"status": "live"}
    ready = json.loads(client.get("/health/ready").data)
    assert (ready["status"], ready["version"]) == ("ready", __version__)
    assert ready["mapping"]["fingerprint"] == json.loads(client.get("/mappings").data)[0]["fingerprint"]


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_the_page_is_accessible_runs_nothing_and_loads_nothing_from_elsewhere(client):
    response = client.get("/")
    assert response.mimetype == "text/html"
    page = Page()
    page.feed(response.get_data(as_text=True))
    tags = [tag for tag, _attributes in page.tags]
    assert not {"script", "style", "form", "iframe", "img"} & set(tags)
    assert tags.count("h1") == tags.count("main") == tags.count("title") == 1
    assert ("html", {"lang": "en"}) in page.tags
    assert all(attributes.get("scope") for tag, attributes in page.tags if tag == "th")
    for _tag, attributes in page.tags:
        assert not any(name.startswith("on") or name == "style" for name in attributes)
        link = attributes.get("href")
        assert link is None or client.get(link, buffered=True).status_code == 200
    assert b"curl" in response.data


def test_the_files_of_the_page_are_all_that_static_serves(client, refusal):
    for name in ("../app.py", "..%2fapp.py", "%2e%2e/app.py", "/etc/passwd", "nosuch.css"):
        refusal(client.get(f"/static/{name}"), 404)


# --- threads and the network ------------------------------------------------------------------------------------------


def test_threads_share_one_app(app, case):
    good = json.dumps(case)
    bad = json.dumps(case | {"nosuch": 1})
    expected = app.test_client().post("/convert", data=good).data

    def ask(number: int) -> bool:
        client = app.test_client()
        if number % 3 == 0:
            return client.post("/convert", data=bad).status_code == 422
        made = client.post("/convert", data=good)
        return made.data == expected and json.loads(client.post("/to-case", data=made.data).data) == case

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(60)))


def test_no_socket_is_opened(app, case, monkeypatch):
    def opened(*_arguments: Any, **_options: Any) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", opened)
    client = app.test_client()
    made = client.post("/convert", data=json.dumps(case))
    assert made.status_code == 200
    assert client.post("/to-case", data=made.data).status_code == 200
