"""The last word: every row has a test, every test injects something, and the page says what this run said."""

from __future__ import annotations

import pytest

from tests.support.fault_matrix import ROWS, row_of
from tests.support.fault_run import COMMAND, PAGE, Run, dump, line, load, render, starts_with


@pytest.fixture
def whole_run(fault_run: Run) -> Run:
    if not fault_run.whole:
        pytest.skip("only some of the fault tests ran")
    return fault_run


def test_the_rows_are_the_44() -> None:
    assert [row.id for row in ROWS] == [f"R-{number:02}" for number in range(1, 45)]
    assert all(text for row in ROWS for text in (row.fault, row.required, row.injected))


def test_the_page_has_all_rows_in_these_words() -> None:
    lines = [text for text in PAGE.read_text(encoding="utf-8").splitlines() if text.startswith("| R-")]
    assert len(lines) == len(ROWS)
    for row, text in zip(ROWS, lines, strict=True):
        assert text.startswith(starts_with(row)), f"{row.id}: run {COMMAND}"


def test_every_test_is_named_for_a_row(request: pytest.FixtureRequest) -> None:
    """But for controls, which show that the means of a test would see a failure."""
    here = request.path.parent
    for item in request.session.items:
        if item.path.parent == here and item.path != request.path:
            assert row_of(item.name) or item.name.startswith("test_control_"), item.nodeid


def test_every_row_has_a_test(whole_run: Run) -> None:
    assert [name for name, seen in whole_run.rows.items() if not (seen.tests or seen.failed or seen.not_run)] == []


def test_every_test_injects_something(whole_run: Run) -> None:
    assert not whole_run.idle


def test_the_results_are_read_as_they_were_written(fault_run: Run) -> None:
    text = dump(fault_run)
    assert dump(load(text)) == text
    assert render(load(text)) == render(fault_run)


def test_the_page_is_that_of_this_run(whole_run: Run) -> None:
    """Line by line where this machine could not run everything, or something failed: that is red by itself."""
    page = PAGE.read_text(encoding="utf-8")
    for row in ROWS:
        if whole_run.rows[row.id].settled:
            assert line(row, whole_run.rows[row.id]) in page.splitlines(), f"{row.id} is stale: run {COMMAND}"
    if whole_run.settled:
        assert page == render(whole_run), f"the page is stale: run {COMMAND}"
