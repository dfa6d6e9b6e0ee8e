"""Writes the parts of docs/ that are made from the code: the table of converters. --check: only says whether it is stale."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from service.mapping.converters import CONVERTERS

PAGE = Path(__file__).parents[1] / "docs" / "mapping-language.md"
BEGIN, END = "<!-- converters: begin -->\n", "<!-- converters: end -->\n"
_BRACKETS = {
    "": "",
    "table": "(code table)",
    "unit": "(UCUM unit)",
    "two units": "(unit, unit)",
    "sections": "(section, …)",
}


def converters() -> str:
    """The table of converters as Markdown."""
    lines = ["| converter | fields | what it does |", "|---|---|---|"]
    for name, converter in CONVERTERS.items():
        low, high = converter.fields
        count = str(low) if low == high else f"{low} to {high}"
        says = converter.says.replace("|", "\\|")
        lines.append(f"| `{name}{_BRACKETS[converter.arguments]}` | {count} | {says} |")
    return "\n".join(lines) + "\n"


def page(text: str) -> str:
    """The page with the table between its markers."""
    pattern = re.escape(BEGIN) + ".*?" + re.escape(END)
    return re.sub(pattern, lambda _match: BEGIN + converters() + END, text, count=1, flags=re.DOTALL)


def main() -> int:
    text = PAGE.read_text(encoding="utf-8")
    fresh = page(text)
    if "--check" in sys.argv[1:]:
        if fresh != text:
            print(f"{PAGE} is stale: run python scripts/build_docs.py")
        return int(fresh != text)
    PAGE.write_text(fresh, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
