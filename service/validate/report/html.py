"""The report for a browser: one page without scripts that loads nothing, light or dark as the reader's system is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from html import escape
from itertools import groupby
from operator import attrgetter
from typing import Final

from service.issues import Issue
from service.validate.report.excerpt import Excerpt, printable
from service.validate.report.grouping import Finding, Notes, findings
from service.validate.report.result import Result, Run, plural
from service.validate.report.text import versions

# Colours with a contrast of 4.5:1 or more on their background: https://www.w3.org/TR/WCAG22/#contrast-minimum
_STYLE: Final = """
:root { color-scheme: light dark; --line: #ccc; --error: #b00020; --warning: #8a5300; --information: #0b57a4; }
@media (prefers-color-scheme: dark) {
  :root { --line: #555; --error: #ff8a80; --warning: #ffcc80; --information: #90caf9; }
}
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 80rem; margin: 0 auto; padding: 1rem; }
h2 { overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; table-layout: fixed; }
th:first-child { width: 11rem; }
th:last-child { width: 18rem; }
caption { text-align: left; }
th, td { border-bottom: 1px solid var(--line); padding: .4rem .6rem; text-align: left; vertical-align: top; }
td p { margin: 0 0 .3rem; overflow-wrap: anywhere; }
pre { overflow-x: auto; margin: .3rem 0 0; }
code { overflow-wrap: anywhere; }
mark { background: none; color: inherit; text-decoration: underline wavy var(--error); }
.error { color: var(--error); font-weight: bold; }
.warning { color: var(--warning); font-weight: bold; }
.information { color: var(--information); }
@media (max-width: 50rem) {
  thead { display: none; }
  table, caption, tbody, tr, td { display: block; }
  tr { border-bottom: 1px solid var(--line); padding: .4rem 0; }
  td { border: 0; padding: .2rem 0; }
}
"""

_PAGE: Final = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Validation report</title>
<style>{style}</style>
</head>
<body>
<main>
<h1>Validation report</h1>
<p>{summary}</p>
{sections}</main>
<footer>
<h2>Versions</h2>
<pre>{versions}</pre>
</footer>
</body>
</html>
"""

_SECTION: Final = """<section>
<h2>{title}</h2>
{body}</section>
"""

_TABLE: Final = """<table>
<caption>{caption}</caption>
<thead><tr>{heads}</tr></thead>
<tbody>
{rows}
</tbody>
</table>
"""


def write(results: Iterable[Result], run: Run) -> Iterator[str]:
    """The summary, a section for each file with findings, notes, what was suppressed and why, and what judged it all."""
    tally, notes = run.tally(), Notes(run)
    silenced: Counter[tuple[str, str]] = Counter()
    sections: list[str] = []
    for file, group in groupby(notes.taken_from(tally.counting(results)), key=attrgetter("file")):
        sections += _findings(file, findings(_noting(group, silenced), run))
    sections += _findings("Notes", notes.found.values())
    if silenced:
        rows = [_row(_text(rule), _text(reason), str(count)) for (rule, reason), count in silenced.items()]
        table = _table("Not counted above", ("Rule", "Reason", "Times"), rows)
        sections.append(_SECTION.format(title="Suppressed", body=table))
    said = {"summary": _text(str(tally)), "sections": "".join(sections), "versions": _text("\n".join(versions(run)))}
    yield _PAGE.format(style=_STYLE, **said)


def _noting(results: Iterable[Result], silenced: Counter[tuple[str, str]]) -> Iterator[Result]:
    for result in results:
        silenced.update((issue.rule, reason) for issue, reason in result.suppressed)
        yield result


def _findings(title: str, found: Iterable[Finding]) -> Iterator[str]:
    """The section of these findings; none where there are none."""
    rows = [_finding(finding) for finding in found]
    if rows:
        table = _table(plural(len(rows), "finding"), ("Severity", "Problem", "Place"), rows)
        yield _SECTION.format(title=_text(title), body=table)


def _finding(finding: Finding) -> str:
    issue = finding.issue
    kind = "error" if issue.is_error else issue.severity
    count = f" × {finding.count}" if finding.count > 1 else ""
    problem = [f"<p>{_text(issue.text)}</p>"]
    problem += [f"<p>Fix: {_text(issue.fix)}</p>"] if issue.fix else []
    problem += [_excerpt(finding.excerpt)] if finding.excerpt else []
    place = [f"<p>{_text(str(issue.source))}</p>"] if issue.source else []
    place += [f"<p><code>{_text(where)}</code></p>" for where in [issue.expression or issue.pointer] if where]
    severity = f'<span class="{kind}">{issue.severity}</span>{count}<br>{_rule(issue)}'
    return _row(severity, "".join(problem), "".join(place))


def _rule(issue: Issue) -> str:
    name = f"<code>{_text(issue.rule)}</code>"
    return f'<a href="{escape(issue.spec)}">{name}</a>' if issue.spec else name


def _excerpt(excerpt: Excerpt) -> str:
    before, meant, after = excerpt.text[: excerpt.caret], excerpt.text[excerpt.caret :][:1], excerpt.text[excerpt.caret + 1 :]
    return f"<pre>{excerpt.number} | {escape(before)}<mark>{escape(meant or ' ')}</mark>{escape(after)}</pre>"


def _table(caption: str, heads: Iterable[str], rows: Iterable[str]) -> str:
    cells = "".join(f'<th scope="col">{head}</th>' for head in heads)
    return _TABLE.format(caption=caption, heads=cells, rows="\n".join(rows))


def _row(*cells: str) -> str:
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _text(text: str) -> str:
    return escape("\n".join(printable(line) for line in text.split("\n")))
