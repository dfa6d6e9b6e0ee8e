"""The validator: the text of a resource in, issues with all their places out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from service.fhir import json
from service.fhir.json import Json
from service.fhir.locate import locate_each
from service.issues import Issue, Origin
from service.validate import conformance, packages
from service.validate.catalogue import CATALOGUE
from service.validate.packages import Manifest, Registry
from service.validate.place import steps, to_expression
from service.validate.rulebook import Rulebook
from service.validate.run import Finding, Run, TooMany
from service.validate.walk import walk_resource


@dataclass(frozen=True)
class Validator:
    """R4 and the packages that were loaded, as rules; frozen, and shared by threads. `notes`: what the packages lack."""

    book: Rulebook = field(repr=False)
    packages: tuple[Manifest, ...]
    notes: tuple[Issue, ...] = ()
    limits: json.Limits = json.DEFAULT

    def validate(
        self,
        text: bytes,
        *,
        file: str = "-",
        profiles: Sequence[str] = (),
        show_values: bool = False,
        must_support: bool = False,
    ) -> list[Issue]:
        """What is wrong with the resource in a JSON text, in the order of the text; an empty list where nothing is.

        `profiles`: canonical URLs that the resource must meet besides those it claims. `show_values`: texts may quote the
        resource. `must_support`: elements that a profile marks so and the resource lacks are told, as information.
        Raises UnreadableInput for what is no JSON.
        """
        value = json.loads(text, file=file, limits=self.limits)
        run = self.check(value, profiles=profiles, show_values=show_values, must_support=must_support)
        return _located(run, value, text, file)

    def check(
        self, value: Json, *, profiles: Sequence[str] = (), show_values: bool = False, must_support: bool = False
    ) -> list[Finding]:
        """The same for a decoded value, with places as chains of steps."""
        run = Run(self.book, show_values=show_values, notes_must_support=must_support)
        try:
            walk_resource(run, value, None)
            if profiles and isinstance(value, dict):
                conformance.forced(run, value, profiles)
        except TooMany:
            run.findings[-1] = Finding(_fatal("val-too-many", "There are more problems than are listed here."), None)
        except RecursionError:
            run.findings.append(Finding(_fatal("val-too-deep", "The resource and its profiles nest too deep."), None))
        return run.findings


def load_validator(paths: Sequence[Path] = (), *, terminology: Sequence[Path] = (), cache: Path | None = None) -> Validator:
    """The validator for R4 and the packages at these paths (.tgz or folder), with those that they depend on beside them.

    `terminology`: folders of CodeSystems and ValueSets of one's own, which win over those of packages. `cache`: a folder
    for compact forms of packages. Raises Usage for what is no package.
    """
    loaded, notes = packages.load(paths, cache)
    own, _notes = packages.load(terminology, cache)
    registry = Registry([packages.core(), *loaded, *own])
    return Validator(Rulebook(registry), tuple(each.manifest for each in registry.packages), tuple(notes))


def _fatal(rule: str, text: str) -> Issue:
    kind = CATALOGUE[rule]
    return Issue(kind.severity, kind.code, rule, text, kind.fix)


def _located(findings: Sequence[Finding], root: Json, text: bytes, file: str) -> list[Issue]:
    """The findings as issues with pointer, expression, line and column; what two rules say alike is said once."""
    if not findings:
        return []
    places = locate_each(text, {tuple(steps(finding.at)) for finding in findings})
    out: dict[tuple[str, str, str], Issue] = {}
    for finding in findings:
        way = tuple(steps(finding.at))
        pointer = json.pointer(*way)
        key = (finding.issue.rule, pointer, finding.issue.text)
        if key not in out:
            line, column = places.get(way, (None, None))
            out[key] = finding.issue.at(
                pointer=pointer, expression=to_expression(finding.at, root), source=Origin(file, line, column)
            )
    return sorted(
        out.values(), key=lambda issue: (issue.source.line or 0, issue.source.column or 0) if issue.source else (0, 0)
    )
