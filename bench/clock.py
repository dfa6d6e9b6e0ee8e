"""How the benchmarks measure: contenders take turns, and each call is timed by the processor time that it takes."""

from __future__ import annotations

import gc
import os
import resource
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Times:
    """Seconds of processor time for one call."""

    best: float
    median: float

    def __str__(self) -> str:
        return f"{_short(self.best)} ({_short(self.median)})"


def _short(seconds: float) -> str:
    return f"{seconds * 1000:.2f} ms"


def take_turns(contenders: Mapping[str, Callable[[], object]], rounds: int, turn: float = 0.02) -> dict[str, Times]:
    """Each contender has a turn in each round, so that what else the machine does meets all of them alike.

    A turn is a run of calls of about `turn` seconds: throughput is what work of one kind reaches, one case after another.
    """
    # What one contender imports must not lengthen the garbage collection of the others: models alone are 43,000 objects.
    gc.collect()
    gc.freeze()
    calls = {name: max(1, int(turn / _once(call))) for name, call in contenders.items()}
    found: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, call in contenders.items():
            found[name] += [_once(call) for _ in range(calls[name])]
    return {name: Times(min(times), statistics.median(times)) for name, times in found.items()}


def _once(call: Callable[[], object]) -> float:
    start = time.process_time_ns()
    call()
    return (time.process_time_ns() - start) / 1e9


def of_process(command: Sequence[str], *, cwd: Path, environment: Mapping[str, str], rounds: int) -> Times:
    """Processor time, user and system, of a whole process. Raises CalledProcessError where it fails."""
    times = []
    for _ in range(rounds):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, cwd=cwd, env={**os.environ, **environment}, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    return Times(min(times), statistics.median(times))
