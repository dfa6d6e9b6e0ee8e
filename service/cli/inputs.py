"""The inputs of a command: files in the order given, folders in sorted order, standard input."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from service.fhir import json

# The name to show, and the path; None is standard input.
Inputs = list[tuple[str, Path | None]]


def not_empty(_context: click.Context, _option: click.Parameter, given: Any) -> Any:
    """The callback of options whose text must say something: what the unset variable of a script leaves must not count as
    the working folder, or as nothing. Raises BadParameter."""
    if "" in ((given,) if isinstance(given, str) else given or ()):
        raise click.BadParameter("it is empty")
    return given


def input_files(
    names: Iterable[str], suffixes: Sequence[str] = (".json",), *, deep: bool = False
) -> Iterator[tuple[str, Path | None]]:
    """(name to show, path) of each input: files in the order given, folders sorted, `-` (no path) for standard input.

    Of a folder, the files with these suffixes are taken; `deep`: those of the folders within it too.
    Raises UsageError for what does not exist, for a folder that holds none, and for a second `-`.
    """
    names = list(names)
    if names.count("-") > 1:
        raise click.UsageError("standard input can be read once only")
    for name in names:
        path = Path(name)
        if name == "-":
            yield "-", None
        elif name and path.is_dir():
            within = path.rglob("*") if deep else path.iterdir()
            found = sorted(file for file in within if file.suffix in suffixes and file.is_file())
            if not found:
                raise click.UsageError(f"the folder {shown(path)} holds no {' or '.join(suffixes)} file")
            yield from ((shown(file), file) for file in found)
        elif name and path.exists():
            yield shown(path), path
        else:
            raise click.UsageError(f"there is no file or folder '{shown(path) if name else ''}'")


def must_exist(packages: Iterable[Path]) -> None:
    """Raises UsageError where CASEBRIDGE_PACKAGES names what is not there."""
    missing = [shown(path) for path in packages if not path.exists()]
    if missing:
        hint = f"separate the paths of packages by '{os.pathsep}', or unset it"
        raise click.UsageError(f"CASEBRIDGE_PACKAGES names what is not there: {', '.join(missing)}; {hint}")


def shown(path: Path) -> str:
    """The name of a file as text, whatever bytes it is made of."""
    return os.fsencode(path).decode(errors="replace")


def read_input(path: Path | None) -> bytes:
    return sys.stdin.buffer.read() if path is None else path.read_bytes()


def resources(path: Path | None) -> Iterator[tuple[int | None, bytes]]:
    """(line, text) of each resource of an input: the line (from 1) on which it stands in NDJSON, None where there is but one.

    NDJSON is a file that bears this name, or a text of which the first line is a JSON object by itself and the next begins
    another. Its blank lines are passed over. Raises OSError where the input cannot be read.
    """
    if path is not None and path.suffix == ".ndjson":
        with path.open("rb") as lines:
            yield from _numbered(lines)
        return
    text = read_input(path)
    if _is_ndjson(text):
        yield from _numbered(text.split(b"\n"))
    else:
        yield None, text


def _numbered(lines: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    # Without its end: a text that breaks off must not be reported on the next line.
    return ((number, line.rstrip(b"\r\n")) for number, line in enumerate(lines, start=1) if line.strip())


def _is_ndjson(text: bytes) -> bool:
    first, _, rest = text.lstrip().partition(b"\n")
    return rest.lstrip().startswith(b"{") and isinstance(json.peek(first), dict)
