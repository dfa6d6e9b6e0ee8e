"""How fast cases reach a real FHIR server, beside the server's own rate, and how fast a second push of them is.

    make bench                                   the table, on the terminal
    .venv/bin/python bench/bench_sync.py --write also into docs/performance.md

The server is HAPI FHIR on this machine, its data in memory. Both sides take turns with the same bundles under other
identities: a minimal client that posts them as they are and looks at the status only, and a whole push, from the text of the
case to its confirmation: converted, made durable, sent, read back, compared, entered in the ledger.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import page
import requests
from record60 import make_record

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from service.engine import load_engine  # noqa: E402
from service.examples import EXAMPLE_KEY  # noqa: E402
from service.fhir import json  # noqa: E402
from service.sync.outbox import State, default_url, open_outbox  # noqa: E402
from service.sync.plan import decide  # noqa: E402
from service.sync.rest import RestServer  # noqa: E402
from service.sync.worker import Drain  # noqa: E402
from service.sync.write import transaction  # noqa: E402
from service.transfer import Transfer  # noqa: E402
from tests.support import hapi_server  # noqa: E402

HEADERS = {"Content-Type": "application/fhir+json", "Accept": "application/fhir+json"}


@dataclass
class Rates:
    """Seconds of one round, by who worked."""

    bare: list[float] = field(default_factory=list)
    push: list[float] = field(default_factory=list)
    again: list[float] = field(default_factory=list)


class Bench:
    """One corpus of cases on one server."""

    def __init__(self, base: str, home: Path, records: Sequence[dict[str, Any]], threads: int) -> None:
        self.transfer = Transfer(load_engine(ROOT / "mappings" / "myeloma", EXAMPLE_KEY))
        self.server = RestServer(base)
        self.box = open_outbox(default_url(home))
        self.records, self.threads = records, threads
        self.sessions = [requests.Session() for _ in range(threads)]
        self.rates = Rates()
        self.resources = 0

    def texts(self, name: str) -> list[bytes]:
        """The corpus under case ids of its own."""
        return [json.dumps(record | {"case": f"{name}-{number}"}) for number, record in enumerate(self.records)]

    def bundles(self, texts: Sequence[bytes]) -> list[bytes]:
        """The transactions that a push of these cases sends, to the byte but for the time in the Provenance."""
        made = []
        for text in texts:
            wanted, _issues = self.transfer.wanted(text)
            assert wanted is not None
            made.append(json.dumps(transaction(wanted, decide(wanted, {}), {}, time.time(), self.server.base)))
        return made

    def round(self, number: int, *, counts: bool) -> None:
        bundles = self.bundles(self.texts(f"bare-{number}"))
        bare = _timed(lambda: self._bare(bundles))
        texts = self.texts(f"push-{number}")
        push = _timed(lambda: self._push(texts, {"create"}))
        again = _timed(lambda: self._push(texts, {"unchanged"}))
        if counts:
            self.rates.bare.append(bare)
            self.rates.push.append(push)
            self.rates.again.append(again)

    def _bare(self, bundles: Sequence[bytes]) -> None:
        def send(number: int) -> None:
            for bundle in bundles[number :: self.threads]:
                reply = self.sessions[number].post(self.server.base, data=bundle, headers=HEADERS, timeout=120)
                assert reply.status_code == 200, reply.text

        with ThreadPoolExecutor(self.threads) as pool:
            list(pool.map(send, range(self.threads)))

    def _push(self, texts: Sequence[bytes], expected: set[str]) -> None:
        submissions = []
        for text in texts:
            wanted, _issues = self.transfer.wanted(text)
            assert wanted is not None
            submissions.append(self.transfer.submission(wanted, self.server.base))
        jobs = self.box.accept("bench", submissions)
        Drain(self.box, lambda _target: self.server, threads=self.threads).work()
        self.resources = 0
        for job in map(self.box.job, [job.id for job in jobs]):
            assert job.state is State.CONFIRMED, job
            assert job.report is not None
            assert job.report["counts"].keys() == expected, job.report["counts"]
            self.resources += sum(job.report["counts"].values())

    def close(self) -> None:
        self.box.close()
        self.server.close()
        for session in self.sessions:
            session.close()


def _timed(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def row(name: str, bench: Bench) -> str:
    rates, count = bench.rates, bench.resources
    ratios = [bare / push for bare, push in zip(rates.bare, rates.push, strict=True)]
    faster = [push / again for push, again in zip(rates.push, rates.again, strict=True)]
    bare, push, again = (count / statistics.median(times) for times in (rates.bare, rates.push, rates.again))
    return (
        f"| {name} | {bare:,.0f} | {push:,.0f} | **{statistics.median(ratios):.2f}** | {again:,.0f} "
        f"| **{statistics.median(faster):.1f} ×** |"
    )


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--write", action="store_true", help="also into docs/performance.md")
    options.add_argument("--rounds", type=int, default=9)
    options.add_argument("--warm-up", type=int, default=12)
    given = options.parse_args()
    published = [json.loads(path.read_bytes()) for path in sorted((ROOT / "examples" / "cases").glob("*.json"))]
    corpora: dict[str, tuple[list[Any], int]] = {
        "the three published cases, one at a time": (published, 1),
        "the same, four at a time": (published * 2, 4),
        "eight cases of 60 resources, one at a time": ([make_record()] * 8, 1),
    }
    lines = [
        "| | bare server, resources/s | push, resources/s | ratio | second push, resources/s | than the first |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, (records, threads) in corpora.items():
        with hapi_server.running() as server, tempfile.TemporaryDirectory() as home:
            bench = Bench(server.base, Path(home), records, threads)
            for number in range(given.warm_up + given.rounds):
                bench.round(number, counts=number >= given.warm_up)
            bench.close()
            lines.append(row(name, bench))
            print(lines[-1], flush=True)
    table = "\n".join(lines)
    print(table)
    if given.write:
        page.write("sync", table)


if __name__ == "__main__":
    main()
