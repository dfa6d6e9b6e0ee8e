"""Whether a resource or value meets a profile: those that it claims, that its element demands, or that its extension has.

Source: http://hl7.org/fhir/R4/profiling.html#resources
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from service.fhir.definitions import CORE
from service.fhir.json import Json
from service.fhir.structures import StructureDefinition
from service.validate.fhirpath import Node, type_info
from service.validate.meet import check_item
from service.validate.place import Place
from service.validate.profiles import Item, ProfileElement
from service.validate.run import Rule, Run, Scope


def claimed(run: Run, resource: dict[str, Any], at: Place) -> None:
    """The profiles that a resource claims in meta.profile."""
    meta = resource.get("meta")
    profiles = meta.get("profile") if isinstance(meta, dict) else None
    met: set[str] = set()
    for index, url in enumerate(profiles if isinstance(profiles, list) else ()):
        if isinstance(url, str) and url.partition("|")[0] not in met:
            met.add(url.partition("|")[0])
            against(run, resource, at, url, ((at, "meta", None), "profile", index))


def forced(run: Run, resource: dict[str, Any], profiles: Sequence[str]) -> None:
    """The profiles that whoever asked wants the text's own resource to meet."""
    with run.inside(Scope(resource, None)):
        for url in profiles:
            if run.book.structure(url) is None:
                text = f"No package at hand defines the profile {url}, which was asked for."
                run.add(None, "val-profile-unknown", text, severity="error")
            else:
                against(run, resource, None, url, None)


def against(run: Run, resource: dict[str, Any], at: Place, url: str, told_at: Place) -> None:
    """A resource against one profile; a profile that is not here or not for such a resource is told at `told_at`."""
    definition = run.book.structure(url)
    if definition is None:
        run.add_once(told_at, "val-profile-unknown", url, f"No package at hand defines {run.named(url, 'the profile')}.")
        return
    if not run.book.is_a(str(resource.get("resourceType")), definition.type):
        run.add(told_at, "val-profile-type", f"{definition.url} is a profile of {definition.type}.")
        return
    tree = _tree(run, definition, told_at)
    if tree is not None:
        check_item(run, _item(resource, at), tree)


def check_extension(run: Run, definition: StructureDefinition, value: dict[str, Any], at: Place) -> None:
    """An extension against its definition."""
    tree = _tree(run, definition, at)
    if tree is not None:
        check_item(run, Item(value, None, "Extension", type_info("Extension"), at), tree)


def meets_one_of(profiles: Sequence[str]) -> Rule:
    """The rule that a value meets one of some profiles. Where there is one only, what it finds is told as it is."""

    def rule(run: Run, value: Json, at: Place) -> None:
        trees = [(url, run.book.tree(url)) for url in profiles]
        known = [(url, tree) for url, tree in trees if tree is not None]
        if len(known) < len(trees):
            for url, tree in trees:
                if tree is None:
                    run.add_once(at, "val-profile-unknown", url, f"No package at hand defines the profile {url}.")
        elif len(known) == 1:
            check_item(run, _typed(value, known[0][1], at), known[0][1])
        elif not any(_meets(run, value, tree, at) for _url, tree in known):
            run.add(at, "val-profile-match", f"The value meets none of {', '.join(profiles)}.")

    return rule


def refers_to_one_of(run: Run, scope: Scope, profiles: Sequence[str], at: Place) -> None:
    """A resource that is referred to meets one of the profiles that the reference demands."""
    trees = [(url, run.book.tree(url)) for url in profiles if _fits(run, scope, url)]
    if any(tree is None for _url, tree in trees):
        return
    with run.inside(scope):
        if any(tree is not None and _leads_to(run, scope, tree) for _url, tree in trees):
            return
    run.add(at, "val-profile-match", f"The resource that this leads to meets none of {', '.join(profiles)}.")


def node_meets(run: Run, node: Node, url: str) -> bool | None:
    """Whether a node meets a profile or is of a type; None where no such definition is here."""
    if url.startswith(CORE) and url[len(CORE) :] in node.type.names:
        return True
    tree = run.book.tree(url)
    if tree is None:
        return None
    if not isinstance(node.value, dict) or tree.name not in node.type.names:
        return False
    item = Item(node.value, node.sibling, node.type.name, node.type, None)
    return run.leads_to(node.value, url, lambda trial: check_item(trial, item, tree))


def _leads_to(run: Run, scope: Scope, tree: ProfileElement) -> bool:
    item = _item(scope.resource, scope.at)
    return run.leads_to(scope.resource, tree.url, lambda trial: check_item(trial, item, tree))


def _fits(run: Run, scope: Scope, url: str) -> bool:
    type_name = run.book.type_of_profile(url)
    return type_name is None or run.book.is_a(str(scope.resource.get("resourceType")), type_name)


def _meets(run: Run, value: Json, tree: ProfileElement, at: Place) -> bool:
    return run.meets(lambda trial: check_item(trial, _typed(value, tree, at), tree))


def _typed(value: Json, tree: ProfileElement, at: Place) -> Item:
    return _item(value, at) if isinstance(value, dict) and "resourceType" in value else _as(value, tree.name, at)


def _item(resource: dict[str, Any], at: Place) -> Item:
    return _as(resource, str(resource.get("resourceType")), at)


def _as(value: Json, type_name: str, at: Place) -> Item:
    return Item(value, None, type_name, type_info(type_name), at)


def _tree(run: Run, definition: StructureDefinition, at: Place) -> ProfileElement | None:
    tree = run.book.tree(definition.url)
    if tree is None:
        text = f"The profile {definition.url} has no snapshot, and none can be made."
        run.add_once(at, "val-profile-unusable", definition.url, text)
    return tree
