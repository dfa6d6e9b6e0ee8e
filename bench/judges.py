"""The validators that are compared: each judges a text, and tells the processor time and the memory that it took so far."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Protocol

from service.validate.validator import Validator
from tests.support import hapi_validator
from tests.support.hapi_validator import Engine, HapiValidator

# Tests do without the optimising compiler. Here it has the time to show what it can do; garbage is collected by one thread.
hapi_validator.JAVA = ("java", "-Xmx3g", "-XX:+UseSerialGC")


class Judge(Protocol):
    """What is measured."""

    def accepts(self, text: bytes) -> bool: ...

    def seconds(self) -> float: ...


class Ours:
    """Casebridge's validator, in this process."""

    def __init__(self, validator: Validator) -> None:
        self.validator = validator

    def accepts(self, text: bytes) -> bool:
        return not any(issue.is_error for issue in self.validator.validate(text))

    def seconds(self) -> float:
        return time.process_time()


class Java(HapiValidator):
    """A Java validator, in a process of its own; a context manager."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine=engine)

    def accepts(self, text: bytes) -> bool:
        return self.validate(text).valid

    def seconds(self, *, with_compilers: bool = False) -> float:
        """Processor time of its threads but for those that compile, which a process that lived for ever would not need.

        Elapsed time where the system does not tell.
        """
        if not self._place.is_dir():
            return time.perf_counter()
        tasks = [task for task in self._place.glob("task/*") if with_compilers or not _compiles(task)]
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9

    def peak(self) -> float | None:
        return peak(self._place)

    @property
    def _place(self) -> Path:
        assert self._process is not None
        return Path(f"/proc/{self._process.pid}")


def _compiles(task: Path) -> bool:
    # "C1 CompilerThread0", of which the system keeps fifteen characters.
    return "CompilerThre" in (task / "comm").read_text()


def peak(process: Path) -> float | None:
    """The most memory that a process had, in megabytes; None where the system does not tell."""
    status = process / "status"
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")), None)
