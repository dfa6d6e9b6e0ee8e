"""Identifiers: the system is absolute, and a value that is a URI is one.

Sources: http://hl7.org/fhir/R4/datatypes.html#Identifier and http://hl7.org/fhir/R4/identifier-registry.html
"""

from __future__ import annotations

from typing import Any, Final

from service.validate.place import Place
from service.validate.references import ABSOLUTE
from service.validate.run import Run

URI: Final = "urn:ietf:rfc:3986"


def identifier(run: Run, value: dict[str, Any], at: Place) -> None:
    """The system is an absolute URI; where it is urn:ietf:rfc:3986, which stands for URIs, so is the value."""
    system, told = value.get("system"), value.get("value")
    if isinstance(system, str) and not ABSOLUTE.match(system):
        # A namespace that depends on where it is read makes nothing unique.
        run.add((at, "system", None), "val-identifier", "The system of an identifier must be an absolute URI.")
    if system == URI and isinstance(told, str) and not ABSOLUTE.match(told):
        run.add((at, "value", None), "val-identifier", f"With the system {URI} the value must be an absolute URI.")
