"""Every command's help has an example."""

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


@pytest.mark.parametrize("command", [*commands(main)], ids=" ".join)
def test_every_command_has_an_example_and_its_exit_codes(command: tuple[str, ...]) -> None:
    text = " ".join(run(*command, "--help").stdout.split())
    assert f"casebridge {' '.join(command)}" in text
    assert "Example" in text
    assert "Exit codes: 0 ok" in text
