"""FHIR XML to FHIR JSON, as far as the inputs of HL7's FHIRPath suite need it. Source: http://hl7.org/fhir/R4/xml.html"""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from xml.etree import ElementTree

from service.fhir import definitions
from service.fhir.definitions import Element

NUMBERS = {"integer": int, "positiveInt": int, "unsignedInt": int, "decimal": Decimal}


def resource(xml: ElementTree.Element) -> dict[str, Any]:
    """The JSON of a resource element."""
    name = _local(xml)
    return {"resourceType": name, **_members(xml, name, "")}


def _members(xml: ElementTree.Element, type_name: str, path: str) -> dict[str, Any]:
    elements = definitions.load().children(type_name, path)
    found: dict[str, Any] = {name: xml.attrib[name] for name in ("id", "url") if name in xml.attrib}
    for child in xml:
        key, element, code = _told(_local(child), elements)
        if code in definitions.load().types and definitions.load().types[code].kind == "primitive-type":
            _put(found, key, element, _primitive(child, code))
            sibling = _members(child, "Element", "") if code != "xhtml" else {}
            if sibling or element.is_list:
                _put(found, f"_{key}", element, sibling or None)
        elif code == "Resource":
            _put(found, key, element, resource(child[0]))
        else:
            inner = (type_name, element.path) if code in ("BackboneElement", "Element", "") else (code, "")
            _put(found, key, element, _members(child, *inner))
    return {key: value for key, value in found.items() if not _is_nothing(value)}


def _told(name: str, elements: list[Element]) -> tuple[str, Element, str]:
    """The key in JSON, the element and its type, of an XML child by its name."""
    for element in elements:
        if element.name == name:
            return name, element, element.types[0] if element.types else ""
        for code in element.types if element.is_choice else ():
            if name == element.name.removesuffix("[x]") + code[0].upper() + code[1:]:
                return name, element, code
    raise KeyError(name)


def _primitive(xml: ElementTree.Element, code: str) -> Any:
    if code == "xhtml":
        return ElementTree.tostring(xml, encoding="unicode").replace("html:", "").replace("xmlns:html", "xmlns")
    text = xml.get("value")
    if text is None:
        return None
    return text == "true" if code == "boolean" else NUMBERS.get(code, str)(text)


def _put(found: dict[str, Any], key: str, element: Element, value: Any) -> None:
    if element.is_list:
        found.setdefault(key, []).append(value)
    elif value is not None:
        found[key] = value


def _is_nothing(value: Any) -> bool:
    return value is None or value == {} or (isinstance(value, list) and all(each is None for each in value))


def _local(xml: ElementTree.Element) -> str:
    return xml.tag.rpartition("}")[2]
