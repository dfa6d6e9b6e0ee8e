"""Mutators that break the structure of a resource: names, cardinalities, JSON shapes."""

from __future__ import annotations

from random import Random
from typing import Final

from tests.support.elements import Json, Mutator, Spot, children, is_primitive, members, nodes, pick, values


def _complex(resource: Json) -> list[Spot]:
    return [spot for spot in members(resource) if not is_primitive(spot.type or "Backbone") and spot.type != "xhtml"]


def _primitive(resource: Json) -> list[Spot]:
    return [spot for spot in members(resource) if is_primitive(spot.type or "Backbone")]


def _rename(holder: Json, old: str, new: str) -> None:
    """The same member under another name, in its place."""
    pairs = [(new if key == old else key, value) for key, value in holder.items()]
    holder.clear()
    holder.update(pairs)


def unknown_element(resource: Json, random: Random) -> Json:
    random.choice(list(nodes(resource))).content["unknownElement"] = "x"
    return resource


def misspelt_element(resource: Json, random: Random) -> Json | None:
    if spot := pick(random, members(resource)):
        _rename(spot.holder, spot.key, spot.key + spot.key[-1])
        return resource
    return None


def element_in_capitals(resource: Json, random: Random) -> Json | None:
    if spot := pick(random, members(resource)):
        _rename(spot.holder, spot.key, spot.key[0].upper() + spot.key[1:])
        return resource
    return None


def missing_required(resource: Json, random: Random) -> Json | None:
    if spot := pick(random, [spot for spot in members(resource) if spot.element.required]):
        spot.drop()
        return resource
    return None


def missing_required_deep(resource: Json, random: Random) -> Json | None:
    """Of a data type or a part, not of the resource itself."""
    spots = [spot for spot in members(resource) if spot.element.required and spot.holder is not resource]
    if spot := pick(random, spots):
        spot.drop()
        return resource
    return None


def list_for_single(resource: Json, random: Random) -> Json | None:
    if spot := pick(random, [spot for spot in members(resource) if not spot.element.repeats]):
        spot.put([spot.value])
        return resource
    return None


def two_for_single(resource: Json, random: Random) -> Json | None:
    if spot := pick(random, [spot for spot in members(resource) if not spot.element.repeats]):
        spot.put([spot.value, spot.value])
        return resource
    return None


def single_for_list(resource: Json, random: Random) -> Json | None:
    if spot := pick(random, [spot for spot in members(resource) if isinstance(spot.value, list)]):
        spot.put(spot.value[0])
        return resource
    return None


def list_in_list(resource: Json, random: Random) -> Json | None:
    if spot := pick(random, [spot for spot in members(resource) if isinstance(spot.value, list)]):
        spot.put([spot.value])
        return resource
    return None


def object_for_primitive(resource: Json, random: Random) -> Json | None:
    if spot := pick(random, [spot for spot in _primitive(resource) if not isinstance(spot.value, list)]):
        spot.put({"value": spot.value})
        return resource
    return None


def primitive_for_object(resource: Json, random: Random) -> Json | None:
    if spot := pick(random, [spot for spot in _complex(resource) if not isinstance(spot.value, list)]):
        spot.put("x")
        return resource
    return None


def primitive_in_list_of_objects(resource: Json, random: Random) -> Json | None:
    if spot := pick(random, [spot for spot in _complex(resource) if isinstance(spot.value, list)]):
        spot.value.append("x")
        return resource
    return None


def null_member(resource: Json, random: Random) -> Json | None:
    if spot := pick(random, members(resource)):
        spot.put(None)
        return resource
    return None


def null_in_list(resource: Json, random: Random) -> Json | None:
    if spot := pick(random, [spot for spot in _complex(resource) if isinstance(spot.value, list)]):
        spot.value.append(None)
        return resource
    return None


def null_in_primitives(resource: Json, random: Random) -> Json | None:
    """A null among strings stands for a value that has extensions; here it has none."""
    spots = [spot for spot in _primitive(resource) if isinstance(spot.value, list) and f"_{spot.key}" not in spot.holder]
    if spot := pick(random, spots):
        spot.value.append(None)
        return resource
    return None


def empty_object(resource: Json, random: Random) -> Json | None:
    if spot := pick(random, [spot for spot in _complex(resource) if isinstance(spot.value, dict)]):
        spot.put({})
        return resource
    return None


def empty_object_in_list(resource: Json, random: Random) -> Json | None:
    if spot := pick(random, [spot for spot in _complex(resource) if isinstance(spot.value, list)]):
        spot.value.append({})
        return resource
    return None


def empty_list(resource: Json, random: Random) -> Json:
    node = random.choice(list(nodes(resource)))
    absent = sorted(key for key, (element, _) in children(node.kind).items() if element.repeats and key not in node.content)
    node.content[random.choice(absent)] = []
    return resource


