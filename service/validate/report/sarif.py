"""The report for code hosts and editors: SARIF 2.1.0, https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from service import __version__
from service.fhir import json
from service.issues import Issue, Severity
from service.validate.report.result import Result, Run

SCHEMA: Final = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_LEVELS: Final[dict[Severity, str]] = {"fatal": "error", "error": "error", "warning": "warning", "information": "note"}


def write(results: Iterable[Result], run: Run) -> Iterator[str]:
    """One log with one run: every issue is a result, suppressed ones with their justification."""
    found: list[dict[str, Any]] = []
    rules: dict[str, dict[str, Any]] = {}
    for result in results:
        told = [(issue, None) for issue in result.issues] + list(result.suppressed)
        for issue, reason in told:
            rules.setdefault(issue.rule, _rule(issue))
            found.append(_result(issue, result.file, reason))
    log = {"$schema": SCHEMA, "version": "2.1.0", "runs": [_run(run, list(rules.values()), found)]}
    yield json.dumps(log, indent=True).decode()


def _run(run: Run, rules: list[dict[str, Any]], found: list[dict[str, Any]]) -> dict[str, Any]:
    packages = [
        {"name": package.id, "version": package.version, "properties": {"sha256": package.sha256}} for package in run.packages
    ]
    driver = {"name": "casebridge", "version": __version__, "semanticVersion": __version__, "rules": rules}
    return {
        "tool": {"driver": driver, "extensions": packages},
        "columnKind": "unicodeCodePoints",
        "invocations": [{"executionSuccessful": True}],
        "results": found,
    }


def _rule(issue: Issue) -> dict[str, Any]:
    rule: dict[str, Any] = {"id": issue.rule, "shortDescription": {"text": issue.rule}}
    return rule | ({"helpUri": issue.spec} if issue.spec else {})


def _result(issue: Issue, file: str, reason: str | None) -> dict[str, Any]:
    text = issue.text + (f"\nFix: {issue.fix}" if issue.fix else "")
    out = {
        "ruleId": issue.rule,
        "level": _LEVELS[issue.severity],
        "message": {"text": text},
        "locations": [_location(issue, file)],
    }
    return out | ({"suppressions": [{"kind": "external", "justification": reason}]} if reason else {})


def _location(issue: Issue, file: str) -> dict[str, Any]:
    physical: dict[str, Any] = {"artifactLocation": {"uri": _uri(file)}}
    if issue.source and issue.source.line is not None:
        column = {} if issue.source.column is None else {"startColumn": issue.source.column}
        physical["region"] = {"startLine": issue.source.line, **column}
    logical = [{"fullyQualifiedName": issue.expression, "kind": "element"}] if issue.expression else []
    return {"physicalLocation": physical} | ({"logicalLocations": logical} if logical else {})


def _uri(file: str) -> str:
    path = Path("stdin" if file == "-" else file)
    return path.as_uri() if path.is_absolute() else quote(path.as_posix())
