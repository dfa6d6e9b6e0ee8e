"""Extensions: their URL, where they may stand, and what their definition says of their value.

Sources: http://hl7.org/fhir/R4/extensibility.html and http://hl7.org/fhir/R4/defining-extensions.html#context
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

from msgspec import structs

from service.fhir.definitions import CORE, UnknownElement, load
from service.fhir.structures import StructureDefinition
from service.validate.fhirpath import Context, Node, PathError, PathSyntaxError, compile_path, type_info
from service.validate.place import Place
from service.validate.references import ABSOLUTE
from service.validate.run import Run, Scope

LISTS: Final = ("extension", "modifierExtension")
# What an extension has besides its value[x].
BESIDE_VALUE: Final = frozenset({"id", "extension", "url"})
OF_DEFINITIONS: Final = (CORE + "structuredefinition-", CORE + "regex")
# R4 defines them for StructureDefinitions, and has them on its ValueSets, CodeSystems and operations as well.
OF_RESOURCES: Final = tuple(
    f"{CORE}structuredefinition-{name}" for name in ("fmm", "normative-version", "standards-status", "wg")
)


def extension(run: Run, value: dict[str, Any], at: Place) -> None:
    """An extension in its place: ext-1, its URL, and the definition behind the URL."""
    if at is None:
        return
    has_value = not BESIDE_VALUE.issuperset(value)
    if has_value == ("extension" in value):
        text = (
            "The extension has both a value and extensions." if has_value else "The extension has neither value nor extensions."
        )
        run.add(at, "val-ext-1", text)
    url = value.get("url")
    if not isinstance(url, str) or (at[0] is not None and at[0][1] in LISTS):
        return  # the parts of an extension are named within its definition
    if not ABSOLUTE.match(url):
        run.add((at, "url", None), "val-extension-url", "The URL of an extension must be absolute.")
        return
    definition = run.book.structure(url)
    if definition is None or definition.type != "Extension":
        _unknown(run, url, at)
    else:
        _modifier(run, definition, at)
        _context(run, definition, at)
        _context_invariants(run, definition, value, at)
        run.book.check_extension(run, definition, value, at)
        _parts(run, definition, value, at)


def _unknown(run: Run, url: str, at: tuple[Place, str, int | None]) -> None:
    if at[1] == "modifierExtension":
        text = "The modifier extension is not known, so the resource cannot be understood."
        run.add((at, "url", None), "val-extension-unknown", text)
    elif url.startswith(CORE):
        # These URLs are HL7's to give: one that no package defines is a mistake, or its package was not loaded.
        # A resource is not to be refused for an extension that is not known: extensibility.html#Extension
        text = f"No package at hand defines {run.named(url, 'the extension')}, which only HL7 can name so."
        run.add((at, "url", None), "val-extension-unknown", text, severity="warning")
    elif ("val-extension-unchecked", url) not in run.said:
        text = f"No package at hand defines {run.named(url, 'the extension')}."
        run.add_once((at, "url", None), "val-extension-unchecked", url, text)


def _modifier(run: Run, definition: StructureDefinition, at: tuple[Place, str, int | None]) -> None:
    root = definition.snapshot[0] if definition.snapshot else None
    if root is not None and root.is_modifier != (at[1] == "modifierExtension"):
        right = "modifierExtension" if root.is_modifier else "extension"
        run.add(at, "val-extension-modifier", f"{definition.url} is defined for {right}.")


def _context(run: Run, definition: StructureDefinition, at: tuple[Place, str, int | None]) -> None:
    expected = [each for each in definition.context if each.type == "element"]
    if not definition.context or len(expected) < len(definition.context):
        return  # contexts told by FHIRPath or within other extensions are not looked into
    if any(each.expression == "Element" for each in expected):
        return  # anywhere: "Element" stands for the elements of resources and for resources themselves
    names, type_name = _names(run.scope, at[0]), str(run.scope.resource.get("resourceType"))
    if definition.url.startswith(OF_DEFINITIONS) and type_name == "StructureDefinition":
        return  # R4 puts them all over its own
    if definition.url in OF_RESOURCES and not names:
        return
    found = contexts(type_name, names)
    # A context may name an element of a profile: "http://…/StructureDefinition/x#Patient.name"
    if not any(each.expression.rpartition("#")[2] in found for each in expected):
        allowed = ", ".join(each.expression for each in expected)
        text = f"{definition.url} is not made for this element; it may stand on {allowed}."
        run.add(at, "val-extension-context", text)


def _context_invariants(
    run: Run, definition: StructureDefinition, value: dict[str, Any], at: tuple[Place, str, int | None]
) -> None:
    """What the definition asks of the element that the extension stands on; %extension is the extension itself.

    Source: http://hl7.org/fhir/R4/structuredefinition-definitions.html#StructureDefinition.contextInvariant
    """
    holder = _node(run.scope, at[0]) if definition.context_invariant else None
    if holder is None:
        return
    here = structs.replace(run.context(), variables={"extension": Node(value, None, type_info("Extension"))})
    for expression in definition.context_invariant:
        if not _holds(expression, holder, here):
            text = f"{definition.url} may stand only where it is true that: {expression}"
            run.add(at, "val-extension-context", text)


def _holds(expression: str, node: Node, context: Context) -> bool:
    """Whether an expression is true of a node, or cannot be evaluated."""
    try:
        return compile_path(expression).is_true(node, context)
    except (PathError, PathSyntaxError):
        return True


def _node(scope: Scope, at: Place) -> Node | None:
    """The FHIRPath node of an element of the resource in hand; None for what is no element."""
    if at is None or at == scope.at:
        return scope.node
    above, name, index = at
    holder = _node(scope, above)
    read = holder.type.by_key[name] if holder is not None and isinstance(holder.value, dict) else None
    found = read(holder.value) if read is not None and holder is not None else []
    return found[index or 0] if (index or 0) < len(found) else None


def _parts(run: Run, definition: StructureDefinition, value: dict[str, Any], at: Place) -> None:
    """The parts of an extension that has parts are those of its definition; others can only be extensions of their own."""
    tree = run.book.tree(definition.url)
    parts = value.get("extension")
    element = tree.child("extension") if tree else None
    if not isinstance(parts, list) or element is None or not element.slices:
        return
    known = {url for each in element.slices for url in each.urls}
    for index, part in enumerate(parts):
        url = part.get("url") if isinstance(part, dict) else None
        if isinstance(url, str) and url not in known and not ABSOLUTE.match(url):
            run.add((at, "extension", index), "val-extension-url", f"{definition.url} has no part of this name.")


def _names(scope: Scope, at: Place) -> tuple[str, ...]:
    names: list[str] = []
    while at is not None and at != scope.at:
        at, name, _index = at
        names.append(name.lstrip("_"))
    return tuple(reversed(names))


@lru_cache(maxsize=10_000)
def contexts(type_name: str, names: tuple[str, ...]) -> frozenset[str]:
    """All that a context may call an element: its paths from the resource and from each type on the way, and its types."""
    definitions = load()
    paths, types = [(type_name, "")], [type_name]
    for name in names:
        try:
            found = [(top, definitions.resolve(top, f"{path}.{name}" if path else name)) for top, path in paths]
        except UnknownElement:
            return frozenset({"Element"})
        paths = [(top, _plain(top, element.path)) for top, element in found]
        types = list(found[-1][1].types)
        if len(types) == 1 and types[0] in definitions.types and types[0] not in ("BackboneElement", "Element"):
            paths.append((types[0], ""))
    out = {f"{top}.{each}" if path else top for top, path in paths for each in _told(path, top)}
    for each in types:
        out |= _ancestors(each)
    if not names and is_canonical(type_name):
        out |= {"CanonicalResource", "MetadataResource"}  # later releases' names for what R4 has as well
    return frozenset(out)


def _plain(top: str, path: str) -> str:
    """The path of an element's definition: Questionnaire.item.item is defined as Questionnaire.item."""
    facts = load().types[top].elements.get(path)
    return facts.content_reference if facts is not None and facts.content_reference else path


def _told(path: str, top: str) -> list[str]:
    """A path as it is, and with its last choice by its stem: "valueQuantity" is "value[x]" as well."""
    definitions, (head, _, last) = load(), path.rpartition(".")
    told = [path]
    for element in definitions.children(top, head) if path else []:
        if element.is_choice and last.startswith(element.name.removesuffix("[x]")):
            told += [f"{head}.{element.name}".lstrip("."), f"{head}.{element.name.removesuffix('[x]')}".lstrip(".")]
    return told


def _ancestors(type_name: str) -> set[str]:
    out: set[str] = set()
    definition = load().type(type_name)
    while definition is not None:
        out.add(type_name)
        type_name = definition.base or ""
        definition = load().type(type_name)
    return out


def is_canonical(type_name: str) -> bool:
    """Whether resources of a type are found by URL: they have a url, a version and a status."""
    found = load().type(type_name)
    return found is not None and {"url", "version", "status", "date"} <= found.elements.keys()
