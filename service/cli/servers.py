"""What the commands that talk to a server share: its address, how it is entered, and the outbox."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from service.config import Settings

if TYPE_CHECKING:
    from service.sync.outbox import Outbox
    from service.sync.rest import RestServer

server_option = click.option(
    "--server",
    "url",
    envvar="CASEBRIDGE_SERVER",
    required=True,
    metavar="URL",
    help="Base URL of the FHIR server; CASEBRIDGE_SERVER, where it is not given.",
)
show_option = click.option("--show-values", is_flag=True, help="Show the values that differ: they are a patient's.")


def connect(settings: Settings, url: str) -> RestServer:
    """The server at an address. Raises Usage for an address that may not be asked, or credentials of another server."""
    from service.sync.rest import RestServer

    return RestServer(url, settings.access)


def must_be_allowed(settings: Settings) -> None:
    """Raises Usage where one of the servers of the settings may not be asked, or not in this way. Sends nothing."""
    reachable = settings.reachable()
    if reachable:
        from service.sync.rest import RestServer
    for url, access in reachable:
        RestServer(url, access).close()


def outbox(settings: Settings) -> Outbox:
    """The outbox of these settings; made where there is none."""
    from service.sync.outbox import default_url, open_outbox

    url = settings.database or default_url(settings.home)
    # Longer than a request may take: nobody takes a job over whose answer is still awaited.
    return open_outbox(url, most_open=settings.most_jobs, lease_seconds=300.0)


def seconds(text: str) -> float:
    """ "90", "90s", "5m" or "2h". Raises BadParameter."""
    found = re.fullmatch(r"(\d+)([smh]?)", text)
    if not found:
        raise click.BadParameter("write it as 90s, 5m or 2h")
    return int(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[found[2]]
