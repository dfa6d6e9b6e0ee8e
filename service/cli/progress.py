"""The progress bar of long work: on a terminal only, and never in the way of the results."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

# Below this size nobody waits: a bar would only flicker.
_WORTH_A_BAR = 200_000


@dataclass(frozen=True)
class Bar:
    """`advance` takes the bytes of one more resource; within `hidden()` the terminal belongs to the results."""

    advance: Callable[[int], None]
    hidden: Callable[[], AbstractContextManager[object]]


@contextmanager
def progress(total: int | None, *, quiet: bool) -> Iterator[Bar]:
    """A bar over `total` bytes (None: nobody knows how many); one that does nothing where standard error is no terminal."""
    if quiet or not sys.stderr.isatty() or (total is not None and total < _WORTH_A_BAR):
        yield Bar(lambda _size: None, nullcontext)
        return
    from rich.console import Console

    with drawn(total, Console(stderr=True)) as bar:
        yield bar


@contextmanager
def drawn(total: int | None, console: Console) -> Iterator[Bar]:
    """The bar itself: how far, how many resources and at which rate, how long it will take."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[resources]} resources, {task.fields[rate]:.0f}/s"),
        TimeRemainingColumn(),
    )
    bar = Progress(*columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False)
    bar.add_task("", total=total, resources=0, rate=0.0)
    [task] = bar.tasks

    def advance(size: int) -> None:
        resources = task.fields["resources"] + 1
        bar.update(task.id, advance=size, resources=resources, rate=resources / max(task.elapsed or 0, 0.1))

    @contextmanager
    def hidden() -> Iterator[None]:
        bar.stop()
        yield
        bar.start()

    with bar:
        yield Bar(advance, hidden)
