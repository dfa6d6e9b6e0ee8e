"""One validation in progress: what it has found, the resource it stands in, and what rules may ask for.

A rule says what is wrong and at which place; everything else of an issue (severity, code, fix) comes from the catalogue.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

from service.issues import Issue, Severity
from service.validate.catalogue import CATALOGUE
from service.validate.fhirpath import Context, Node, root_node
from service.validate.place import Place

if TYPE_CHECKING:
    from service.validate.rulebook import Rulebook

# A rule looks at a value in its place and tells the run what is wrong with it.
Rule: TypeAlias = "Callable[[Run, Any, Place], None]"

MOST_FINDINGS = 10_000
# URLs that are looked for in all definitions, which takes milliseconds each.
MOST_NAMED = 200
# References in a row that are followed to see whether what they lead to meets a profile.
MOST_REFERRED = 3


class TooMany(Exception):
    """More findings than anyone would read: the run stops here."""


@dataclass(frozen=True, slots=True)
class Finding:
    """An issue without its places in the text, and the place that they are computed from."""

    issue: Issue
    at: Place


@dataclass
class Scope:
    """The resource that is being looked at; `container` is the scope of the resource that contains it, `full_url` that
    of its Bundle entry and `bundle` the scope of that Bundle."""

    resource: dict[str, Any]
    at: Place
    container: Scope | None = None
    bundle: Scope | None = None
    full_url: str | None = None
    caches: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def node(self) -> Node:
        return root_node(self.resource)

    @property
    def root(self) -> Scope:
        """Of a contained resource, the one that contains it."""
        return self.container or self


def scope_of(outer: Scope | None, value: dict[str, Any], at: Place) -> Scope:
    """The scope of a resource in its place: the text's own, contained, in an entry of a Bundle, or in a parameter."""
    if outer is None or at is None:
        return Scope(value, at)
    if at[1] == "contained":
        return Scope(value, at, container=outer.root, bundle=outer.bundle, full_url=outer.full_url)
    if outer.resource.get("resourceType") == "Bundle" and at[1] == "resource" and at[0] is not None:
        entry = _entry(outer.resource, at[0])
        full_url = entry.get("fullUrl") if isinstance(entry, dict) else None
        return Scope(value, at, bundle=outer, full_url=full_url if isinstance(full_url, str) else None)
    return Scope(value, at, bundle=outer.bundle, full_url=outer.full_url)


def _entry(bundle: dict[str, Any], at: tuple[Place, str, int | None]) -> Any:
    entries = bundle.get(at[1])
    return entries[at[2]] if isinstance(entries, list) and at[2] is not None and at[2] < len(entries) else None


@dataclass
class Run:
    """The findings so far, in the order of the text. Made anew for each text; never shared."""

    book: Rulebook
    show_values: bool = False
    notes_must_support: bool = False
    findings: list[Finding] = field(default_factory=list)
    scope: Scope = field(default=None)  # type: ignore[assignment]  # set by the first resource
    # How many references were followed to come here, and the verdicts (id of a value, profile, references followed) on what
    # they led to: resources refer to each other in circles and long chains, and many to one.
    referred: int = 0
    verdicts: dict[tuple[int, str, int], bool] = field(default_factory=dict)
    # What was said once and is not to be said again: code systems without content, unknown profiles and extensions.
    said: set[tuple[str, str]] = field(default_factory=set)

    def add(self, at: Place, rule: str, text: str, *, severity: Severity | None = None, fix: str | None = None) -> None:
        """A problem of a kind in the catalogue."""
        kind = CATALOGUE[rule]
        self.put(at, Issue(severity or kind.severity, kind.code, rule, text, fix or kind.fix))

    def add_once(self, at: Place, rule: str, key: str, text: str) -> None:
        """A problem that is told at the first place only; `key` is what it is about."""
        if (rule, key) not in self.said:
            self.said.add((rule, key))
            self.add(at, rule, text)

    def named(self, url: str, what: str) -> str:
        """A URL of the resource's as a text may call it: by itself if a definition names it too, else as `what` it is."""
        known = self.show_values or (len(self.said) < MOST_NAMED and self.book.names(url))
        return url if known else f"{what} named here"

    def put(self, at: Place, issue: Issue) -> None:
        self.findings.append(Finding(issue, at))
        if len(self.findings) >= MOST_FINDINGS:
            raise TooMany

    def must_support(self, at: Place, url: str, element: str) -> None:
        if self.notes_must_support:
            self.add(at, "val-must-support", f"{url} marks {element} as must-support, and it is not there.")

    @contextmanager
    def inside(self, scope: Scope) -> Iterator[Scope]:
        """While it lasts, `scope` is the resource that rules ask about."""
        outer, self.scope = self.scope, scope
        try:
            yield scope
        finally:
            self.scope = outer

    def context(self) -> Context:
        """What FHIRPath may ask about the resource in hand."""
        scope = self.scope
        if "context" not in scope.caches:
            scope.caches["context"] = self.book.path_context(self, scope)
        context: Context = scope.caches["context"]
        return context

    def meets(self, check: Callable[[Run], None]) -> bool:
        """Whether a check finds no error; what it finds is forgotten."""
        # What is said once is never an error, so a trial need not know what was said before.
        trial = replace(self, findings=[], said=set())
        try:
            check(trial)
        except TooMany:
            return False
        return not any(finding.issue.is_error for finding in trial.findings)

    def leads_to(self, value: dict[str, Any], url: str, check: Callable[[Run], None]) -> bool:
        """Whether a check of what was referred to, by a profile, finds no error. Made once; far from where the references
        began nothing is checked any more."""
        if self.referred == MOST_REFERRED:
            return True
        key = (id(value), url, self.referred)
        if key not in self.verdicts:
            # A scope of its own, for what a scope keeps for FHIRPath asks the run that it was made in.
            farther = replace(self, referred=self.referred + 1, scope=replace(self.scope, caches={}))
            self.verdicts[key] = farther.meets(check)
        return self.verdicts[key]
