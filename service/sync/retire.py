"""How a fact that is no longer in its case is taken back on the server: marked as an error, never silently lost.

The resource stays, for others may refer to it, and says by its status that it must not be used; an extension says that we
took it back, and when the fact returns to the case it is simply written again. A type that has no such status is deleted,
which a server's history still shows. Source: http://hl7.org/fhir/R4/lifecycle.html, "entered-in-error".
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from service.fhir.definitions import load
from service.sync.server import Resource

RETIRED: Final = "https://casebridge.dev/fhir/StructureDefinition/retired"
_ERROR: Final = "entered-in-error"


def retired(resource: Resource) -> Resource | None:
    """The canonical resource as it stands once it is taken back; None where its type has no way to say so and it is deleted."""
    said = _says_error(str(resource["resourceType"]))
    if not said:
        return None
    # Beside such a verification, a clinical status is against con-5 and ait-2, and an abatement without it against con-4.
    left_out = ("clinicalStatus", "abatement") if "verificationStatus" in said else ()
    kept = {name: value for name, value in resource.items() if not name.lstrip("_").startswith(left_out)}
    return kept | said | {"extension": [*resource.get("extension", ()), {"url": RETIRED, "valueBoolean": True}]}


def is_only_deleted(resource_type: str) -> bool:
    """Whether a resource of this type cannot be taken back but by deleting it. A Patient never is."""
    return resource_type != "Patient" and not _says_error(resource_type)


def is_retired(resource: Resource) -> bool:
    """Whether we took it back: whoever reads the case passes it over."""
    extensions = resource.get("extension", ())
    return any(isinstance(one, dict) and one.get("url") == RETIRED for one in extensions)


@cache
def _says_error(resource_type: str) -> dict[str, Any]:
    """The elements by which this type says that a resource must not be used; none where it cannot."""
    definitions = load()
    elements = definitions.children(resource_type)
    for element in elements:
        codes = (definitions.required_codes(element.binding.value_set) if element.binding else None) or ()
        for system, code in codes:
            if code == _ERROR:
                coded = {"coding": [{"system": system, "code": code}]}
                return {element.name: code if element.types == ("code",) else coded}
    is_active = any(element.name == "active" for element in elements) and resource_type != "Patient"
    return {"active": False} if is_active else {}
