"""Steps along a path: the hot loop of all expressions."""

from __future__ import annotations

from service.validate.fhirpath.context import Env, PathFn
from service.validate.fhirpath.errors import PathError
from service.validate.fhirpath.model import NOTHING, Items, Node


def member_path(target: PathFn | None, names: tuple[str, ...]) -> PathFn:
    """The function of `target.a.b.c`, in one piece; without a target it begins at `this`."""
    if target is None and len(names) == 1:
        return _member_of_this(names[0])

    def run(this: Items, env: Env) -> Items:
        items = this if target is None else target(this, env)
        for name in names:
            if len(items) == 1:
                # One node with a JSON object is what nearly all steps of nearly all paths meet.
                item = items[0]
                if type(item) is Node and (read := item.type.members[name]) and type(item.value) is dict:
                    items = read(item.value)
                    continue
            elif not items:
                return NOTHING
            items = _read_all(items, name, env)
        return items

    return run


def _member_of_this(name: str) -> PathFn:
    def run(this: Items, env: Env) -> Items:
        if len(this) == 1:
            item = this[0]
            if type(item) is Node and (read := item.type.members[name]) and type(item.value) is dict:
                return read(item.value)
        return _read_all(this, name, env)

    return run


def head(name: str) -> PathFn:
    """The function of a name that begins with a capital at the head of a path: a type, which what it begins at must be of."""

    def run(this: Items, env: Env) -> Items:
        found = [item for item in this if type(item) is Node and name in item.type.names]
        if env.strict and len(found) < len(this):
            raise PathError(f"the path begins at {name}, and not all that it begins at is one")
        return found

    return run


def _read_all(items: Items, name: str, env: Env) -> Items:
    found: Items = []
    for item in items:
        read = item.type.members[name] if type(item) is Node else None
        if read is None:
            if env.strict:
                raise PathError(f"there is no element {name} here")
            continue
        # The members of a primitive, id and extension, stand in its sibling.
        data = item.value if type(item.value) is dict else item.sibling
        if data:
            found += read(data)
    return found
