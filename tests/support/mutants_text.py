"""Mutators of the JSON text itself, and neutral ones: other legal ways to say the same, or harmless additions."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from copy import deepcopy
from decimal import Decimal
from random import Random
from typing import Any, Final

from service.fhir.json import dumps
from tests.support.elements import Json, Mutator, is_primitive, members, nodes, nodes_of, pick, values

# Broken JSON


def text(change: Callable[[bytes, Random], bytes]) -> Mutator:
    """A change to the text of the resource."""
    return lambda resource, random: change(dumps(resource), random)


def replaced(old: bytes, new: bytes) -> Mutator:
    """The first match of a pattern in the text replaced."""

    def mutate(resource: Json, _: Random) -> bytes | None:
        before = dumps(resource)
        after = re.sub(old, new, before, count=1)
        return after if after != before else None

    return mutate


def twice(resource: Json, random: Random) -> bytes:
    """One member of the root a second time."""
    name = random.choice([name for name in resource if name != "resourceType"] or ["resourceType"])
    member = json.dumps(name).encode() + b":" + dumps(resource[name])
    return dumps(resource)[:-1] + b"," + member + b"}"


def twice_inside(resource: Json, random: Random) -> bytes | None:
    """One member of an inner object a second time, with another value."""
    before = dumps(resource)
    inner = list(re.finditer(rb'\{("[a-z]+"):"[^"\\]*"[,}]', before))
    found = pick(random, inner[1:])
    return before[: found.start() + 1] + found[1] + b':"x",' + before[found.start() + 1 :] if found else None


JSON_TEXT: Final[dict[str, Mutator]] = {
    "key-twice": twice,
    "key-twice-inside": twice_inside,
    "comma-at-the-end": text(lambda old, _: old[:-1] + b",}"),
    "comma-missing": replaced(rb'","', rb'" "'),
    "comment": text(lambda old, _: old[:-1] + b"/* x */}"),
    "single-quotes": replaced(rb'"resourceType"', rb"'resourceType'"),
    "key-without-quotes": replaced(rb'"resourceType"', rb"resourceType"),
    "brace-missing": text(lambda old, _: old[:-1]),
    "brace-too-many": text(lambda old, _: old + b"}"),
    "second-value": text(lambda old, _: old + b"{}"),
    "cut-in-the-middle": text(lambda old, random: old[: random.randrange(5, len(old) - 2)]),
    "line-break-in-string": replaced(rb'":"', rb'":"\n'),
    "tab-in-string": replaced(rb'":"', rb'":"\t'),
    "escape-unknown": replaced(rb'":"', rb'":"\\x'),
    "escape-cut-short": replaced(rb'":"', rb'":"\\u12'),
    "surrogate-alone": text(lambda old, _: old[:-1] + b',"language":"\\ud800"}'),
    "not-utf-8": text(lambda old, _: old[:-1] + b',"language":"\xff\xfe"}'),
    "number-with-zero": replaced(rb'":([0-9])', rb'":0\1'),
    "number-with-plus": replaced(rb'":([0-9])', rb'":+\1'),
    "number-without-zero": replaced(rb'":[0-9]+([,}])', rb'":.5\1'),
    "number-with-bare-point": replaced(rb'":([0-9]+)([,}])', rb'":\1.\2'),
    "number-that-is-none": replaced(rb'":[0-9.]+([,}])', rb'":NaN\1'),
    "true-in-capitals": replaced(rb'":(true|false)', rb'":TRUE'),
    "list-at-the-root": text(lambda old, _: b"[" + old + b"]"),
    "string-at-the-root": text(lambda old, _: json.dumps(old.decode()).encode()),
    "nothing": text(lambda old, _: b""),
    "blanks": text(lambda old, _: b"  \n"),
    "xml": text(lambda old, _: b'<Patient xmlns="http://hl7.org/fhir"/>'),
}


# The same said otherwise, and harmless additions


def shuffled(node: Any, random: Random) -> Any:
    """Members in another order."""
    if isinstance(node, list):
        return [shuffled(item, random) for item in node]
    if not isinstance(node, dict):
        return node
    names = list(node)
    random.shuffle(names)
    return {name: shuffled(node[name], random) for name in names}


def longer_decimals(resource: Json, _: Random) -> Json | None:
    """1.5 as 1.50: another precision, as valid as before."""
    spots = [spot for spot in values(resource, "decimal") if isinstance(spot.value, int | Decimal)]
    for spot in spots:
        spot.put(Decimal(f"{spot.value}0" if isinstance(spot.value, Decimal) else f"{spot.value}.0"))
    return resource if spots else None


def _in_ascii(old: str) -> bytes:
    return "".join(letter if letter.isascii() else json.dumps(letter)[1:-1] for letter in old).encode()


def ids_added(resource: Json, _: Random) -> Json:
    for number, node in enumerate(nodes(resource)):
        if "resourceType" not in node.content:
            node.content.setdefault("id", f"e{number}")
    return resource


def siblings_added(resource: Json, random: Random) -> Json | None:
    spots = [spot for spot in members(resource) if is_primitive(spot.type or "X") and not isinstance(spot.value, list)]
    spots = [spot for spot in spots if f"_{spot.key}" not in spot.holder]
    if spot := pick(random, spots):
        spot.holder[f"_{spot.key}"] = {"extension": [{"url": "https://example.org/fhir/own", "valueString": "x"}]}
        return resource
    return None


def nulls_padded(resource: Json, random: Random) -> Json | None:
    """A list of primitives, one of which has an extension and no value."""
    spots = [spot for spot in members(resource) if spot.type in ("string", "markdown") and isinstance(spot.value, list)]
    spots = [spot for spot in spots if f"_{spot.key}" not in spot.holder]
    if spot := pick(random, spots):
        absent = {"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "unknown"}
        spot.holder[f"_{spot.key}"] = [*[None] * len(spot.value), {"extension": [absent]}]
        spot.value.append(None)
        return resource
    return None


def value_absent(resource: Json, random: Random) -> Json | None:
    """A required string or date that is only an extension which says why."""
    spots = [spot for spot in members(resource) if spot.type in ("string", "dateTime", "date") and isinstance(spot.value, str)]
    spots = [spot for spot in spots if f"_{spot.key}" not in spot.holder and not spot.element.is_choice]
    if spot := pick(random, spots):
        absent = {"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "unknown"}
        spot.drop()
        spot.holder[f"_{spot.key}"] = {"extension": [absent]}
        return resource
    return None


def own_extension(**value: Any) -> Mutator:
    def mutate(resource: Json, random: Random) -> Json:
        place = random.choice(list(nodes(resource))).content
        extension = {"url": "https://example.org/fhir/StructureDefinition/own", **deepcopy(value)}
        place["extension"] = [*place.get("extension", []), extension]
        return resource

    return mutate


def narrative(change: Callable[[str], str]) -> Mutator:
    def mutate(resource: Json, _: Random) -> Json | None:
        found = nodes_of(resource, "Narrative")
        if not found or "</div>" not in found[0].content.get("div", ""):
            return None
        found[0].content["div"] = change(found[0].content["div"])
        return resource

    return mutate


def narrative_end(more: str) -> Mutator:
    return narrative(lambda div: div[: div.rindex("</div>")] + more + "</div>")


def meta(**changes: Any) -> Mutator:
    def mutate(resource: Json, _: Random) -> Json:
        old = resource.get("meta", {})
        for name, value in deepcopy(changes).items():
            old[name] = [*old.get(name, []), *value] if isinstance(value, list) else value
        resource["meta"] = old
        return resource

    return mutate


def quantity(**changes: Any) -> Mutator:
    def mutate(resource: Json, random: Random) -> Json | None:
        node = pick(random, [node for node in nodes_of(resource, "Observation") if "valueQuantity" in node.content])
        if node is None or "meta" in node.content or "code" not in node.content["valueQuantity"]:
            return None
        node.content["valueQuantity"] |= {"system": "http://unitsofmeasure.org", **changes}
        return resource

    return mutate


def reference(change: Callable[[str], str]) -> Mutator:
    """Another legal way to name a resource elsewhere."""

    def mutate(resource: Json, random: Random) -> Json | None:
        relative = re.compile(r"[A-Z][A-Za-z]+/[A-Za-z0-9.-]+")
        spots = [spot for spot in values(resource, "Reference") if relative.fullmatch(spot.value.get("reference", ""))]
        if resource["resourceType"] == "Bundle" or not spots:
            return None
        spot = random.choice(spots)
        spot.value["reference"] = change(spot.value["reference"])
        return resource

    return mutate


def offset_for_z(resource: Json, random: Random) -> Json | None:
    spots = [spot for spot in values(resource, "dateTime", "instant") if str(spot.value).endswith("Z")]
    if spot := pick(random, spots):
        spot.put(spot.value[:-1] + "+00:00")
        return resource
    return None


def fractions_of_seconds(resource: Json, random: Random) -> Json | None:
    spots = [spot for spot in values(resource, "dateTime", "instant") if re.search(r":\d\d(Z|[+-]\d\d:\d\d)$", str(spot.value))]
    if spot := pick(random, spots):
        spot.put(re.sub(r"(:\d\d)(Z|[+-]\d\d:\d\d)$", r"\1.123456\2", spot.value))
        return resource
    return None


NEUTRAL: Final[dict[str, Mutator]] = {
    "neutral-key-order": shuffled,
    "neutral-white-space": lambda resource, _: dumps(resource, indent=True),
    "neutral-tabs-and-returns": text(lambda old, _: b"\r\n\t" + old.replace(b'","', b'"\r\n,\t"') + b"\r\n"),
    "neutral-escapes": text(lambda old, _: old.replace(b"resourceType", b"resource\\u0054ype").replace(b"http:/", b"http:\\/")),
    "neutral-ascii-only": text(lambda old, _: _in_ascii(old.decode())),
    "neutral-decimals": longer_decimals,
    "neutral-ids": ids_added,
    "neutral-siblings": siblings_added,
    "neutral-nulls": nulls_padded,
    "neutral-value-absent": value_absent,
    "neutral-own-extension": own_extension(valueString="x"),
    "neutral-own-extension-of-parts": own_extension(extension=[{"url": "a", "valueQuantity": {"value": 1}}]),
    "neutral-comment-in-narrative": narrative_end("<!-- a <b> & c -->"),
    "neutral-entities-in-narrative": narrative_end("<p>&#160;&amp;&lt;&#233;&quot;</p>"),
    "neutral-letters-in-narrative": narrative_end('<p lang="el" class="x">Ω é 漢 <br/></p>'),
    "neutral-tag": meta(tag=[{"system": "https://example.org/tags", "code": "x"}]),
    "neutral-unknown-profile": meta(profile=["https://example.org/fhir/StructureDefinition/own"]),
    "neutral-version-and-time": meta(versionId="7", lastUpdated="2021-01-01T10:00:00.123+01:00"),
    "neutral-unit-annotated": quantity(value=3, unit="score", code="{score}"),
    "neutral-unit-compound": quantity(value=3, unit="mL/min/1.73 m²", code="mL/min/{1.73_m2}"),
    "neutral-unit-power": quantity(value=3, unit="10⁹/L", code="10*9/L"),
    "neutral-reference-versioned": reference(lambda old: f"{old}/_history/3"),
    "neutral-reference-absolute": reference(lambda old: f"https://example.org/fhir/{old}"),
    "neutral-offset-for-z": offset_for_z,
    "neutral-fractions-of-seconds": fractions_of_seconds,
}
