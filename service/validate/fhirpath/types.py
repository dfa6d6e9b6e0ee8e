"""`is`, `as` and `ofType`: which items are of a type. Source: http://hl7.org/fhirpath/N1/#types and FHIR R4's use of them."""

from __future__ import annotations

from typing import Any, Final

from service.fhir import definitions
from service.validate.fhirpath.errors import PathSyntaxError
from service.validate.fhirpath.model import Items, Node, class_info
from service.validate.fhirpath.syntax import TypeName
from service.validate.fhirpath.values import SYSTEM_NAMES

_SYSTEM: Final = frozenset(SYSTEM_NAMES.values())


def checked(type_name: TypeName) -> TypeName:
    """The name. Raises PathSyntaxError where there is no such type, and so no item can be of it."""
    namespace, name, position = type_name
    is_system = namespace != "FHIR" and name in _SYSTEM
    is_fhir = namespace != "System" and name in definitions.load().types
    if not (is_system or is_fhir) or namespace not in ("", "FHIR", "System"):
        raise PathSyntaxError(position, f"there is no type {f'{namespace}.' if namespace else ''}{name}")
    return type_name


def is_of(item: Any, type_name: TypeName) -> bool:
    """Whether an item is of a type, or of one below it."""
    if type(item) is Node:
        return type_name.namespace != "System" and type_name.name in item.type.names
    return type_name.namespace != "FHIR" and SYSTEM_NAMES.get(type(item)) == type_name.name


def only(items: Items, type_name: TypeName) -> Items:
    """The items of a type: of a primitive just that one (a code is no string here), else of those below it too."""
    if type_name.namespace == "System":
        return [item for item in items if is_of(item, type_name)]
    name = type_name.name
    return [item for item in items if (name in item.type.castable if type(item) is Node else is_of(item, type_name))]


def described(items: Items) -> Items:
    """`type()`: namespace and name of the type of each item."""
    return [
        class_info("FHIR", item.type.name) if type(item) is Node else class_info("System", SYSTEM_NAMES[type(item)])
        for item in items
    ]
