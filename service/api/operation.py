"""What a call of $validate asks for: the resource, the mode and the profile, from its address, its query and its body.

Source: http://hl7.org/fhir/R4/resource-operation-validate.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from service.errors import Usage
from service.fhir import json
from service.issues import Issue

# http://hl7.org/fhir/R4/valueset-resource-validation-mode.html
MODES: Final = ("create", "update", "delete", "profile")
_TEXTS: Final = ("valueUri", "valueCanonical", "valueCode", "valueString")


@dataclass(frozen=True, slots=True)
class Asked:
    """`resource` is None where there is none; `within` is its JSON Pointer in the body, "" where it is the body."""

    resource: Any
    within: str
    mode: str | None
    profiles: Sequence[str]


def read(text: bytes, options: Mapping[str, str]) -> Asked:
    """What is asked for. A body of type Parameters holds the parameters of the operation, any other is the resource itself.

    `options` are those of the query. Raises UnreadableInput for a body that is no JSON, Usage for parameters that the
    operation does not have.
    """
    value = json.loads(text) if text.strip() else {"resourceType": "Parameters"}
    profiles = [options["profile"]] if "profile" in options else []
    if not isinstance(value, dict) or value.get("resourceType") != "Parameters":
        return Asked(value, "", options.get("mode"), profiles)
    return _of_parameters(value.get("parameter", []), options.get("mode"), profiles)


def _of_parameters(parameters: Any, mode: str | None, profiles: list[str]) -> Asked:
    if not isinstance(parameters, list) or not all(isinstance(one, dict) for one in parameters):
        raise _bad("'parameter' is no list of objects")
    resource, within = None, ""
    for index, parameter in enumerate(parameters):
        name = parameter.get("name")
        if name == "resource" and resource is None and isinstance(parameter.get("resource"), dict):
            resource, within = parameter["resource"], json.pointer("parameter", index, "resource")
        elif name == "profile":
            profiles.append(_text(parameter))
        elif name == "mode" and mode is None and _text(parameter) in MODES:
            mode = _text(parameter)
        else:
            raise _bad("a parameter is not known, given twice, or has a value that it cannot have")
    return Asked(resource, within, mode, profiles)


def _text(parameter: dict[str, Any]) -> str:
    found = [parameter[name] for name in _TEXTS if isinstance(parameter.get(name), str)]
    if not found:
        raise _bad("a parameter has no value of its type")
    return str(found[0])


def _bad(text: str) -> Usage:
    fix = f"'resource' holds a resource, 'mode' is a code ({', '.join(MODES)}), 'profile' a URI"
    return Usage([Issue("error", "value", "operation-parameters", text, fix=fix)])


def misuse(asked: Asked, type_name: str | None, resource_id: str | None) -> Iterator[Issue]:
    """What cannot be done as it was asked for at this address, whatever the resource says."""
    if asked.mode == "delete":
        yield _issue("not-supported", _NOTHING_STORED, "ask the server that stores it")
        return
    if asked.resource is None:
        yield _issue("required", "there is no resource to validate", "send it as the body or as the parameter 'resource'")
        return
    if asked.mode == "profile" and not asked.profiles:
        yield _issue("required", "the mode 'profile' needs a profile", "name it in the parameter 'profile'")
    held = asked.resource if isinstance(asked.resource, dict) else {}
    if type_name is not None and held.get("resourceType") != type_name:
        yield _issue("invalid", "the resource is not of the type in the address", "send it to the address of its own type")
    if asked.mode == "update" and "id" not in held:
        yield _issue("required", "an update needs a resource with an id", "give it the id that it has on the server")
    if resource_id is not None and held.get("id", resource_id) != resource_id:
        yield _issue("invalid", "the resource has another id than the address", "make the two ids agree")


_NOTHING_STORED: Final = "this service stores no resources, so it cannot know whether one may be deleted"


def _issue(code: str, text: str, fix: str) -> Issue:
    return Issue("error", code, "operation-validate", text, fix=fix)
