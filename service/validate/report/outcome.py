"""The report for FHIR programs: one OperationOutcome a resource, one a line where there are several."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, Final

from service import __version__
from service.fhir import json
from service.issues import Issue, to_operation_outcome
from service.validate.report.result import Package, Result, Run, plural

VALIDATED_WITH: Final = "https://casebridge.dev/fhir/StructureDefinition/validated-with"
# HL7's own for "the source file where the issue is found", in the package hl7.fhir.uv.extensions.r4.
FILE: Final = "http://hl7.org/fhir/StructureDefinition/operationoutcome-file"


def write(results: Iterable[Result], run: Run) -> Iterator[str]:
    """Indented where there is one result only, else NDJSON in the order of the input."""
    judges = judged_by(run.packages)
    outcomes = (to_outcome(result, judges) for result in results)
    first, second = next(outcomes, None), next(outcomes, None)
    if first is not None and second is None:
        yield json.dumps(first, indent=True).decode()
        return
    for outcome in chain((one for one in (first, second) if one is not None), outcomes):
        yield json.dumps(outcome).decode() + "\n"


def to_outcome(result: Result, judges: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The OperationOutcome of one resource: which it is, what judged it, what was found."""
    issues = list(result.issues)
    if result.suppressed:
        count = plural(len(result.suppressed), "issue")
        issues.append(Issue("information", "informational", "issues-suppressed", f"{count} suppressed with a reason"))
    return to_operation_outcome(issues, [{"url": FILE, "valueString": result.name}, *judges])


def judged_by(packages: Iterable[Package]) -> list[dict[str, Any]]:
    """Casebridge itself and each package, as extensions of an OperationOutcome with name, version and hash."""
    own = _judge(name="casebridge", version=__version__)
    return [own, *(_judge(name=one.id, version=one.version, sha256=one.sha256) for one in packages)]


def _judge(**parts: str) -> dict[str, Any]:
    return {"url": VALIDATED_WITH, "extension": [{"url": name, "valueString": part} for name, part in parts.items()]}
