"""Issue and Origin, the only currency of problems, and the one builder of OperationOutcome.

A rule or converter says what is wrong; the loop that called it adds the three places (in the case, in FHIR, in the rule).
No issue carries a value of the patient's: texts name fields, terms of the mapping set and types, never data.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

Severity = Literal["fatal", "error", "warning", "information"]

RULE_SYSTEM = "https://casebridge.dev/fhir/CodeSystem/rule"
CASE_PATH = "https://casebridge.dev/fhir/StructureDefinition/case-path"
RULE_ORIGIN = "https://casebridge.dev/fhir/StructureDefinition/rule-origin"
# HL7's own for "where the rule is defined": http://hl7.org/fhir/R4/extension-operationoutcome-authority.html
RULE_AUTHORITY = "http://hl7.org/fhir/StructureDefinition/operationoutcome-authority"
# The two extensions in which the HL7 validator reports a place in the source text.
ISSUE_LINE = "http://hl7.org/fhir/StructureDefinition/operationoutcome-issue-line"
ISSUE_COLUMN = "http://hl7.org/fhir/StructureDefinition/operationoutcome-issue-col"


@dataclass(frozen=True, slots=True)
class Origin:
    """A place in a text: `file` as the user named it, `line` and `column` counted from 1."""

    file: str
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        return ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)


@dataclass(frozen=True, slots=True)
class Issue:
    """One problem.

    `code` is a code of http://hl7.org/fhir/R4/valueset-issue-type.html, `rule` our own stable id ("case-unknown-field"),
    `pointer` a JSON Pointer (RFC 6901) into the case, `expression` a FHIRPath into the resource or bundle, `source` the
    place in the text that was read, `origin` the rule behind it (mapping file and line), `spec` the address of the clause
    of the specification that demands it. `fix` says how to mend it.
    """

    severity: Severity
    code: str
    rule: str
    text: str
    fix: str | None = None
    pointer: str | None = None
    expression: str | None = None
    source: Origin | None = None
    origin: Origin | None = None
    spec: str | None = None

    def at(self, **places: Any) -> Issue:
        """The same issue with the given places filled in."""
        return replace(self, **places)

    @property
    def is_error(self) -> bool:
        return self.severity in ("error", "fatal")


def has_errors(issues: Iterable[Issue]) -> bool:
    return any(issue.is_error for issue in issues)


def to_operation_outcome(issues: Iterable[Issue], extension: Sequence[dict[str, Any]] = ()) -> dict[str, Any]:
    """The OperationOutcome for these issues; one that says "no issues" where there are none, for FHIR wants at least one.

    `extension` says more of the whole: what was read, and by what it was judged.
    Source: http://hl7.org/fhir/R4/operationoutcome.html
    """
    found = [_to_fhir(issue) for issue in issues]
    if not found:
        found = [{"severity": "information", "code": "informational", "details": {"text": "No issues found."}}]
    return {"resourceType": "OperationOutcome", **({"extension": [*extension]} if extension else {}), "issue": found}


def _to_fhir(issue: Issue) -> dict[str, Any]:
    out: dict[str, Any] = {}
    extensions: list[dict[str, Any]] = []
    if issue.source and issue.source.line is not None:
        extensions.append({"url": ISSUE_LINE, "valueInteger": issue.source.line})
    if issue.source and issue.source.column is not None:
        extensions.append({"url": ISSUE_COLUMN, "valueInteger": issue.source.column})
    if issue.pointer is not None:
        extensions.append({"url": CASE_PATH, "valueString": issue.pointer or "/"})
    if issue.origin:
        extensions.append({"url": RULE_ORIGIN, "valueString": str(issue.origin)})
    if issue.spec:
        extensions.append({"url": RULE_AUTHORITY, "valueUri": issue.spec})
    if extensions:
        out["extension"] = extensions
    out["severity"] = issue.severity
    out["code"] = issue.code
    out["details"] = {"coding": [{"system": RULE_SYSTEM, "code": issue.rule}], "text": issue.text}
    if issue.fix:
        out["diagnostics"] = issue.fix
    if issue.expression:
        out["expression"] = [issue.expression]
    return out
