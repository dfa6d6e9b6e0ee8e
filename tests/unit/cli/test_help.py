"""Every command's help has an example, and those that transfer cases say their exit codes."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest

from service.cli import main
from tests.support.command import run


def commands(group: click.Group, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*above, name))
        else:
            yield (*above, name)


COMMANDS = [*commands(main)]


@pytest.mark.parametrize("command", [pytest.param(one, id=" ".join(one)) for one in COMMANDS])
def test_every_command_has_an_example(command: tuple[str, ...]) -> None:
    text = " ".join(run(*command, "--help").stdout.split())
    assert "Example" in text
    assert f"casebridge {' '.join(command)}" in text


@pytest.mark.parametrize("command", [one for one in COMMANDS if one[0] in ("plan", "push", "pull", "sync")], ids=" ".join)
def test_what_transfers_cases_says_its_exit_codes(command: tuple[str, ...]) -> None:
    assert "Exit codes: 0 ok, 1 findings" in " ".join(run(*command, "--help").stdout.split())
