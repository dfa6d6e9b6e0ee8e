from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import make_url

from service.api import create_app
from service.cli import main
from service.cli.serve import serve
from service.config import Settings, read_settings

ROOT = Path(__file__).parents[2]
COMPOSE = (ROOT / "docker-compose.yml").read_text()
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE)["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text().replace("\\\n", "")
SECRETS = {"CASEBRIDGE_KEY": "0123456789abcdef" * 4, "POSTGRES_PASSWORD": "fedcba9876543210" * 4}
VARIABLE = re.compile(r"\$\{(\w+)([^}]*)\}")


def environment(service: str) -> dict[str, str]:
    """What a container gets once .env is filled."""
    given: dict[str, str] = SERVICES[service]["environment"]
    return {name: VARIABLE.sub(lambda found: SECRETS[found[1]], value) for name, value in given.items()}


def instructions(word: str) -> list[str]:
    return re.findall(rf"^{word} (.*)$", DOCKERFILE, re.MULTILINE)


def test_it_is_casebridge_beside_a_fhir_server_and_a_database() -> None:
    assert set(SERVICES) == {"casebridge", "hapi", "postgres"}


def test_every_variable_is_required_and_explained() -> None:
    found = VARIABLE.findall(COMPOSE)
    assert {name for name, _ in found} == set(SECRETS)
    assert all(rest.startswith(":?") and len(rest) > 2 for _, rest in found)
    example = (ROOT / ".env.example").read_text()
    assert set(re.findall(r"^(\w+)=$", example, re.MULTILINE)) == set(SECRETS)
    # Nothing has a value that somebody could forget to change.
    assert re.findall(r"^\w+=.+$", example, re.MULTILINE) == []


def test_no_secret_stands_in_a_file() -> None:
    for service in SERVICES.values():
        for name, value in service["environment"].items():
            if re.search("key|password|secret|token", name, re.IGNORECASE):
                assert VARIABLE.fullmatch(value)
    assert ".env" in (ROOT / ".gitignore").read_text().splitlines()


def test_the_service_understands_its_environment() -> None:
    given = environment("casebridge")
    settings = read_settings(given)
    assert settings.key == given["CASEBRIDGE_KEY"].encode()
    assert settings.access.server == f"http://hapi:{port_of('hapi')}/fhir"
    assert settings.database == given["CASEBRIDGE_DATABASE_URL"]


def test_both_databases_are_made_and_entered_with_the_password() -> None:
    made = environment("postgres")
    (config,) = yaml.safe_load(COMPOSE)["configs"].values()
    url = make_url(environment("casebridge")["CASEBRIDGE_DATABASE_URL"])
    assert (url.username, url.database) == (made["POSTGRES_USER"], made["POSTGRES_DB"])
    assert (url.password, url.host) == (made["POSTGRES_PASSWORD"], "postgres")
    assert re.search(rf"^{url.get_driver_name()}==", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    hapi = environment("hapi")
    assert hapi["spring.datasource.url"] == "jdbc:postgresql://postgres:5432/hapi"
    assert (hapi["spring.datasource.username"], hapi["spring.datasource.password"]) == (url.username, url.password)
    assert config["content"] == "CREATE DATABASE hapi;"


def test_the_health_check_asks_a_real_route(tmp_path: Path) -> None:
    *words, program = SERVICES["casebridge"]["healthcheck"]["test"]
    assert words == ["CMD", "python", "-c"]
    compile(program, "health check", "exec")
    (asked,) = re.findall(r"http://127\.0\.0\.1:(\d+)(/[\w/]+)", program)
    assert asked[0] == port_of("casebridge")
    app = create_app(Settings(home=tmp_path, key=b"a key for this test", mappings=ROOT / "mappings"))
    # As urllib asks: without Accept.
    assert app.test_client().get(asked[1]).status_code == 200


@pytest.mark.parametrize("service", ["casebridge", "postgres"])
def test_a_health_check_has_time_to_start(service: str) -> None:
    check = SERVICES[service]["healthcheck"]
    assert {"interval", "timeout", "retries", "start_period"} < set(check)


def test_what_is_waited_for_has_a_health_check() -> None:
    for service in SERVICES.values():
        for other, how in service.get("depends_on", {}).items():
            assert how == {"condition": "service_healthy"}
            assert "healthcheck" in SERVICES[other]


def test_ports_are_open_on_loopback_only() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert all(port.startswith("127.0.0.1:") for port in published)
    assert "ports" not in SERVICES["postgres"]


def test_images_are_pinned_to_a_version() -> None:
    images = [service["image"] for service in SERVICES.values() if "build" not in service]
    bases = [line.partition(" AS ")[0] for line in instructions("FROM")]
    assert all(re.search(r":v?\d", image) for image in images + bases)


def test_the_service_may_write_to_its_home_only() -> None:
    service = SERVICES["casebridge"]
    (home,) = re.findall(r"CASEBRIDGE_HOME=(\S+)", DOCKERFILE)
    (volume,) = service["volumes"]
    name, _, place = volume.partition(":")
    assert name in yaml.safe_load(COMPOSE)["volumes"]
    assert place == home
    assert instructions("VOLUME") == [home]
    assert service["read_only"] is True
    assert service["tmpfs"] == ["/tmp"]
    assert service["cap_drop"] == ["ALL"]
    (user,) = instructions("USER")
    assert int(user) > 0


def test_what_the_image_copies_is_there_and_reaches_the_engine() -> None:
    ignored, *sent = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert ignored == "*"
    for line in instructions("COPY"):
        if not line.startswith("--from="):
            for source in line.split()[:-1]:
                assert (ROOT / source).exists()
                assert f"!{source}" in sent


def test_what_the_image_starts_is_a_command() -> None:
    (entry,), (words,) = instructions("ENTRYPOINT"), instructions("CMD")
    (name,) = yaml.safe_load(entry)
    assert name in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    command, *arguments = yaml.safe_load(words)
    assert main.commands[command] is serve
    context = serve.make_context(command, arguments)
    assert context.params["host"] == "0.0.0.0"
    assert str(context.params["port"]) == port_of("casebridge")
    assert instructions("EXPOSE") == [port_of("casebridge")]


def port_of(service: str) -> str:
    (port,) = SERVICES[service]["ports"]
    inner: str = port.rpartition(":")[2]
    return inner
