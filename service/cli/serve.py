"""`casebridge serve`: the HTTP service."""

from __future__ import annotations

import os
import sys

import click

from service import __version__
from service.cli.inputs import must_exist
from service.cli.mapping_sets import load
from service.cli.servers import must_be_allowed
from service.config import DEFAULT_SET, read_settings


@click.command(epilog="Example: casebridge serve --port 8080")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535))
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1))
def serve(host: str, port: int, workers: int) -> None:
    """Start the HTTP service."""
    settings = read_settings()
    # A missing package, a bad mapping set, an unwritable home, a bad address: told here, and not by a worker that dies.
    must_exist(settings.packages)
    load(settings, DEFAULT_SET)
    must_be_allowed(settings)
    click.echo(f"Casebridge {__version__} on http://{host}:{port}/ (stop it with Ctrl-C)", err=True)
    arguments = ["--bind", f"{host}:{port}", "--workers", str(workers), "--threads", "8", "--log-level", "warning"]
    arguments += ["--worker-class", "service.api.worker.Worker", "--config", "python:service.api.gunicorn_hooks"]
    # It would lie outside CASEBRIDGE_HOME, one for all services of a user.
    arguments += ["--no-control-socket"]
    module = [sys.executable, "-m", "gunicorn", *arguments, "service.api:create_app()"]
    os.execv(sys.executable, module)  # noqa: S606  our own interpreter, and arguments that click has checked
