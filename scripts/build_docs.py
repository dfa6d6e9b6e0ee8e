"""Writes the parts of docs/ that are made from the code: tables of converters and rules. --check: only says what is stale."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

from service.mapping.converters import CONVERTERS
from service.validate.catalogue import CATALOGUE, R4

DOCS = Path(__file__).parents[1] / "docs"
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


def rules() -> str:
    """The table of the validator's rules as Markdown."""
    lines = ["| rule | severity | how to mend it | page |", "|---|---|---|---|"]
    for name, kind in CATALOGUE.items():
        page = f"[{kind.spec}]({R4}{kind.spec})" if kind.spec else ""
        lines.append(f"| `{name}` | {kind.severity} | {kind.fix.replace('|', chr(92) + '|')} | {page} |")
    return "\n".join(lines) + "\n"


# Page → the name of its marks, and what stands between them.
TABLES: dict[str, tuple[str, Callable[[], str]]] = {
    "mapping-language.md": ("converters", converters),
    "validation.md": ("rules", rules),
}


def fresh(text: str, name: str, table: str) -> str:
    """A page with the table between its marks."""
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->\n"
    pattern = re.escape(begin) + ".*?" + re.escape(end)
    return re.sub(pattern, lambda _match: begin + table + end, text, count=1, flags=re.DOTALL)


def main() -> int:
    stale = 0
    for page, (name, table) in TABLES.items():
        path = DOCS / page
        text = path.read_text(encoding="utf-8")
        made = fresh(text, name, table())
        if made != text and "--check" in sys.argv[1:]:
            print(f"{path} is stale: run python scripts/build_docs.py")
            stale = 1
        elif made != text:
            path.write_text(made, encoding="utf-8")
    return stale


if __name__ == "__main__":
    raise SystemExit(main())
