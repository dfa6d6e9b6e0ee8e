"""How a command is told which mapping set to use, and how it loads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from service.config import DEFAULT_SET, Settings, deployment_key, find_mapping

if TYPE_CHECKING:
    from service.engine import Engine

mapping_option = click.option(
    "--mapping", default=DEFAULT_SET, show_default=True, metavar="SET", help="Mapping set: a name, or a folder."
)


def load(settings: Settings, mapping: str) -> Engine:
    from service.engine import load_engine

    return load_engine(find_mapping(settings, mapping), deployment_key(settings), shelf=settings.shelf)
