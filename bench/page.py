"""docs/performance.md, where the tables of each benchmark stand between two marks that bear its name."""

from __future__ import annotations

from pathlib import Path

PAGE = Path(__file__).parent.parent / "docs" / "performance.md"


def write(name: str, text: str) -> None:
    """Puts the text between the marks of a benchmark; the rest of the page stays."""
    start, end = f"<!-- bench:{name} -->", f"<!-- /bench:{name} -->"
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(start)
    _, _, after = rest.partition(end)
    if not rest or not after:
        raise SystemExit(f"{PAGE} has not both marks, {start} and {end}")
    PAGE.write_text(f"{before}{start}\n{text}\n{end}{after}", encoding="utf-8")
