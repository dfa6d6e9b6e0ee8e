from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import psycopg
import pytest

from tests.support import postgres
from tests.support.hapi_server import HapiServer

ROOT = Path(__file__).parents[2]
PATIENT = {"resourceType": "Patient", "id": "p1"}


def ask(server: HapiServer, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/fhir+json", "Cache-Control": "no-cache"}
    request = urllib.request.Request(server.base + path, data, headers, method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def count(server: HapiServer) -> int:
    total: int = ask(server, "GET", "/Patient?_summary=count")["total"]
    return total


@pytest.mark.server
def test_the_server_is_r4(hapi_server: HapiServer) -> None:
    assert hapi_server.metadata()["fhirVersion"] == "4.0.1"


@pytest.mark.server
def test_reset_empties_the_server_and_forgets_versions(hapi_server: HapiServer) -> None:
    ask(hapi_server, "PUT", "/Patient/p1", PATIENT)
    ask(hapi_server, "PUT", "/Patient/p1", PATIENT | {"active": True})
    assert count(hapi_server) >= 1
    hapi_server.reset()
    assert count(hapi_server) == 0
    assert ask(hapi_server, "PUT", "/Patient/p1", PATIENT)["meta"]["versionId"] == "1"


@pytest.mark.server
def test_a_second_server_has_its_own_settings_and_is_kept(
    hapi_server: HapiServer, hapi_with: Callable[..., HapiServer]
) -> None:
    small = hapi_with(maxBundle=2, integrityOnWrite=False)
    assert small.base != hapi_server.base
    assert hapi_with(maxBundle=2, integrityOnWrite=False) is small
    entry = {"resource": {"resourceType": "Patient"}, "request": {"method": "POST", "url": "Patient"}}
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [entry] * 3}
    assert len(ask(hapi_server, "POST", "/", bundle)["entry"]) == 3
    with pytest.raises(HTTPError) as refused:
        ask(small, "POST", "/", bundle)
    with refused.value:
        assert refused.value.code == 413


@pytest.mark.server
def test_a_misspelt_setting_is_refused(hapi_with: Callable[..., HapiServer]) -> None:
    with pytest.raises(RuntimeError, match=r"unknown setting hapi\.maxBundel; known: .*maxBundle"):
        hapi_with(maxBundel=2)


@pytest.mark.postgres
def test_each_database_is_empty_and_ones_own(postgres_url: str, postgres_cluster: postgres.Cluster) -> None:
    with postgres_cluster.database() as other:
        assert other != postgres_url
        with connect(postgres_url) as connection:
            connection.execute("CREATE TABLE seen (id integer)")
        with connect(other) as connection:
            assert connection.execute("SELECT to_regclass('seen')").fetchone() == (None,)


def connect(url: str) -> psycopg.Connection[Any]:
    return psycopg.connect(url.replace("+psycopg", ""))


def hold(module: str, saying: str) -> subprocess.Popen[bytes]:
    """A process that runs a server, prints `saying` of it, and would keep it for ever."""
    program = f"from tests.support import {module} as m\nwith m.running() as it: print({saying}, flush=True); input()"
    return subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


@pytest.mark.server
@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="the end of somebody else's process is seen on Linux only")
def test_a_killed_session_leaves_no_server_behind(hapi_server: HapiServer) -> None:
    with hold("hapi_server", "it.pid") as holder:
        assert holder.stdout is not None
        server = os.pidfd_open(int(holder.stdout.readline()))
        try:
            holder.kill()
            # It can be read when the process has ended.
            assert select.select([server], [], [], 60) == ([server], [], [])
        finally:
            os.close(server)


@pytest.mark.postgres
def test_a_killed_session_leaves_no_cluster_behind(postgres_cluster: postgres.Cluster) -> None:
    with hold("postgres", "it.folder") as holder:
        assert holder.stdout is not None
        assert holder.stderr is not None
        folder = Path(holder.stdout.readline().decode().strip())
        assert folder.is_dir()
        holder.kill()
        # Those who tidy up hold the other end.
        assert holder.stderr.read() == b""
    assert not folder.exists()
