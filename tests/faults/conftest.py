"""What the fault tests share: the count of what they inject, the app, a case with a canary in it; and the record of the run."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from service.fhir import json
from tests.support.fault_run import RESULTS, ROOT, Place, Report, Run, Told, dump
from tests.support.faults import CANARY
from tests.unit.api.conftest import app, client, mappings, post, refusal, settings, told

__all__ = ["app", "client", "mappings", "post", "refusal", "settings", "told"]

HERE = Path(__file__).parent
RUN = Run(whole=True)


class Fault:
    """What a test injects. Its module may name the place, for all of its tests, as AT."""

    def __init__(self, at: Place | None) -> None:
        self.at = at
        self.told: list[Told] = []

    def injected(self, kind: str, times: int = 1, *, at: Place | None = None) -> None:
        """Counts `times` faults of a kind, which the page shows: the same words and numbers in every run."""
        place = at or self.at
        assert place is not None, "say where: injected(..., at=...), or AT in the module"
        self.told.append(Told(kind, times, place))


@pytest.fixture
def fault(request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture) -> Iterator[Fault]:
    """Counts the test's faults. R-39 holds in every one of them: the log must not show the canary of `case`."""
    counted = Fault(getattr(request.module, "AT", None))
    request.node.user_properties.append(("fault", counted.told))
    with caplog.at_level(logging.DEBUG):
        yield counted
    # As it would be written: with the text of an exception, where one is logged.
    shown = [record.name for record in caplog.get_records("call") if CANARY in caplog.handler.format(record)]
    assert not shown, f"R-39: a value of the case is in the log of {shown}"


@pytest.fixture
def case() -> dict[str, Any]:
    """A fresh copy of one example case, with a canary behind each of its notes."""
    record = _marked(json.loads((ROOT / "examples" / "cases" / "chen-2023.json").read_bytes()))
    assert isinstance(record, dict)
    return record


def _marked(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: f"{item} {CANARY}" if key == "note" else _marked(item) for key, item in value.items()}
    return [_marked(item) for item in value] if isinstance(value, list) else value


# --- the record of the run ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def fault_run() -> Run:
    """What was recorded so far: all of it in test_matrix.py, which runs last."""
    return RUN


def _is_matrix(item: pytest.Item) -> bool:
    return item.path == HERE / "test_matrix.py"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=_is_matrix)


def pytest_deselected(items: Sequence[pytest.Item]) -> None:
    if any(item.path.is_relative_to(HERE) and not _is_matrix(item) for item in items):
        RUN.whole = False


def pytest_collection_finish(session: pytest.Session) -> None:
    """Whole is a run that collected every file here, and of each all."""
    files = {item.path for item in session.items}
    by_name = any("::" in argument for argument in session.config.args)
    everything = set(HERE.glob("test_*.py")) - {HERE / "test_matrix.py"}
    RUN.whole = RUN.whole and not by_name and files >= everything


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    reason, outcome = "", report.outcome
    if hasattr(report, "wasxfail"):
        outcome = "failed"  # known, but not held
    elif isinstance(report.longrepr, tuple):
        reason = str(report.longrepr[2]).removeprefix("Skipped: ")
    counted = dict(report.user_properties).get("fault", ())
    assert isinstance(counted, Sequence)
    RUN.add(Report(report.nodeid.partition("[")[0], report.when, outcome, reason, counted))


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if session.shouldstop or session.shouldfail or exitstatus not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        RUN.whole = False
    if any(seen.tests or seen.failed for seen in RUN.rows.values()):
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_bytes(dump(RUN))
