"""Invariants: FHIRPath constraints on objects and elements, compiled when the first value comes to be checked by them.

Source: http://hl7.org/fhir/R4/conformance-rules.html#constraints
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Any, Final

from service.fhir.structures import Constraint
from service.issues import Issue
from service.validate.fhirpath import Context, Node, Path, PathError, PathSyntaxError, TypeInfo, compile_path
from service.validate.place import Place
from service.validate.run import Rule, Run

# Held elsewhere, each for a reason.
ELSEWHERE: Final = {
    "txt-1": "xhtml.py reads a narrative once for both",
    "txt-2": "xhtml.py reads a narrative once for both",
    "dom-3": "contained.py: by one look at all references, where the expression takes one a contained resource",
    "dom-6": "best practice (a narrative in each resource), which machines that exchange data do not follow",
    "ref-1": "references.py resolves every reference",
    "bdl-7": "bundles.py: linear, and it names the entry",
    "sdf-8a": "R4's text refuses its own StructureDefinitions, as the later releases say that changed it",
}

# The names in an element's path, as eld-19 has them; without anchors any path that has one right letter would do.
_NAME = r"""[^\\s\\.,:;\\\'"\\/|?!@#$%&*()\\[\\]{}]{1,64}"""
_PATH = rf"{_NAME}(\\.{_NAME}(\\[x\\])?(\\:[^\\s\\.]+)?)*"

# R4's words → what they mean, as the text beside them has it. By FHIRPath's letter they come out empty where nothing is wrong,
# for an element that is not there or a type that goes by another name, or count wrong. Both Java validators judge as the
# words here do, and later releases took them up.
REWORDED: Final = {
    "fullUrl.contains('/_history/').not()": "fullUrl.empty() or fullUrl.contains('/_history/').not()",
    "($this as dateTime).toString().length() >= 8": "hasValue() implies ($this as dateTime).toString().length() >= 8",
    "enableWhen.count() > 2 implies enableBehavior.exists()": "enableWhen.count() > 1 implies enableBehavior.exists()",
    f"path.matches('{_PATH}')": f"path.matches('^{_PATH}$')",
    "operator = 'exists' implies (answer is Boolean)": "operator = 'exists' implies (answer is boolean)",
    "probability is decimal implies (probability as decimal) <= 100": (
        "probability.empty() or (probability is decimal implies (probability as decimal) <= 100)"
    ),
}


class Invariant:
    """One constraint of a type or profile; `url` is the definition that brings it."""

    def __init__(self, constraint: Constraint, url: str) -> None:
        self.constraint = constraint
        self.url = constraint.source or url

    @cached_property
    def _path(self) -> Path | None:
        try:
            return compile_path(REWORDED.get(self.constraint.expression, self.constraint.expression))
        except PathSyntaxError:
            return None

    def check(self, run: Run, node: Node, context: Context, at: Place) -> None:
        """Tells the run where the constraint does not hold of a node."""
        try:
            if self._path is not None and self._path.is_true(node, context):
                return
            usable = self._path is not None
        except PathError:
            usable = False
        if usable:
            run.put(at, self._broken())
        else:
            text = f"The constraint {self.constraint.key} of {self.url} cannot be evaluated."
            run.add_once(at, "val-invariant-unusable", self.constraint.key, text)

    def _broken(self) -> Issue:
        constraint = self.constraint
        text = f"{constraint.human or constraint.key} ({constraint.key} of {self.url})"
        return Issue(constraint.severity, "invariant", constraint.key, text, f"It must be true that: {constraint.expression}")


def invariants(constraints: Iterable[Constraint], url: str) -> tuple[Invariant, ...]:
    """Those of a definition that are checked by their expression."""
    return tuple(Invariant(each, url) for each in constraints if each.key not in ELSEWHERE)


def as_rule(found: tuple[Invariant, ...], info: TypeInfo) -> Rule:
    """A rule for values of one type that holds these invariants of each."""

    def rule(run: Run, value: Any, at: Place) -> None:
        node, context = Node(value, None, info), run.context()
        for invariant in found:
            invariant.check(run, node, context, at)

    return rule
