"""Writes docs/fault-matrix.md from build/fault-matrix.json, which a whole run of tests/faults leaves behind (make faults)."""

from __future__ import annotations

import sys

from tests.support.fault_run import PAGE, RESULTS, load, render


def main() -> int:
    run = load(RESULTS.read_bytes()) if RESULTS.exists() else None
    if run is None or not run.whole:
        print("run all of tests/faults first: pytest tests/faults", file=sys.stderr)
        return 1
    PAGE.write_text(render(run), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
