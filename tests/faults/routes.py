"""The requests that go wrong on each route, made from the app's own map of them, so that a new route is asked as well."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from werkzeug.routing import Map, Rule

# What stands in a route for a name: one that exists. For any other, 1.
_NAMES = {"name": "myeloma", "type_name": "Patient", "filename": "page.css"}
# They answer with what no Accept header asks for: a page for people, and its files.
_NOT_JSON = ("/", "/static/<path:filename>")
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
BODY = ("POST", "PUT", "PATCH")
JSON = "application/json"


@dataclass(frozen=True)
class Ask:
    """One request. `length`: what it says of its body, where that is not true."""

    method: str
    address: str
    headers: dict[str, str] = field(default_factory=dict)
    data: bytes = b""
    length: int | None = None


def address(rule: Rule) -> str:
    """An address of this route, with names that exist."""
    return re.sub(r"<(?:\w+:)?(\w+)>", lambda found: _NAMES.get(found[1], "1"), rule.rule)


def bodies(routes: Map) -> list[str]:
    """The addresses that take a body."""
    return [address(rule) for rule in routes.iter_rules() if "POST" in (rule.methods or ())]


def wrong(routes: Map, status: int) -> Iterator[Ask]:
    """On each route, the requests that must be answered with this status."""
    methods: dict[str, set[str]] = {}
    for rule in routes.iter_rules():
        methods.setdefault(rule.rule, set()).update(rule.methods or ())
    for rule in routes.iter_rules():
        yield from _WAYS[status](rule, methods[rule.rule])


def _missing(rule: Rule, _methods: set[str]) -> Iterator[Ask]:
    place = address(rule)
    for method in ("GET",) if "<path:" in rule.rule else _METHODS:
        yield Ask(method, f"{place.rstrip('/')}/nosuch/address", {"Content-Type": JSON}, b"{}" if method in BODY else b"")
    if "<name>" in rule.rule or "<path:" in rule.rule:
        yield Ask("GET", place.replace("myeloma", "nosuch").replace("page.css", "nosuch.css"))


def _method(rule: Rule, methods: set[str]) -> Iterator[Ask]:
    for method in sorted({*_METHODS, "TRACE", "BREW"} - methods):
        yield Ask(method, address(rule), {"Content-Type": JSON})


def _accept(rule: Rule, methods: set[str]) -> Iterator[Ask]:
    if rule.rule not in _NOT_JSON:
        for accept in ("application/xml", "text/html, application/fhir+xml;q=0.9", "application/json;q=0"):
            for method in sorted(methods & set(_METHODS)):
                sent = {"Content-Type": JSON, "Accept": accept}
                yield Ask(method, address(rule), sent, b"{}" if method in BODY else b"")


def _length(rule: Rule, methods: set[str]) -> Iterator[Ask]:
    for method in sorted(methods & set(BODY)):
        yield Ask(method, address(rule), {"Content-Type": JSON}, length=50_000_000)


def _type(rule: Rule, methods: set[str]) -> Iterator[Ask]:
    for method in sorted(methods & set(BODY)):
        for sent in (
            {"Content-Type": "text/plain"},
            {"Content-Type": "application/fhir+xml"},
            {"Content-Type": "application/json; charset=utf-16"},
            {"Content-Type": JSON, "Content-Encoding": "gzip"},
        ):
            yield Ask(method, address(rule), sent, b"{}")


def _good(rule: Rule, methods: set[str]) -> Iterator[Ask]:
    """Right in itself: what goes wrong is the code behind the route."""
    for method in sorted(methods & set(_METHODS)):
        yield Ask(method, address(rule), {"Content-Type": JSON}, b"{}" if method in BODY else b"")


_WAYS = {404: _missing, 405: _method, 406: _accept, 413: _length, 415: _type, 500: _good}
