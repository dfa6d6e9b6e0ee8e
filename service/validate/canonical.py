"""Definitions as resources: the URLs by which others find them, and those of the systems that value sets draw on.

Sources: http://hl7.org/fhir/R4/references.html#canonical and http://hl7.org/fhir/R4/valueset.html
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from service.validate.extensions import is_canonical
from service.validate.place import Place, objects
from service.validate.references import ABSOLUTE
from service.validate.run import Run


def canonical(run: Run, resource: dict[str, Any], at: Place) -> None:
    """The canonical URL of a definition is absolute."""
    url = resource.get("url")
    if isinstance(url, str) and not ABSOLUTE.match(url) and is_canonical(str(resource.get("resourceType"))):
        run.add((at, "url", None), "val-format", "A canonical URL is absolute.")


def value_set(run: Run, resource: dict[str, Any], at: Place) -> None:
    """The code systems of a value set are named by absolute URIs, and their versions beside them."""
    for place, include in _includes(resource, at):
        system = include.get("system")
        if isinstance(system, str) and (not ABSOLUTE.match(system) or "|" in system):
            text = "The URI of a code system is absolute, and the version stands by itself."
            run.add((place, "system", None), "val-code-system", text, severity="error")


def code_system(run: Run, resource: dict[str, Any], at: Place) -> None:
    """The content is what it is said to be; no property is defined twice."""
    for name, text in _contradictions(resource):
        run.add((at, name, None), "val-code-system", text, severity="error")
    seen: set[object] = set()
    for place, each in objects(resource, "property", at):
        for name in ("code", "uri"):
            told = each.get(name)
            if isinstance(told, str) and (name, told) in seen:
                run.add((place, name, None), "val-code-system", f"Another property has this {name}.", severity="error")
            seen.add((name, told) if isinstance(told, str) else None)


def _contradictions(resource: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Elements that say of the content what is not so: http://hl7.org/fhir/R4/codesystem-definitions.html#CodeSystem.content"""
    content, count = resource.get("content"), resource.get("count")
    if "supplements" in resource and content != "supplement":
        yield "content", "What supplements a system has the content supplement."
    if content == "supplement" and not {"supplements", "_supplements"} & resource.keys():
        yield "content", "A supplement names the system that it supplements."
    if content == "not-present" and "concept" in resource:
        yield "content", "A system whose content is not present lists no concepts."
    if content == "complete" and type(count) is int and "concept" in resource and count != _count(resource):
        yield "count", f"The system is complete, and has {_count(resource)} concepts."


def _count(value: dict[str, Any]) -> int:
    return sum(1 + _count(each) for _place, each in objects(value, "concept", None))


def concept_map(run: Run, resource: dict[str, Any], at: Place) -> None:
    """The codes of a map are codes of the systems that its groups name, and of the value sets that it maps."""
    source, target = (resource.get(f"{side}Canonical") or resource.get(f"{side}Uri") for side in ("source", "target"))
    for place, group in objects(resource, "group", at):
        for here, element in objects(group, "element", place):
            _mapped(run, group.get("source"), source, element, here)
            for there, mapped in objects(element, "target", here):
                _mapped(run, group.get("target"), target, mapped, there)


def _mapped(run: Run, system: object, value_set: object, mapped: dict[str, Any], at: Place) -> None:
    code = mapped.get("code")
    if not isinstance(system, str) or not isinstance(code, str):
        return
    wrong = run.book.code(system, code, None)
    if wrong is not None and wrong.known is False:
        run.add((at, "code", None), "val-code", f"{run.named(system, 'the code system')} has no such code.")
    elif wrong is None and isinstance(value_set, str) and run.book.contains(value_set, system, code) is False:
        run.add((at, "code", None), "val-code", f"{run.named(value_set, 'the value set')} has no such code.")


def _includes(resource: dict[str, Any], at: Place) -> Iterator[tuple[Place, dict[str, Any]]]:
    compose = resource.get("compose")
    if isinstance(compose, dict):
        for name in ("include", "exclude"):
            yield from objects(compose, name, (at, "compose", None))
