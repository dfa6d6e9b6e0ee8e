"""The command `casebridge`: its commands, and what becomes of anything that goes wrong in one of them."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click

from service import __version__
from service.cli import convert, demo, mappings, pull, push, serve, sync, validate
from service.cli.inputs import shown
from service.cli.output import EXIT_CODES, FINDINGS, INTERNAL, SERVER, UNREADABLE, USAGE, Report
from service.errors import CasebridgeError, MappingInvalid, OutboxFull, ServerRefused, ServerUnavailable, Usage


class Commands(click.Group):
    """A group whose commands turn what went wrong into issues on standard error and an exit code; never a stack trace."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except MappingInvalid as error:
            fail(error, FINDINGS)
        except Usage as error:
            fail(error, USAGE)
        except (ServerUnavailable, ServerRefused, OutboxFull) as error:
            fail(error, SERVER)
        except CasebridgeError as error:
            fail(error, UNREADABLE)
        except BrokenPipeError:
            # Whoever read the results stopped reading: not all of them were delivered.
            sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115  what is still buffered has nowhere to go
            raise SystemExit(FINDINGS) from None
        except OSError as error:
            name = f" {shown(Path(os.fsdecode(error.filename)))}" if isinstance(error.filename, str | bytes) else ""
            click.echo(f"cannot read or write{name}: {error.strerror}", err=True)
            raise SystemExit(USAGE) from None
        except (click.ClickException, click.Abort, click.exceptions.Exit, SystemExit):
            raise
        except Exception as error:
            if os.environ.get("CASEBRIDGE_DEBUG"):
                raise
            # The type and no more: a message might hold a value of the case.
            click.echo(f"internal error: {type(error).__name__}. Set CASEBRIDGE_DEBUG=1 to see where.", err=True)
            raise SystemExit(INTERNAL) from None


def fail(error: CasebridgeError, code: int) -> None:
    report = Report()
    report.add(error.issues, code)
    raise SystemExit(max(report.code, code))


@click.group(cls=Commands, epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="casebridge")
def main() -> None:
    """Clinical case records to FHIR R4 and back, by declaration."""


_TRANSFER = (push.plan, push.push, pull.pull, sync.sync, demo.demo)
for _command in (convert.convert, convert.to_case, validate.validate, mappings.mappings, *_TRANSFER, serve.serve):
    main.add_command(_command)
