"""The functions that FHIR adds, and those that ask for the time. Source: http://hl7.org/fhir/R4/fhirpath.html#functions"""

from __future__ import annotations

from typing import Any, Final

from service.fhir import definitions
from service.validate.fhirpath.context import Env
from service.validate.fhirpath.errors import PathError
from service.validate.fhirpath.functions.table import Function, gives_items, gives_truth
from service.validate.fhirpath.model import NOTHING, Items, Node, plain
from service.validate.fhirpath.temporal import FPDate, FPDateTime, FPTime
from service.validate.fhirpath.values import single, text


def _extension(items: Items, url: Items) -> Items:
    wanted = text(url)
    found: Items = []
    for item in items:
        if type(item) is Node and (read := item.type.members["extension"]):
            data = item.value if type(item.value) is dict else item.sibling
            found += [each for each in read(data or {}) if type(each.value) is dict and each.value.get("url") == wanted]
    return found


def _has_value(items: Items) -> bool:
    """Whether it is one primitive with a value, rather than with extensions alone."""
    if len(items) != 1:
        return False
    item = items[0]
    return (item.type.is_primitive and item.value is not None) if type(item) is Node else True


def _get_value(items: Items) -> Items:
    return [plain(items[0])] if _has_value(items) else NOTHING


def _resolve(items: Items, env: Env) -> Items:
    """The targets that the caller's context finds; nothing for those that it does not."""
    if env.context.resolve is None:
        return NOTHING
    found = [env.context.resolve(reference, env.context) for item in items if (reference := _reference(item))]
    return [node for node in found if node is not None]


def _reference(item: Any) -> str | None:
    value = item.value if type(item) is Node else item
    told = value.get("reference") if type(value) is dict else value
    return told if type(told) is str else None


def _member_of(items: Items, env: Env, value_set: Items) -> bool | None:
    """Whether a code, a Coding or one Coding of a CodeableConcept is in a value set; open where nobody can tell."""
    item, url = single(items), text(value_set)
    ask = env.context.member_of
    if item is None or url is None or ask is None:
        return None
    answers = {ask(url, system, code) for system, code in _codings(item.value if type(item) is Node else item)}
    return True if True in answers else None if None in answers else False


def _codings(value: Any) -> list[tuple[str | None, str]]:
    if type(value) is str:
        return [(None, value)]
    found = value.get("coding", [value]) if type(value) is dict else []
    return [(each.get("system"), each["code"]) for each in found if type(each) is dict and type(each.get("code")) is str]


def _conforms_to(items: Items, env: Env, profile: Items) -> bool | None:
    """Whether a node meets a profile. Without a caller who knows profiles, R4's own types are known."""
    item, url = single(items), text(profile)
    if item is None or url is None:
        return None
    if type(item) is not Node:
        raise PathError("only an element can conform to a profile")
    answer = env.context.conforms_to(item, url) if env.context.conforms_to else _is_of_core_type(item, url)
    if answer is None:
        raise PathError("a profile is not known")
    return answer


def _is_of_core_type(node: Node, url: str) -> bool | None:
    name = url.removeprefix(definitions.CORE)
    return name in node.type.names if url != name and name in definitions.load().types else None


def _html_checks(items: Items) -> bool:
    """Whether the XHTML is what a narrative may hold. Source: http://hl7.org/fhir/R4/narrative.html#rules"""
    from service.validate import xhtml

    return all(not xhtml.problems(told) for item in items if (told := text([item])) is not None)


def _today(_: Items, env: Env) -> Items:
    now = env.now()
    return [FPDate((now.year, now.month, now.day))]


def _now(_: Items, env: Env) -> Items:
    now = env.now()
    offset = now.utcoffset()
    minutes = int(offset.total_seconds() // 60) if offset else 0
    return [FPDateTime((now.year, now.month, now.day, now.hour, now.minute, now.second), minutes)]


def _time_of_day(_: Items, env: Env) -> Items:
    now = env.now()
    return [FPTime((now.hour, now.minute, now.second))]


FUNCTIONS: Final[dict[str, Function]] = {
    "extension": gives_items(_extension, "value"),
    "hasValue": gives_truth(_has_value),
    "getValue": gives_items(_get_value),
    "resolve": gives_items(_resolve, needs_env=True),
    "memberOf": gives_truth(_member_of, "value", needs_env=True),
    "conformsTo": gives_truth(_conforms_to, "value", needs_env=True),
    "htmlChecks": gives_truth(_html_checks),
    "today": gives_items(_today, needs_env=True),
    "now": gives_items(_now, needs_env=True),
    "timeOfDay": gives_items(_time_of_day, needs_env=True),
}