def empty_string(resource: Json, random: Random) -> Json | None:
    if spot := pick(random, values(resource, "string", "markdown", "code", "uri")):
        spot.put("")
        return resource
    return None


def two_choices(resource: Json, random: Random) -> Json | None:
    """value[x] twice, with two types."""
    spots = [spot for spot in members(resource) if spot.element.is_choice and {"string", "boolean"} & set(spot.element.types)]
    if spot := pick(random, spots):
        name = spot.key.removesuffix(spot.type[0].upper() + spot.type[1:])
        free = [key for key in (f"{name}String", f"{name}Boolean") if key != spot.key]
        allowed = [key for key in free if key.removeprefix(name).lower() in spot.element.types]
        if allowed:
            spot.holder[allowed[0]] = True if allowed[0].endswith("Boolean") else "x"
            return resource
    return None


def choice_of_wrong_type(resource: Json, random: Random) -> Json | None:
    spots = [spot for spot in members(resource) if spot.element.is_choice and "oid" not in spot.element.types]
    if spot := pick(random, spots):
        name = spot.key.removesuffix(spot.type[0].upper() + spot.type[1:])
        spot.drop()
        spot.holder[f"{name}Oid"] = "urn:oid:1.2.3"
        return resource
    return None


def choice_without_type(resource: Json, random: Random) -> Json | None:
    if spot := pick(random, [spot for spot in members(resource) if spot.element.is_choice]):
        _rename(spot.holder, spot.key, spot.key.removesuffix(spot.type[0].upper() + spot.type[1:]))
        return resource
    return None


def unknown_resource_type(resource: Json, _: Random) -> Json:
    resource["resourceType"] += "s"
    return resource


def resource_type_in_lower_case(resource: Json, _: Random) -> Json:
    resource["resourceType"] = resource["resourceType"].lower()
    return resource


def no_resource_type(resource: Json, _: Random) -> Json:
    del resource["resourceType"]
    return resource


def abstract_resource_type(resource: Json, _: Random) -> Json:
    resource["resourceType"] = "DomainResource"
    return resource


def resource_type_in_data_type(resource: Json, random: Random) -> Json | None:
    typed = [node for node in nodes(resource) if "resourceType" not in node.content]
    if node := pick(random, typed):
        node.content["resourceType"] = node.kind.partition(".")[0]
        return resource
    return None


def sibling_of_object(resource: Json, random: Random) -> Json | None:
    """Only primitives have a sibling with "_"."""
    if spot := pick(random, [spot for spot in _complex(resource) if isinstance(spot.value, dict)]):
        spot.holder[f"_{spot.key}"] = {"id": "a"}
        return resource
    return None


def sibling_with_unknown_member(resource: Json, random: Random) -> Json | None:
    if spot := pick(random, [spot for spot in _primitive(resource) if not isinstance(spot.value, list)]):
        spot.holder[f"_{spot.key}"] = {"value": "x"}
        return resource
    return None


def sibling_list_for_single(resource: Json, random: Random) -> Json | None:
    if spot := pick(random, [spot for spot in _primitive(resource) if not isinstance(spot.value, list)]):
        spot.holder[f"_{spot.key}"] = [{"id": "a"}]
        return resource
    return None


def sibling_of_nothing(resource: Json, random: Random) -> Json:
    random.choice(list(nodes(resource))).content["_unknownElement"] = {"id": "a"}
    return resource


STRUCTURE: Final[dict[str, Mutator]] = {
    "unknown-element": unknown_element,
    "misspelt-element": misspelt_element,
    "element-in-capitals": element_in_capitals,
    "missing-required": missing_required,
    "missing-required-deep": missing_required_deep,
    "list-for-single": list_for_single,
    "two-for-single": two_for_single,
    "single-for-list": single_for_list,
    "list-in-list": list_in_list,
    "object-for-primitive": object_for_primitive,
    "primitive-for-object": primitive_for_object,
    "primitive-in-list-of-objects": primitive_in_list_of_objects,
    "null-member": null_member,
    "null-in-list": null_in_list,
    "null-in-primitives": null_in_primitives,
    "empty-object": empty_object,
    "empty-object-in-list": empty_object_in_list,
    "empty-list": empty_list,
    "empty-string": empty_string,
    "two-choices": two_choices,
    "choice-of-wrong-type": choice_of_wrong_type,
    "choice-without-type": choice_without_type,
    "unknown-resource-type": unknown_resource_type,
    "resource-type-in-lower-case": resource_type_in_lower_case,
    "no-resource-type": no_resource_type,
    "abstract-resource-type": abstract_resource_type,
    "resource-type-in-data-type": resource_type_in_data_type,
    "sibling-of-object": sibling_of_object,
    "sibling-with-unknown-member": sibling_with_unknown_member,
    "sibling-list-for-single": sibling_list_for_single,
    "sibling-of-nothing": sibling_of_nothing,
}
