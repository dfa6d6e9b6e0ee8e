"""`python -m service` is the command `casebridge`."""

from service.cli import main

main(prog_name="casebridge")
