"""FHIRPath for R4: an expression is compiled once to closures, and evaluated on plain dicts with Decimals.

Source: http://hl7.org/fhirpath/N1 and http://hl7.org/fhir/R4/fhirpath.html
"""

from __future__ import annotations

from service.validate.fhirpath.context import Context
from service.validate.fhirpath.errors import PathError, PathSyntaxError
from service.validate.fhirpath.model import Node, TypeInfo, root_node, type_info
from service.validate.fhirpath.path import Path, compile_path
from service.validate.fhirpath.quantity import Quantity
from service.validate.fhirpath.temporal import FPDate, FPDateTime, FPTime

__all__ = [
    "Context",
    "FPDate",
    "FPDateTime",
    "FPTime",
    "Node",
    "Path",
    "PathError",
    "PathSyntaxError",
    "Quantity",
    "TypeInfo",
    "compile_path",
    "root_node",
    "type_info",
]
