"""Pushing in processes of their own, that may be killed: what they run, and how they are started quickly.

They come from one fork server, in which everything is imported and the mapping set loaded already.
"""

from __future__ import annotations

import functools
import multiprocessing
from collections.abc import Mapping
from dataclasses import replace
from multiprocessing.context import ForkServerProcess
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

from service.engine import Engine, load_engine
from service.fhir import json
from service.sync.outbox import default_url, open_outbox
from service.sync.rest import RestServer
from service.sync.worker import Drain
from service.transfer import Transfer

ROOT = Path(__file__).parents[2]
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload([__name__])


@functools.cache
def loaded() -> Engine:
    return load_engine(ROOT / "mappings" / "myeloma", b"a key that every test replaces")


def with_key(key: bytes) -> Engine:
    """The engine of a deployment of its own: its identities are like no other's."""
    return replace(loaded(), key=key)


def accept(home: Path, base: str, key: bytes, records: Mapping[str, dict[str, Any]]) -> list[str]:
    """Makes these cases durable in an outbox; gives the ids of their jobs."""
    transfer = Transfer(with_key(key))
    made = [transfer.wanted(json.dumps(record))[0] for record in records.values()]
    home.mkdir(parents=True, exist_ok=True)
    with open_outbox(default_url(home)) as box:
        jobs = box.accept("run", [transfer.submission(wanted, base) for wanted in made if wanted])
    return [job.id for job in jobs]


def work(home: Path, base: str, *, threads: int = 2, wait: float = 30.0) -> None:
    """Empties the outbox in this process."""
    with open_outbox(default_url(home)) as box, RestServer(base) as server:
        Drain(box, lambda _target: server, threads=threads, wait=wait).work()


def start(home: Path, base: str, *, threads: int = 2) -> ForkServerProcess:
    """Empties the outbox in a process of its own."""
    process = CONTEXT.Process(target=work, args=(home, base), kwargs={"threads": threads})
    process.start()
    return process


def together(home: Path, base: str, key: bytes, records: Mapping[str, dict[str, Any]], line: Barrier) -> None:
    """Pushes these cases in the moment in which all others at the line do."""
    ids = accept(home, base, key, records)
    line.wait()
    work(home, base)
    with open_outbox(default_url(home)) as box:
        assert {box.job(one).state for one in ids} == {"confirmed"}, [box.job(one) for one in ids]
