"""Identifiers: a value that is a URI is one. Source: http://hl7.org/fhir/R4/identifier-registry.html"""

from __future__ import annotations

from typing import Any, Final

from service.validate.place import Place
from service.validate.references import ABSOLUTE
from service.validate.run import Run

URI: Final = "urn:ietf:rfc:3986"


def identifier(run: Run, value: dict[str, Any], at: Place) -> None:
    """With the system urn:ietf:rfc:3986, which stands for URIs, the value is an absolute URI."""
    told = value.get("value")
    if value.get("system") == URI and isinstance(told, str) and not ABSOLUTE.match(told):
        run.add((at, "value", None), "val-identifier", f"With the system {URI} the value must be an absolute URI.")
