"""What the validator can find: each kind of problem with its severity, its code, its page of the specification and a fix.

Invariants and profiles bring rules of their own (their id is the constraint's key, "obs-6"); all others stand here.
Severities follow HL7's own validator where the specification leaves them open.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from service.issues import Severity

R4: Final = "http://hl7.org/fhir/R4/"


class Kind(NamedTuple):
    """One kind of problem: `code` of http://hl7.org/fhir/R4/valueset-issue-type.html, `spec` the page that holds the rule."""

    severity: Severity
    code: str
    spec: str
    fix: str


CATALOGUE: Final[dict[str, Kind]] = {
    # Structure
    "val-resource-type": Kind("error", "structure", "json.html#resources", "Name a resource type of FHIR R4 in resourceType."),
    "val-unknown-element": Kind(
        "error", "structure", "json.html", "Remove it, correct its name, or put the datum into an extension."
    ),
    "val-type": Kind("error", "structure", "json.html", "Write the element as its definition has it."),
    "val-list": Kind(
        "error", "structure", "json.html#primitive", "Put square brackets around an element that repeats, and only around such."
    ),
    "val-empty": Kind("error", "structure", "json.html", "Leave the element out: in FHIR nothing is present and empty."),
    "val-null": Kind(
        "error",
        "structure",
        "json.html#null",
        "Leave the element out; null stands only in lists, for an item that has extensions alone.",
    ),
    "val-choice": Kind("error", "structure", "formats.html#choice", "Keep one of them."),
    "val-min": Kind("error", "required", "conformance-rules.html#cardinality", "Give the element."),
    "val-max": Kind("error", "structure", "conformance-rules.html#cardinality", "Give fewer."),
    "val-format": Kind("error", "value", "datatypes.html#primitive", "Write the value in the form of its type."),
    "val-max-length": Kind(
        "error", "too-long", "elementdefinition-definitions.html#ElementDefinition.maxLength", "Shorten it."
    ),
    "val-ele-1": Kind("error", "invariant", "element.html#invs", "Give a value or a child, or leave the element out."),
    "dom-3": Kind("error", "invariant", "references.html#contained", "Refer to it by #id, or leave it out."),
    "val-ext-1": Kind(
        "error", "invariant", "extensibility.html#Extension", "Give the extension either a value or extensions of its own."
    ),
    "val-attachment": Kind("error", "value", "datatypes.html#Attachment", "Compute it anew, or leave it out."),
    "val-identifier": Kind(
        "error", "value", "datatypes.html#Identifier", "Write the value as an absolute URI, or correct the system."
    ),
    "val-element-id": Kind(
        "error", "duplicate", "element-definitions.html#Element.id", "Give each element an id of its own, or none."
    ),
    "val-questionnaire": Kind(
        "error", "invalid", "questionnaire-definitions.html#Questionnaire.item.enableWhen", "Name the linkId of another item."
    ),
    "val-xhtml": Kind(
        "error", "invalid", "narrative.html#xhtml", "Keep to the elements and attributes that a narrative may have."
    ),
    # Codes
    "val-binding": Kind("error", "code-invalid", "terminologies.html#required", "Take a code of the value set."),
    "val-binding-extensible": Kind(
        "warning", "code-invalid", "terminologies.html#extensible", "Take a code of the value set if one fits."
    ),
    "val-binding-preferred": Kind(
        "information", "code-invalid", "terminologies.html#preferred", "Take a code of the value set if you can."
    ),
    "val-binding-unchecked": Kind(
        "information",
        "not-supported",
        "terminologies.html",
        "Give a package or folder that holds the codes (--package, --terminology).",
    ),
    "val-code": Kind("error", "code-invalid", "datatypes.html#Coding", "Take a code of the code system that is named."),
    "val-code-system": Kind("warning", "code-invalid", "datatypes.html#Coding", "Name the code system by its absolute URI."),
    "val-display": Kind("warning", "invalid", "datatypes.html#Coding", "Use a display of the code system, or leave it out."),
    "val-ucum": Kind(
        "error", "code-invalid", "valueset-ucum-units.html", "Write the unit in UCUM; the printed unit goes into `unit`."
    ),
    # References
    "val-reference": Kind(
        "error", "structure", "references.html#literal", "Refer by [type]/[id], by an absolute URL, or by #id."
    ),
    "val-reference-target": Kind(
        "error", "structure", "references.html", "Refer to a resource of a type that the element allows."
    ),
    "val-reference-contained": Kind(
        "error", "structure", "references.html#contained", "Contain the resource under this id, or correct it."
    ),
    "val-reference-bundle": Kind(
        "error", "not-found", "bundle.html#references", "Put the resource into the Bundle, or correct the reference."
    ),
    "val-reference-type": Kind("error", "structure", "references.html#Reference", "Make type and reference agree."),
    "val-contained": Kind(
        "error", "structure", "references.html#contained", "Contain resources one level deep, each with an id of its own."
    ),
    # Extensions
    "val-extension-url": Kind("error", "structure", "extensibility.html#Extension", "Name the extension by an absolute URL."),
    "val-extension-unknown": Kind(
        "error", "extension", "extensibility.html", "Load the package that defines it, or use one that R4 knows."
    ),
    "val-extension-unchecked": Kind(
        "information", "informational", "extensibility.html", "Load the package that defines it to have it checked."
    ),
    "val-extension-context": Kind(
        "error", "extension", "defining-extensions.html#context", "Use it on the elements that it is made for."
    ),
    "val-extension-modifier": Kind(
        "error", "extension", "extensibility.html#modifierExtension", "Use extension and modifierExtension as defined."
    ),
    # Bundles
    "val-bundle-full-url": Kind(
        "error", "invalid", "bundle.html#bundle-unique", "Give each entry a fullUrl that names its resource."
    ),
    "val-bundle-duplicate": Kind(
        "error", "duplicate", "bundle.html#bundle-unique", "Keep one entry for each fullUrl and version."
    ),
    "val-bundle-first": Kind("error", "invalid", "bundle.html", "Put the Composition or MessageHeader first."),
    "val-bundle-link": Kind("error", "invalid", "bundle.html#searchset", "Use each link relation once."),
    "val-bundle-search": Kind(
        "warning", "invalid", "bundle.html#searchset", "Give search sets a self link and their entries ids."
    ),
    # Profiles
    "val-profile-unknown": Kind("warning", "not-found", "profiling.html", "Load the package that defines it (--package)."),
    "val-profile-type": Kind("error", "structure", "profiling.html", "Claim profiles of the resource's own type only."),
    "val-profile-match": Kind("error", "structure", "profiling.html", "Make it meet one of the profiles."),
    "val-profile-unusable": Kind("warning", "not-supported", "profiling.html", "Ask the publisher of the profile."),
    "val-fixed": Kind(
        "error", "value", "elementdefinition-definitions.html#ElementDefinition.fixed_x_", "Give exactly the fixed value."
    ),
    "val-pattern": Kind(
        "error",
        "value",
        "elementdefinition-definitions.html#ElementDefinition.pattern_x_",
        "Give at least what the pattern has.",
    ),
    "val-range": Kind(
        "error", "value", "elementdefinition-definitions.html#ElementDefinition.minValue_x_", "Stay within the bounds."
    ),
    "val-slice-closed": Kind("error", "structure", "profiling.html#slicing", "Keep to the slices that the profile defines."),
    "val-slice-order": Kind("error", "structure", "profiling.html#slicing", "Put the items into the order of the slices."),
    "val-type-narrowed": Kind("error", "structure", "profiling.html", "Use a type that the profile leaves."),
    "val-must-support": Kind(
        "information", "informational", "profiling.html#mustsupport", "Give the element where the datum is known."
    ),
    # The rest
    "val-invariant-unusable": Kind(
        "warning", "not-supported", "conformance-rules.html#constraints", "Ask the publisher of the constraint."
    ),
    "val-too-deep": Kind("fatal", "too-costly", "", "Nest the data less, or ask the publisher of the profile."),
    "val-too-many": Kind("fatal", "too-costly", "", "Mend the first problems and validate again."),
}


def url(rule: str) -> str | None:
    """The page of the specification behind a rule; None for a rule of a profile or type, whose issue names its definition."""
    kind = CATALOGUE.get(rule)
    return R4 + kind.spec if kind and kind.spec else None
